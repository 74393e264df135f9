// The page of jobs: pictures are handed in, two at a time, and followed until their thumbnails are
// there. Names are only ever text: no markup is made of them.
import { PASSING, Problem, ask, lull } from "/ask.js";
import {
  bearer, bytes, focusFiles, focusToken, made, requireFit, say, showShare, takeFiles, takeToken,
} from "/form.js";

const ENDPOINT = "/convert";
const WORDS = ["width", "height", "fit", "format", "page"];
/** Answers that the same file will get again. */
const FINAL = [400, 410, 413, 415, 422];
const OVER = ["SUCCESS", "FAILURE"];
/** Browsers open six connections: some are left for pictures. */
const AT_ONCE = 2;
const [WAIT_SECONDS, SHORT_WAIT_SECONDS] = [20, 2];
const [MOST_TRIALS, LONGEST_PAUSE_SECONDS] = [20, 30];

const list = document.querySelector("#jobs ul");
const jobs = new Set();
const sending = turns(AT_ONCE);
const asking = turns(AT_ONCE);

takeFiles((files) => {
  for (const file of files) goOn(addRow({ file, name: file.name, words: words(), address: null }));
});
takeToken(() => {
  for (const job of jobs) if (job.problem?.status === 401) goOn(job);
});
window.addEventListener("beforeunload", (event) => {
  // Whoever leaves has taken jobs made; a file must be sent whole.
  if ([...jobs].some(({ row }) => row.dataset.state === "sending")) event.preventDefault();
});

/** Return what is asked of a picture at this moment. */
function words() {
  return WORDS.map((name) => [name, document.getElementById(name)?.value.trim()]);
}

// --- In turn -------------------------------------------------------------------------------------

/** Return what does actions, so many at once, first come first served. */
function turns(most) {
  const waiting = [];
  let busy = 0;
  return async (action) => {
    if (busy < most) busy++;
    else await new Promise((begin) => waiting.push(begin));
    try {
      return await action();
    } finally {
      if (waiting.length) waiting.shift()();
      else busy--;
    }
  };
}

async function goOn(job) {
  job.problem = null;
  job.stop = new AbortController();
  const { signal } = job.stop;
  try {
    if (!job.address) {
      show(job, "waiting", "Waiting");
      job.address = await sending(() => handIn(job, signal));
    }
    await follow(job, signal);
  } catch (error) {
    if (signal.aborted) return;
    job.problem = error;
    show(job, "failed", error.message);
    if (error.status === 401) focusToken();
  }
}

/** Send the file; return the address of its job. */
async function handIn(job, signal) {
  signal.throwIfAborted();
  requireFit(job.file);
  const body = new FormData();
  for (const [name, word] of job.words) if (word) body.append(name, word);
  body.append("file", job.file);
  const onSent = (sentBytes) => show(job, "sending", showShare(job.row, job.file, sentBytes));
  const answer = await ask("POST", ENDPOINT, { body, token: bearer(), signal, onSent });
  return checked(answer.getResponseHeader("Location"));
}

/** Return an address's path if it is a job's, which alone may see the token; else throw. */
function checked(address) {
  const url = new URL(address, location);
  if (url.origin !== location.origin || !/^\/convert\/[\w-]+$/.test(url.pathname))
    throw new Problem("The server named an address that is not its own.", 422);
  return url.pathname;
}

