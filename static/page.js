// The demonstration page: lists the pictures, and says beside each what the server decided for it.
"use strict";

const SAMPLES = {
  "nasa.jpeg": "The Earth from orbit",
  "mountains.jpg": "Mountains at a lake",
  "meadow.jpg": "A flowering meadow",
  "harbour.jpg": "A harbour at dusk",
  "portrait.jpg": "A balloon, stored on its side",
  "night.jpg": "The Milky Way",
  "logo.png": "An emblem on a transparent ground",
  "missing.jpeg": "A placeholder, for there is no such picture",
};

// What this page's own address may ask for besides names; every picture is asked for with it.
const PASSED_ON = document.getElementById("choices").dataset.parameters.split(" ");

// An imagekey's fields after the name, which alone may contain a "_".
const KEY_FIELDS = [
  "box", "fit", "operations", "density", "bandwidth", "screen", "formats", "limits", "digest",
];

// The smallest picture of each format that not every browser can show.
const PROBES = {
  "image/jxl":
    "data:image/jxl;base64,/woAEJAUNwJAFggDAKwAAXQLAIAKlVHGDV7O9Xz5ocNi2sZ1hrbatrAkUWQcm6QTOC" +
    "SJgwJkMLiSBA==",
  "image/avif":
    "data:image/avif;base64,AAAAHGZ0eXBhdmlmAAAAAGF2aWZtaWYxbWlhZgAAAOltZXRhAAAAAAAAACFoZGxyA" +
    "AAAAAAAAABwaWN0AAAAAAAAAAAAAAAAAAAAAA5waXRtAAAAAAABAAAAHmlsb2MAAAAARAAAAQABAAAAAQAAAQ0AA" +
    "AAaAAAAKGlpbmYAAAAAAAEAAAAaaW5mZQIAAAAAAQAAYXYwMUNvbG9yAAAAAGhpcHJwAAAASWlwY28AAAAUaXNwZ" +
    "QAAAAAAAAABAAAAAQAAAA5waXhpAAAAAAEIAAAADGF2MUOBABwAAAAAE2NvbHJuY2x4AAEADQAGgAAAABdpcG1hA" +
    "AAAAAAAAAEAAQQBAoMEAAAAIm1kYXQSAAoHGAAGmAhoNTINH/UV3/4s/JA1kW5ccA==",
  "image/webp":
    "data:image/webp;base64,UklGRiQAAABXRUJQVlA4IBgAAAAwAQCdASoBAAEADMDOJaQAA3AA/uxnAAA=",
};

const asked = new URLSearchParams(location.search);
const names = asked.getAll("name").filter(Boolean);

const accept = acceptOfPictures();

showBrowser(document.getElementById("browser"));
fillForm(document.getElementById("choices"));
showGallery(document.getElementById("gallery"));
Promise.all((names.length ? names : Object.keys(SAMPLES)).map(addFigure)).then(showSum);

// --- What was asked ------------------------------------------------------------------------------

/** Say what the browser reports about itself. */
function showBrowser(list) {
  const network = navigator.connection;
  const viewport = document.documentElement.clientWidth;
  const dpr = Number(window.devicePixelRatio.toFixed(3));
  // As adaptive.js decides it.
  const policy = window.isSecureContext && navigator.userAgentData && document.featurePolicy;
  const hints = Boolean(policy && policy.allowsFeature("ch-viewport-width", location.origin));
  addFact(list, "Viewport", `${viewport} CSS pixels`);
  addFact(list, "Device pixels per CSS pixel", String(dpr));
  addFact(list, "Network", network ? networkInWords(network) : "not reported");
  addFact(list, "Client hints", hints ? "sent" : "not sent: adaptive.js adds parameters");
  const effectiveType = network && network.effectiveType;
  setData(list, { viewport, dpr, effectiveType, hints });
  list.hidden = false;
}

function networkInWords(network) {
  const words = [network.effectiveType || "of unknown speed"];
  if (network.rtt !== undefined) words.push(`${network.rtt} ms`);
  if (network.downlink !== undefined) words.push(`${network.downlink} Mbit/s`);
  if (network.saveData) words.push("saving data");
  return words.join(", ");
}

/** Show the link to the gallery, where there is one. */
async function showGallery(paragraph) {
  const link = paragraph.querySelector("a");
  const answer = await fetch(link.href, { method: "HEAD" });
  paragraph.hidden = !answer.ok;
}

