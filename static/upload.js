// The upload page: several pictures, two at a time, which go on after a lost connection and, once
// the file was chosen again, after a reload. Names are only ever text: no markup is made of them.
import {
  attempt, bearer, focusFiles, focusToken, made, requireFit, say, showShare, takeFiles, takeToken,
} from "/form.js";
import { pictured } from "/ask.js";
import { checked, discard, send } from "/tus.js";

const AT_ONCE = 2;
/** Answers that the same file will get again. */
const FINAL = [413, 415, 422];
/** What stands before what was chosen, in the key of an upload that is not finished. */
const KEY_START = "upload:";

/** Of a video, in place of pages. */
const MOMENTS = ["", "25%25", "50%25", "75%25"];

const sizes = document.getElementById("sizes");
const documents = document.getElementById("uploads").dataset;
const list = document.querySelector("#uploads ul");

const uploads = new Set();
const running = new Set();
const waiting = [];

// --- Files in ------------------------------------------------------------------------------------

takeFiles(add);
takeToken(() => {
  for (const upload of uploads) if (upload.problem?.status === 401) goOn(upload);
});

window.addEventListener("beforeunload", (event) => {
  if (running.size) event.preventDefault();
});

function add(files) {
  for (const file of files) {
    const upload = { file, sizes: sizes.value.trim(), url: null, stop: null, problem: null };
    if ([...uploads].some((other) => keyOf(other) === keyOf(upload))) continue;
    uploads.add(upload);
    addRow(upload);
    goOn(upload);
  }
  showEarlier();
}

// --- In turn -------------------------------------------------------------------------------------

function goOn(upload) {
  if (!upload.url) upload.sizes = sizes.value.trim();
  upload.problem = null;
  upload.stop = new AbortController();
  show(upload, "waiting", "Waiting");
  waiting.push(upload);
  schedule();
}

function schedule() {
  while (running.size < AT_ONCE && waiting.length) {
    const upload = waiting.shift();
    running.add(upload);
    run(upload).finally(() => {
      running.delete(upload);
      schedule();
    });
  }
}

async function run(upload) {
  const { signal } = upload.stop;
  try {
    const content = await sent(upload, signal);
    forget(upload);
    uploads.delete(upload);
    showPicture(upload, content);
  } catch (error) {
    if (signal.aborted) return;
    upload.problem = error;
    if (!error.isKept) forget(upload);
    show(upload, "failed", error.message);
    if (error.status === 401) focusToken();
  }
}

function sent(upload, signal) {
  const { file } = upload;
  requireFit(file);
  upload.url ||= recall(keyOf(upload));
  return send(file, {
    url: upload.url,
    metadata: { filename: file.name, sizes: upload.sizes },
    token: bearer(),
    signal,
    onCreated: (url, expires) => remember(upload, url, expires),
    onSent: (sentBytes) => showSent(upload, sentBytes),
    onTrouble: ({ message }, seconds) =>
      show(upload, "waiting", `${message} Going on in ${seconds} s`),
  });
}

/** Stop what is sent, or waits. */
function halt(upload) {
  upload.stop.abort();
  if (waiting.includes(upload)) waiting.splice(waiting.indexOf(upload), 1);
}

function pause(upload) {
  halt(upload);
  show(upload, "paused", "Paused");
}

function end(upload) {
  halt(upload);
  uploads.delete(upload);
  upload.row.remove();
  if (upload.url) discard(upload.url, bearer());
  forget(upload);
  focusFiles();
}

// --- What is not finished ------------------------------------------------------------------------

function keyOf({ file, sizes }) {
  return KEY_START + JSON.stringify([file.name, file.size, file.lastModified, sizes]);
}

function remember(upload, url, expires) {
  upload.url = url;
  attempt(() => localStorage.setItem(keyOf(upload), JSON.stringify({ url, expires })));
}

/** Return where an unfinished upload goes on, if it can. */
function recall(key) {
  return attempt(() => {
    const { url, expires } = JSON.parse(localStorage.getItem(key));
    return Date.parse(expires) < Date.now() ? null : checked(url);
  });
}

function forget(upload) {
  upload.url = null;
  drop(keyOf(upload));
}

function drop(key) {
  attempt(() => localStorage.removeItem(key));
  showEarlier();
}