/** Ask for a job until it is over. */
async function follow(job, signal) {
  let [seconds, trial] = [0, 0];
  for (;;) {
    try {
      const answer = await asking(() =>
        ask("GET", `${job.address}?wait=${seconds}`, { signal }),
      );
      const told = JSON.parse(answer.responseText);
      showTold(job, told);
      if (OVER.includes(told.status)) return;
      trial = 0;
      // Where others wait for their turn to ask, one that takes long must not keep them.
      seconds = followed() > AT_ONCE ? SHORT_WAIT_SECONDS : WAIT_SECONDS;
      const retrySeconds = Number(answer.getResponseHeader("Retry-After"));
      if (retrySeconds) await lull(retrySeconds, null, signal, () => {});
    } catch (error) {
      signal.throwIfAborted();
      if (!PASSING.includes(error.status) || ++trial > MOST_TRIALS) throw error;
      const pause = Math.min(Math.max(2 ** (trial - 1), error.retrySeconds), LONGEST_PAUSE_SECONDS);
      await lull(pause, error, signal, ({ message }) =>
        show(job, "waiting", `${message} Going on in ${pause} s`),
      );
    }
  }
}

function followed() {
  return [...jobs].filter(({ row }) => ["waiting", "making"].includes(row.dataset.state)).length;
}

/** Have a job ended, or what is over forgotten by this page. */
async function end(job) {
  const isOver = ["done", "failed"].includes(job.row.dataset.state);
  if (job.address && !isOver) {
    try {
      await ask("DELETE", job.address, { token: bearer() });
      return; // whoever follows it is told
    } catch (error) {
      if (error.status === 401) focusToken();
      if (error.status !== 410) job.row.querySelector(".state").textContent = error.message;
      return; // where it was quicker, its thumbnail is there
    }
  }
  job.stop.abort();
  jobs.delete(job);
  job.row.remove();
  focusFiles();
}

// --- What is shown -------------------------------------------------------------------------------

function addRow(job) {
  const row = made("row");
  job.row = row;
  jobs.add(job);
  row.querySelector("bdi").textContent = job.name;
  row.querySelector("progress").setAttribute("aria-label", job.name);
  row.querySelector(".turn").addEventListener("click", () => {
    if (FINAL.includes(job.problem?.status)) job.words = words();
    goOn(job);
  });
  row.querySelector(".end").addEventListener("click", () => end(job));
  for (const span of row.querySelectorAll("button span")) span.textContent = ` ${job.name}`;
  list.prepend(row);
  document.getElementById("jobs").hidden = false;
  return job;
}

/** Show how a job is, and say it to those who do not see it. */
function show({ row, name, problem }, state, sentence) {
  const line = row.querySelector(".state");
  const isNew = row.dataset.state !== state || (state !== "sending" && line.textContent !== sentence);
  if (isNew && state !== "sending") say(`${name}: ${sentence}`);
  row.dataset.state = state;
  line.textContent = sentence;
  const isOver = ["done", "failed"].includes(state);
  const progress = row.querySelector("progress");
  progress.hidden = isOver || state === "waiting";
  if (state === "making") progress.removeAttribute("value");
  const turn = row.querySelector(".turn");
  const hadFocus = turn === document.activeElement;
  // Another size or format may do where this one did not.
  turn.hidden = !problem || (FINAL.includes(problem.status) && problem.status !== 400);
  if (turn.hidden && hadFocus) row.querySelector("h3").focus();
  row.querySelector(".end").firstChild.data = isOver ? "Remove" : "Cancel";
}

function showTold(job, { status, submission_result: result, result_url: url }) {
  const { row } = job;
  const sentence = row.querySelector(".state").dataset[status.toLowerCase()];
  if (status === "FAILURE") {
    show(job, "failed", result);
  } else if (status === "SUCCESS") {
    const { format, width, height } = result;
    show(job, "done", `${format.toUpperCase()}, ${width} × ${height} pixels, ${bytes(result.bytes)}`);
    const link = row.querySelector(".sizes a");
    link.href = link.querySelector("img").src = url;
    link.querySelector("img").alt = `Thumbnail of ${job.name}`;
    row.querySelector(".sizes").hidden = false;
  } else {
    show(job, status === "STARTED" ? "making" : "waiting", sentence);
  }
}

const shown = document.getElementById("job");
if (shown) {
  goOn(addRow({ file: null, name: "Your picture", address: checked(shown.dataset.address) }));
  shown.remove();
}
document.documentElement.classList.add("scripts");