/** Let the form show what this page was asked with, and keep what it has no field for. */
function fillForm(form) {
  for (const name of names) addHidden(form, "name", name);
  for (const parameter of PASSED_ON) {
    const value = asked.get(parameter);
    const field = form.elements[parameter];
    if (!value) continue;
    if (!field) {
      addHidden(form, parameter, value);
    } else {
      // A policy may have classes that the form does not know.
      const options = Array.from(field.options || []);
      if (field.options && !options.some((option) => option.value === value)) {
        field.add(new Option(value));
      }
      field.value = value;
    }
  }
  form.addEventListener("formdata", ({ formData }) => {
    for (const [parameter, value] of [...formData]) if (!value) formData.delete(parameter);
  });
  form.querySelector("a").search = new URLSearchParams(names.map((name) => ["name", name]));
  form.hidden = false;
}

function addHidden(form, name, value) {
  form.append(Object.assign(document.createElement("input"), { type: "hidden", name, value }));
}

// --- The pictures --------------------------------------------------------------------------------

/** Add a figure whose picture adaptive.js will load, and fill it in; return the picture's bytes. */
async function addFigure(name) {
  const figure = document.createElement("figure");
  const frame = addElement(figure, "div");
  const caption = addElement(figure, "figcaption");
  const img = addElement(frame, "img");
  addElement(caption, "h2", name);
  if (SAMPLES[name]) addElement(caption, "p", SAMPLES[name]);
  const list = addElement(caption, "dl");
  figure.dataset.name = name;
  figure.className = asked.get("width") || asked.get("height") ? "boxed" : "free";
  img.alt = SAMPLES[name] || name;
  img.dataset.src = address(name);
  const arrived = new Promise((resolve) => {
    img.addEventListener("load", resolve);
    img.addEventListener("error", resolve);
  });
  document.getElementById("pictures").append(figure);
  await arrived;
  const facts = await readFacts(img);
  layOut(img, facts);
  showFacts(list, facts);
  setData(figure, facts);
  return facts.bytes || 0;
}

function address(name) {
  const parts = [`/images/?name=${encodeURIComponent(name).replaceAll("%2F", "/")}`];
  for (const parameter of PASSED_ON) {
    const value = asked.get(parameter);
    if (value) parts.push(`${parameter}=${encodeURIComponent(value)}`);
  }
  return parts.join("&");
}

/** Return an Accept header that names what the browser names when it loads pictures. */
async function acceptOfPictures() {
  const shown = Object.entries(PROBES).map(async ([type, url]) => {
    try {
      await Object.assign(new Image(), { src: url }).decode();
      return type;
    } catch {
      return "";
    }
  });
  return [...(await Promise.all(shown)).filter(Boolean), "image/*", "*/*;q=0.8"].join(",");
}

/** Ask again for a picture that was just loaded, because only so its headers can be read. */
async function readFacts(img) {
  const url = img.currentSrc || img.src;
  try {
    const headers = { Accept: await accept };
    const answer = await fetch(url, { cache: "force-cache", headers });
    const body = await answer.blob();
    const facts = { url, status: answer.status, ...readHeaders(answer.headers), bytes: body.size };
    facts.size = facts.size || measure(img, facts);
    facts.again = isOther(url, body.size);
    return facts;
  } catch (error) {
    return { url, error: "no-answer", errorDetail: String(error) };
  }
}

function readHeaders(headers) {
  const decision = (headers.get("image-decision") || "").split("; ");
  const imagekey = headers.get("imagekey");
  return {
    error: headers.get("image-error"),
    errorDetail: headers.get("image-error-detail"),
    ...readKey(imagekey || ""),
    ...Object.fromEntries(decision.map((part) => part.split("="))),
    imagekey,
    timing: headers.get("server-timing"),
    contentDpr: headers.get("content-dpr"),
  };
}

/** Read what an imagekey says of the visitor: a failure has no image-decision. */
function readKey(imagekey) {
  const values = imagekey.split("_").slice(-KEY_FIELDS.length);
  const told = KEY_FIELDS.map((field, i) => [field, values[i] === "-" ? undefined : values[i]]);
  const { bandwidth, screen, density } = Object.fromEntries(told);
  return { bandwidth, screen, density };
}

