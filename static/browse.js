// The gallery: thumbnails a few at a time, asked for again where the server has no time, and pictures
// in full. Names are only ever text: no markup is made of them.
import PhotoSwipeLightbox from "/photoswipe-lightbox.esm.min.js";

/** So many thumbnails are asked for at once: others' pictures wait for no page of this. */
const AT_ONCE = 4;
/** Thumbnails are asked for that near the window. */
const AHEAD = "50%";
/** Answers after which another trial is worth it. */
const PASSING = [429, 502, 503, 504];
/** The server asks for one to three seconds between trials; after some of them it is left in peace. */
const [MOST_TRIALS, LONG_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS] = [20, 10, 60];
/** A page of a document that is being made is waited for so long, and asked for ever more seldom. */
const [MOST_MAKING_SECONDS, MORE_SELDOM] = [60, 1.5];
const CANNOT = "Cannot be shown";
/** Of thumbnails: more is not seen in what is so small, and weighs twice as much. */
const MOST_DENSITY = 2;
/** Across the longer side: more than a policy sends to a screen. */
const MOST_PIXELS = 2048;

const tiles = new Map();
/** Of documents that were opened, the page that is shown. */
const sheets = new Map();
const formats = shownFormats();
const turns = { free: AT_ONCE, waiting: [] };

const watch = new IntersectionObserver(
  (seen) => {
    for (const { isIntersecting, target } of seen) {
      if (!isIntersecting) continue;
      watch.unobserve(target);
      fill(target);
    }
  },
  { rootMargin: AHEAD },
);

for (const link of document.querySelectorAll(".pictures a")) {
  // The page has them for browsers without scripts: there, it is the browser that loads them.
  const markup = link.querySelector("noscript").textContent;
  const written = new DOMParser().parseFromString(markup, "text/html").querySelector("img");
  const caption = link.querySelector(".caption").textContent;
  const isDocument = link.classList.contains("document");
  tiles.set(link, { written, caption, isDocument, img: null });
  watch.observe(link);
}

// --- Thumbnails ----------------------------------------------------------------------------------

/** Load a tile's thumbnail, and show it once it is there. */
async function fill(link) {
  const tile = tiles.get(link);
  const frame = link.querySelector(".frame");
  const url = await extended(candidate(tile.written, frame.clientWidth));
  const img = Object.assign(document.createElement("img"), { alt: "" });
  const wrong = (await problem(url, { inTurn: turns })) || (await undecodable(img, url));
  frame.querySelector(".tiny")?.remove();
  if (wrong) {
    const words = document.createElement("span");
    words.className = "wrong";
    words.textContent = tile.isDocument ? wrong : CANNOT;
    frame.append(words);
  } else {
    tile.img = img;
    frame.append(img);
  }
}

/** Return the address of the smallest thumbnail that fills a square of so many CSS pixels. */
function candidate(written, side) {
  const [width, height] = [written.width, written.height];
  const ratio = width && height ? Math.min(2, Math.max(1, width / height)) : 1.5;
  const wanted = side * ratio * Math.min(MOST_DENSITY, window.devicePixelRatio);
  const known = written.srcset.split(", ").map((word) => word.split(" "));
  const [url] = known.find(([, across]) => parseInt(across, 10) >= wanted) || known.at(-1);
  return url;
}

/**
 * Ask until the picture came, or never will, or nobody wants it any more; return what is wrong, or
 * nothing. Where nothing is, the browser has it.
 */
async function problem(url, { inTurn, method = "GET", isWanted = () => true } = {}) {
  let [makingSeconds, seldom] = [0, 1];
  for (let trial = 1; isWanted(); trial++) {
    if (inTurn) await turn(inTurn);
    let answer;
    try {
      answer = await fetch(url, { method });
      await answer.blob();
    } catch {
      answer = null; // no network
    } finally {
      if (inTurn) next(inTurn);
    }
    const told = (name) => answer?.headers.get(name);
    const isMaking = told("image-error") === "page-being-made";
    if (answer?.ok) return "";
    if (answer && !isMaking && !PASSING.includes(answer.status)) return told("image-error-detail") || CANNOT;
    let seconds = Number(told("Retry-After")) || Math.min(trial, LONG_PAUSE_SECONDS);
    if (isMaking) {
      if (makingSeconds > MOST_MAKING_SECONDS) return "It is still being made.";
      makingSeconds += seconds *= seldom;
      seldom *= MORE_SELDOM;
    }
    await pause(trial < MOST_TRIALS ? seconds : Math.max(seconds, LONG_PAUSE_SECONDS));
  }
  return CANNOT;
}

/** Decode what came; return what is wrong, or nothing. */
async function undecodable(img, url) {
  img.src = url;
  try {
    await img.decode();
    return "";
  } catch {
    return CANNOT;
  }
}