/** Show what earlier pages did not finish. */
function showEarlier() {
  const section = document.getElementById("earlier");
  const known = [...uploads].map(keyOf);
  const rows = [];
  for (const key of storedKeys()) {
    const url = recall(key);
    if (!url || known.includes(key)) continue;
    const [name, , , asked] = JSON.parse(key.slice(KEY_START.length));
    const row = made("earlier-row");
    row.querySelector("bdi").textContent = asked ? `${name} (${asked})` : name;
    row.querySelector("span").textContent = ` ${name}`;
    row.querySelector("button").addEventListener("click", () => {
      discard(url, bearer());
      drop(key);
      focusFiles();
    });
    rows.push(row);
  }
  section.querySelector("ul").replaceChildren(...rows);
  section.hidden = !rows.length;
}

function storedKeys() {
  const keys = attempt(() => Object.keys(localStorage)) || [];
  return keys.filter((key) => key.startsWith(KEY_START));
}

// --- What is shown -------------------------------------------------------------------------------

function addRow(upload) {
  const row = made("row");
  upload.row = row;
  row.querySelector("bdi").textContent = upload.file.name;
  row.querySelector("progress").setAttribute("aria-label", upload.file.name);
  row.querySelector(".turn").addEventListener("click", () => {
    const isStopped = upload.problem || upload.stop.signal.aborted;
    (isStopped ? goOn : pause)(upload);
  });
  row.querySelector(".end").addEventListener("click", () => end(upload));
  for (const span of row.querySelectorAll("button span")) span.textContent = ` ${upload.file.name}`;
  list.append(row);
  document.getElementById("uploads").hidden = false;
}

/** Show how an upload is, and say it to those who do not see it. */
function show(upload, state, sentence) {
  const { row, file } = upload;
  if (row.dataset.state !== state || state === "failed") say(`${file.name}: ${sentence}`);
  row.dataset.state = state;
  row.querySelector(".state").textContent = sentence;
  const progress = row.querySelector("progress");
  progress.hidden = state === "failed";
  if (state === "checking") progress.removeAttribute("value");
  const turn = row.querySelector(".turn");
  turn.firstChild.data = { paused: "Go on", failed: "Try again" }[state] || "Pause";
  turn.hidden = FINAL.includes(upload.problem?.status);
  row.querySelector(".end").firstChild.data = state === "failed" ? "Remove" : "Cancel";
  if (turn.hidden && turn === document.activeElement) row.querySelector("h3").focus();
}

function showSent(upload, sentBytes) {
  const { row, file } = upload;
  if (sentBytes >= file.size) {
    show(upload, "checking", "Checking");
    return;
  }
  show(upload, "sending", showShare(row, file, sentBytes));
}

/** Show a picture that was taken at its sizes, with all there is to copy. */
function showPicture(upload, { ident, sizes: pairs, format }) {
  const { row } = upload;
  const kept = pairs.map((pair) => pair.join("x"));
  const hadFocus = row.contains(document.activeElement);
  show(upload, "done", format ? `${uploaded(format)} Its first page is being made.` : "Uploaded");
  row.querySelector("progress").remove();
  row.querySelector(".buttons").remove();
  if (hadFocus) row.querySelector("h3").focus();

  const picture = new URL(`/image/${encodeURIComponent(ident)}.jpg`, location).href;
  const address = (size) => `${picture}?size=${encodeURIComponent(size)}`;
  const whole = sized("", picture);
  const turns = format && "turns" in documents;
  if (kept.length && !turns) whole.querySelector("img").remove(); // in full it is heavy
  const tiles = [...kept.map((size) => sized(size, address(size))), whole];
  row.querySelector(".sizes").append(...tiles);
  if (format) showDocument(upload, tiles.filter((tile) => tile.querySelector("img")), format);
  for (const img of format ? [] : row.querySelectorAll(".sizes img")) img.src = img.closest("a").href;
  row.querySelector(".sizes").hidden = false;
  // One for each shape: a browser may take any of a srcset's pictures.
  const shapes = new Map();
  for (const size of kept) shapes.set(shape(size), [...(shapes.get(shape(size)) || []), size]);
  const details = row.querySelector("details");
  for (const group of shapes.values()) {
    const srcset = group.map((size) => `${address(size)}&dpr=1 ${parseInt(size, 10)}w`);
    const part = made("copyable");
    part.querySelector("label span").textContent = group.join(", ");
    part.querySelector("textarea").value = srcset.join(", ");
    details.append(part);
  }
  details.hidden = !kept.length;
  haveCopied(row);
}