/** Return the pixels of a picture whose headers do not tell; unknown where a browser scales it. */
function measure(img, { contentDpr }) {
  if (contentDpr || !img.naturalWidth) return undefined;
  return `${img.naturalWidth}x${img.naturalHeight}`;
}

/**
 * Return true when what came is not what is shown. That happens when the browser measured the
 * network anew meanwhile, so that its hints changed and its own copy no longer answers them.
 */
function isOther(url, bytes) {
  const shown = performance.getEntriesByName(url).find((entry) => entry.initiatorType === "img");
  return shown && shown.encodedBodySize && shown.encodedBodySize !== bytes ? true : undefined;
}

/** Lay a picture out at the size that was asked for, however many device pixels it has. */
function layOut(img, { size, contentDpr, density }) {
  const pixels = Number(contentDpr) || parseFloat(density);
  if (size && pixels) img.width = Math.round(parseInt(size, 10) / pixels);
}

// --- The facts -----------------------------------------------------------------------------------

/** Show the facts of one picture to people. */
function showFacts(list, facts) {
  const sizes = [facts.original, facts.size].filter(Boolean);
  if (facts.error || facts.status !== 200) {
    addFact(list, "Error", [facts.status, facts.error].filter(Boolean).join(" "), "error");
    addFact(list, "Because", facts.errorDetail);
  }
  addFact(list, "Taken for", [facts.bandwidth, facts.screen].filter(Boolean).join(", "));
  addFact(list, "Cell", facts.cell);
  addFact(list, "Format", facts.format && facts.format.toUpperCase());
  addFact(list, "Quality", facts.quality && qualityInWords(facts));
  addFact(list, "Size", sizes.map((size) => size.replace("x", "\u00a0×\u00a0")).join(" → "));
  addFact(list, "Density", facts.contentDpr && `${facts.contentDpr} per CSS pixel`);
  addFact(list, "Bytes", facts.bytes && bytesInWords(facts.bytes), "bytes");
  addFact(list, "Time", facts.timing && timeInWords(facts.timing));
  addFact(list, "imagekey", facts.imagekey, "code");
  addFact(list, "Address", facts.url.replace(location.origin, ""), "code");
  addFact(list, "Note", facts.again && "Asked again, as the network changed: not the one shown.");
}

function qualityInWords({ quality, score, limited }) {
  const words = [quality];
  if (score) words.push(`score ${score}`);
  if (limited) words.push(`the budget took ${limited}`);
  return words.join(", ");
}

/** Write facts down for programs, too. */
function setData(element, facts) {
  for (const [name, value] of Object.entries(facts)) {
    if (value !== undefined && value !== null && value !== "") element.dataset[name] = value;
  }
}

function showSum(all) {
  const bytes = all.reduce((sum, one) => sum + one, 0);
  const count = all.length === 1 ? "1 picture" : `${all.length} pictures together`;
  document.getElementById("sum").textContent = `${count}: ${bytesInWords(bytes)}`;
  setData(document.body, { bytes, ready: true });
}

/** Add a term and its description to a list, unless there is nothing to say. */
function addFact(list, term, text, kind) {
  if (!text) return;
  const pair = addElement(list, "div");
  addElement(pair, "dt", term);
  addElement(pair, "dd", text).className = kind || "";
}

function addElement(parent, tag, text = "") {
  const element = document.createElement(tag);
  element.textContent = text;
  parent.append(element);
  return element;
}

function bytesInWords(bytes) {
  if (bytes >= 1e6) return `${(bytes / 1e6).toFixed(2)} MB`;
  if (bytes < 1e3) return `${bytes} bytes`;
  return `${(bytes / 1e3).toFixed(bytes < 1e4 ? 1 : 0)} kB`;
}

/** Turn "find;dur=0.3, decode;dur=49.5, …" into "51 ms: decode 50, resize 1". */
function timeInWords(timing) {
  const parts = timing.split(", ").map((part) => part.split(";dur="));
  const total = parts.reduce((sum, [, ms]) => sum + Number(ms), 0);
  const long = parts.filter(([, ms]) => Math.round(ms) >= 1);
  const told = long.map(([part, ms]) => `${part}\u00a0${Math.round(ms)}`).join(", ");
  return told ? `${Math.round(total)}\u00a0ms: ${told}` : `${total.toFixed(1)}\u00a0ms`;
}