function turn(turns) {
  if (turns.free > 0) {
    turns.free -= 1;
    return undefined;
  }
  return new Promise((resolve) => turns.waiting.push(resolve));
}

function next(turns) {
  const waiting = turns.waiting.shift();
  if (waiting) waiting();
  else turns.free += 1;
}

function pause(seconds) {
  const most = Math.min(seconds, LONGEST_PAUSE_SECONDS);
  return new Promise((resolve) => setTimeout(resolve, most * 1000));
}

// --- Addresses -----------------------------------------------------------------------------------

/**
 * Return an address that says which formats the browser shows: a script's request does not, in its
 * header, as a picture's does. So both are one request.
 */
async function extended(url) {
  return `${url}&formats=${await formats}`;
}

async function shownFormats() {
  const known = await Promise.all(["jxl", "avif", "webp"].map(isShown));
  return [...known.filter(Boolean), "gif"].join("+");
}

/** Return a format if the browser shows it: of a picture's sources it takes the first that it does. */
async function isShown(format) {
  const source = Object.assign(document.createElement("source"), { type: `image/${format}` });
  source.srcset = "data:image/gif;base64,R0lGODlhAQABAAAAACwAAAAAAQABAAA=";
  const picture = document.createElement("picture");
  const img = document.createElement("img");
  picture.append(source, img);
  await img.decode().catch(() => {});
  return img.currentSrc && format;
}

/** Return an address of a picture in full. Where the browser sends no hints, it says the screen. */
async function full(address) {
  const across = Math.min(document.documentElement.clientWidth, window.screen.width);
  return extended(navigator.userAgentData ? address : `${address}&screen=${across}`);
}

/** Return what a document's page has to say: which it is, its picture, how to turn, what is wrong. */
async function sheetAt(url) {
  const answer = await fetch(url, { headers: { Accept: "text/html" } }).catch(() => null);
  const written = new DOMParser().parseFromString((await answer?.text()) || "", "text/html");
  const found = (selector) => written.querySelector(selector);
  const turn = (rel) => {
    const link = found(`main [rel=${rel}]`);
    return link && { url: link.getAttribute("href"), words: link.textContent };
  };
  return {
    url,
    src: found("img.sheet")?.getAttribute("src"),
    wrong: found(".problem")?.textContent || (answer?.ok ? "" : CANNOT),
    count: found(".count")?.textContent || "",
    turns: { prev: turn("prev"), next: turn("next") },
    isMaking: Boolean(found(".making")),
  };
}

// --- In full -------------------------------------------------------------------------------------

const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
const lightbox = new PhotoSwipeLightbox({
  gallery: ".pictures",
  children: "a",
  pswpModule: () => import("/photoswipe.esm.min.js"),
  showHideAnimationType: still ? "none" : "zoom",
  paddingFn: (_size, { link }) => ({
    top: 48,
    bottom: tiles.get(link).isDocument ? 104 : 56,
    left: 0,
    right: 0,
  }),
  bgOpacity: 1,
});

lightbox.addFilter("domItemData", (item, _element, link) => {
  const { img, caption } = tiles.get(link);
  const sheet = sheets.get(link);
  const [w, h] = pixels(sheet?.img ? { written: {}, img: sheet.img } : tiles.get(link));
  // A page that was turned to is there already; what is not there yet would be shown as broken.
  const msrc = sheet?.img?.src || (img?.naturalWidth ? img.src : "");
  return { ...item, w, h, alt: caption, msrc, thumbCropped: !sheet?.img, link };
});

/** Return a picture's pixels as far as they are known: at least its shape. */
function pixels({ written, img }) {
  let [width, height] = [written.width, written.height];
  if (!width && img) [width, height] = [img.naturalWidth * 10, img.naturalHeight * 10];
  if (!width) [width, height] = [3000, 2000];
  const scale = Math.min(1, MOST_PIXELS / Math.max(width, height));
  return [Math.round(width * scale), Math.round(height * scale)];
}

lightbox.addFilter("thumbEl", (_thumb, { link }) => link && tiles.get(link).img);

// As thumbnails: again where the server has no time. Nobody's turn is waited for.
lightbox.on("contentLoadImage", (event) => {
  event.preventDefault();
  show(event.content);
});

async function show(content) {
  content.state = "loading";
  const { alt, link } = content.data;
  const img = content.element;
  img.alt = alt;
  const isWanted = () => Boolean(lightbox.pswp);
  let address = link.href;
  if (tiles.get(link).isDocument) {
    if (!sheets.has(link)) sheets.set(link, await sheetAt(link.href));
    const sheet = sheets.get(link);
    content.wrong = sheet.wrong;
    address = sheet.src;
    if (address) img.alt = `${alt} ${sheet.count}`;
  }
  const url = address && (await full(address));
  content.wrong ||= (await problem(url, { isWanted })) || (await undecodable(img, url));
  if (content.wrong) content.onError();
  else content.onLoaded();
  if (tiles.get(link).isDocument) await learn(link);
}