/** Return what sizes have in common that show the same part of a picture. */
function shape(size) {
  const [width, height] = size.replace("<", "").split("x").map(Number);
  return `${size.includes("<")} ${height && (width / height).toFixed(2)}`;
}

function sized(size, url) {
  const tile = made("sized");
  tile.querySelector("a").href = url;
  if (size) tile.querySelector("a span").textContent = size;
  return tile;
}

function uploaded(format) {
  return `Uploaded: ${documents[format] || format}.`;
}

/** Show a document's first page at its sizes once it is there, and have its pages turned; or say why not. */
async function showDocument(upload, tiles, format) {
  const problems = await Promise.all(tiles.map((tile) => showPage(tile, tile.querySelector("a").href)));
  const [problem] = problems.filter(Boolean);
  const { row, file } = upload;
  row.querySelector(".state").textContent = `${uploaded(format)} ${problem?.message || ""}`;
  say(`${file.name}: ${problem?.message || "The first page is shown"}`);
  for (const [at, tile] of tiles.entries()) if (problems[at]) tile.querySelector("img").remove();
  if (!problem && "turns" in documents) haveTurned(tiles.at(-1), format, file.name);
}

/** Show a document's page once it is there; return what is wrong, or nothing. */
async function showPage(tile, url) {
  try {
    await pictured(url);
    tile.querySelector("img").src = url;
    return null;
  } catch (problem) {
    return problem;
  }
}

/** Have buttons turn a document's pages. How many it has is known once there is no other. */
function haveTurned(tile, format, name) {
  const picture = tile.querySelector("a").href;
  const turner = made("turner");
  const count = turner.querySelector(".count");
  const buttons = [...turner.querySelectorAll("button")];
  const isVideo = format === "video";
  const label = (page) => (isVideo ? MOMENTS[page - 1].replace("%25", " %") : `Page ${page}`);
  let [page, last, isBusy] = [1, isVideo ? MOMENTS.length : Infinity, false];
  const update = (words) => {
    count.textContent = words;
    // Not `disabled`: what has the focus keeps it.
    buttons[0].setAttribute("aria-disabled", String(isBusy || page === 1));
    buttons[1].setAttribute("aria-disabled", String(isBusy || page >= last));
  };
  for (const button of buttons) {
    if (isVideo) button.textContent = button.dataset.way === "1" ? "Later" : "Earlier";
    button.addEventListener("click", async () => {
      const to = page + Number(button.dataset.way);
      if (button.getAttribute("aria-disabled") === "true") return;
      const spelled = isVideo ? MOMENTS[to - 1] : to > 1 && to;
      const url = spelled ? `${picture}?page=${spelled}` : picture;
      isBusy = true;
      update("Loading");
      const problem = await showPage(tile, url);
      isBusy = false;
      if (problem?.status === 404 && to > page) last = page;
      if (problem) {
        update(problem.message);
        say(`${name}: ${problem.message}`);
        return;
      }
      page = to;
      tile.querySelector("a").href = url;
      update(label(page));
    });
  }
  update(label(page));
  tile.append(turner);
}

/** Have the buttons of a result copy addresses and srcsets. */
function haveCopied(result) {
  for (const tile of result.querySelectorAll(".sizes li"))
    copyBy(tile, tile.querySelector("a span"), () => tile.querySelector("a").href);
  for (const part of result.querySelectorAll(".copyable"))
    copyBy(part, part.querySelector("label span"), () => part.querySelector("textarea").value);
}

function copyBy(part, label, text) {
  const button = part.querySelector("button");
  const [words] = button.childNodes;
  const asked = words.data;
  button.querySelector("span").textContent = ` ${label.textContent}`;
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text());
    } catch {
      copySelected(text()); // without HTTPS there is no clipboard to write to
      button.focus();
    }
    words.data = "Copied";
    say("Copied");
    setTimeout(() => (words.data = asked), 2000);
  });
}

function copySelected(text) {
  const area = Object.assign(document.createElement("textarea"), { value: text });
  area.className = "unseen";
  document.body.append(area);
  area.select();
  document.execCommand("copy");
  area.remove();
}

haveCopied(document);
showEarlier();
document.documentElement.classList.add("scripts");
