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
/** Of thumbnails: more is not seen in what is so small, and weighs twice as much. */
const MOST_DENSITY = 2;
/** Across the longer side: more than a policy sends to a screen. */
const MOST_PIXELS = 2048;

const tiles = new Map();
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
  tiles.set(link, { written, caption: link.querySelector(".caption").textContent, img: null });
  watch.observe(link);
}

// --- Thumbnails ----------------------------------------------------------------------------------

/** Load a tile's thumbnail, and show it once it is there. */
async function fill(link) {
  const tile = tiles.get(link);
  const frame = link.querySelector(".frame");
  const url = await extended(candidate(tile.written, frame.clientWidth));
  const img = Object.assign(document.createElement("img"), { alt: "" });
  const shown = (await loaded(url, { inTurn: turns })) && (await decoded(img, url));
  frame.querySelector(".tiny")?.remove();
  if (shown) {
    tile.img = img;
    frame.append(img);
  } else {
    const wrong = document.createElement("span");
    wrong.className = "wrong";
    wrong.textContent = "Cannot be shown";
    frame.append(wrong);
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
 * Ask until the picture came, or never will, or nobody wants it any more; return whether it came.
 * From then on the browser has it.
 */
async function loaded(url, { inTurn, isWanted = () => true } = {}) {
  for (let trial = 1; isWanted(); trial++) {
    if (inTurn) await turn(inTurn);
    let answer;
    try {
      answer = await fetch(url);
      await answer.blob();
    } catch {
      answer = null; // no network
    } finally {
      if (inTurn) next(inTurn);
    }
    if (answer && !PASSING.includes(answer.status)) return answer.ok;
    const seconds = Number(answer?.headers.get("Retry-After")) || Math.min(trial, LONG_PAUSE_SECONDS);
    await pause(trial < MOST_TRIALS ? seconds : Math.max(seconds, LONG_PAUSE_SECONDS));
  }
  return false;
}

async function decoded(img, url) {
  img.src = url;
  try {
    await img.decode();
    return true;
  } catch {
    return false;
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

/** Return the address of a picture in full. Where the browser sends no hints, it says the screen. */
async function full(link) {
  const across = Math.min(document.documentElement.clientWidth, window.screen.width);
  const url = navigator.userAgentData ? link.href : `${link.href}&screen=${across}`;
  return extended(url);
}

// --- In full -------------------------------------------------------------------------------------

const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
const lightbox = new PhotoSwipeLightbox({
  gallery: ".pictures",
  children: "a",
  pswpModule: () => import("/photoswipe.esm.min.js"),
  showHideAnimationType: still ? "none" : "zoom",
  padding: { top: 48, bottom: 56, left: 0, right: 0 },
  bgOpacity: 1,
});

lightbox.addFilter("domItemData", (item, _element, link) => {
  const { img, caption } = tiles.get(link);
  const [w, h] = pixels(tiles.get(link));
  return { ...item, w, h, alt: caption, msrc: img?.src, thumbCropped: true, link };
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
  const img = content.element;
  img.alt = content.data.alt;
  const url = await full(content.data.link);
  const isWanted = () => Boolean(lightbox.pswp);
  if ((await loaded(url, { isWanted })) && (await decoded(img, url))) content.onLoaded();
  else content.onError();
}

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
});

lightbox.init();