// Until it is laid out anew, the page that was turned to is shown as it came.
lightbox.addFilter("placeholderSrc", (src, { data }) => sheets.get(data.link)?.img?.src || src);

lightbox.addFilter("contentErrorElement", (element, { wrong }) => {
  element.textContent = wrong || CANNOT;
  return element;
});

// --- Pages of documents --------------------------------------------------------------------------

/** How many pages a document has is known once one was drawn: ask until it is. */
async function learn(link) {
  for (let seconds = 1; seconds < MOST_MAKING_SECONDS / 2; seconds *= 2) {
    const { url, isMaking, wrong, img } = sheets.get(link);
    turner.show(link);
    if (!isMaking || wrong) return;
    await pause(seconds);
    if (!lightbox.pswp || sheets.get(link)?.url !== url) return;
    const told = await sheetAt(url);
    if (sheets.get(link)?.url === url) sheets.set(link, { ...told, img });
  }
}

/** Turns pages of the document that is shown; where it is none, there is nothing to be seen of it. */
const turner = {
  isBusy: false,

  make(element) {
    this.element = element;
    const button = (rel, key) => {
      const made = Object.assign(document.createElement("button"), { type: "button" });
      made.setAttribute("aria-keyshortcuts", key);
      made.addEventListener("click", () => this.turn(rel));
      return made;
    };
    this.buttons = { prev: button("prev", "PageUp"), next: button("next", "PageDown") };
    this.count = Object.assign(document.createElement("span"), { className: "count" });
    this.count.setAttribute("role", "status");
    element.append(this.buttons.prev, this.count, this.buttons.next);
  },

  show(link, words = "") {
    if (link !== lightbox.pswp?.currSlide?.data.link) return;
    const sheet = sheets.get(link);
    this.element.hidden = !sheet || !(sheet.turns.prev || sheet.turns.next);
    if (this.element.hidden) return;
    this.count.textContent = words || sheet.count;
    this.element.classList.toggle("busy", this.isBusy);
    for (const [rel, made] of Object.entries(this.buttons)) {
      const to = sheet.turns[rel];
      if (to) made.textContent = to.words;
      // Not `disabled`: what has the focus keeps it.
      made.setAttribute("aria-disabled", String(!to || this.isBusy));
      made.hidden = !made.textContent;
    }
  },

  async turn(rel) {
    const { pswp } = lightbox;
    const { link } = pswp.currSlide.data;
    const to = sheets.get(link)?.turns[rel];
    if (!to || this.isBusy) return;
    const isWanted = () => lightbox.pswp === pswp && pswp.currSlide.data.link === link;
    this.isBusy = true;
    this.show(link, "Loading");
    let wrong = "";
    try {
      const sheet = await sheetAt(to.url);
      const img = new Image();
      const url = sheet.src && (await full(sheet.src));
      wrong = sheet.wrong || (await problem(url, { isWanted })) || (await undecodable(img, url));
      if (!wrong) sheets.set(link, { ...sheet, img });
    } finally {
      this.isBusy = false;
    }
    if (!isWanted()) return;
    if (!wrong) pswp.refreshSlideContent(pswp.currIndex);
    this.show(link, wrong);
  },
};

lightbox.on("keydown", ({ originalEvent }) => {
  const rel = { PageUp: "prev", PageDown: "next" }[originalEvent.key];
  if (!rel || turner.element.hidden) return;
  originalEvent.preventDefault();
  turner.turn(rel);
});

lightbox.on("destroy", () => sheets.clear());

lightbox.on("uiRegister", () => {
  lightbox.pswp.ui.registerElement({
    name: "name",
    className: "name",
    appendTo: "root",
    onInit: (element, pswp) => {
      element.setAttribute("aria-live", "polite");
      pswp.on("change", () => {
        element.textContent = pswp.currSlide.data.alt;
      });
    },
  });
  lightbox.pswp.ui.registerElement({
    name: "turner",
    className: "turner",
    appendTo: "root",
    onInit: (element, pswp) => {
      turner.make(element);
      pswp.on("change", () => {
        turner.element.hidden = true;
        turner.show(pswp.currSlide.data.link);
      });
    },
  });
});

if (document.querySelector(".pictures")) lightbox.init();

// A document's page of its own, which is there soon: then it says more.
const making = document.querySelector(".making");
if (making) {
  // What is made for a script's request may be another picture than for the page's.
  problem(document.querySelector("img.sheet").src, { method: "HEAD" }).then((wrong) => {
    if (!wrong) location.reload();
  });
}
