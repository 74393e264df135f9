// A file in pieces by tus 1.0, which goes on after a lost connection: nothing of the page.

const ENDPOINT = "/upload/resumable/";
const PIECE_BYTES = 256 * 1024;
/** Answers after which another trial is worth it; 0 is none. After a 409 the offset is asked for. */
const PASSING = [0, 408, 409, 423, 502, 503, 504];
/** Answers that leave the upload as it was: it can go on later. */
const KEEPING = [...PASSING, 401, 403, 429, 500, 507];
const [MOST_TRIALS, LONGEST_PAUSE_SECONDS] = [20, 30];
/** A connection on which nothing moves for so long is given up. */
const SILENCE_SECONDS = 120;

/** Something went wrong: a sentence for people, and the answer's status, or 0 where there was none. */
export class Problem extends Error {
  constructor(sentence, status, retrySeconds = 0) {
    super(sentence);
    Object.assign(this, { status, retrySeconds });
  }

  /** Whether what arrived is there still. */
  get isKept() {
    return KEEPING.includes(this.status);
  }
}

/**
 * Send all of a file, however often the connection breaks. Return what the server made of it, or
 * throw a problem, or the signal's reason.
 *
 * url: where an earlier upload of this file goes on, if there is one.
 * metadata: texts by name.
 * onCreated(url, expires): it has an address from now on.
 * onSent(bytes): so many are sent; all of them while the server checks the file.
 * onTrouble(problem, seconds): there will be another trial after so long.
 */
export async function send(file, options) {
  const { signal, onCreated, onSent, onTrouble } = options;
  const request = { token: options.token, signal };
  let { url } = options;
  await read(file, 0, 1); // a folder, say, cannot be
  for (let trial = 1; ; trial++) {
    try {
      let offset = 0;
      if (url) {
        offset = await offsetOf(url, file, request);
      } else {
        let expires;
        [url, expires] = await create(file, options.metadata, request);
        onCreated(url, expires);
      }
      while (offset < file.size) {
        offset = await sendPiece(url, file, offset, { ...request, onSent });
        trial = 1;
      }
      onSent(file.size);
      return await contentOf(url, request);
    } catch (error) {
      signal.throwIfAborted();
      if ([404, 410].includes(error.status) && url === options.url) {
        url = null; // what was begun earlier is over: from the start
      } else {
        if (!PASSING.includes(error.status) || trial > MOST_TRIALS) throw error;
        const seconds = Math.max(2 ** (trial - 1), error.retrySeconds);
        await lull(Math.min(seconds, LONGEST_PAUSE_SECONDS), error, signal, onTrouble);
      }
    }
  }
}

/** Have the server forget what arrived; where that fails, it does so in time. */
export function discard(url, token) {
  ask("DELETE", url, { token }).catch(() => {});
}

/** Return an address's path if it is one of uploads, which alone may see the token; else throw. */
export function checked(address) {
  const url = new URL(address, new URL(ENDPOINT, location));
  if (url.origin !== location.origin || !url.pathname.startsWith(ENDPOINT))
    throw new Problem("The server named an address that is not its own.", 422);
  return url.pathname;
}

async function create(file, metadata, request) {
  const answer = await ask("POST", ENDPOINT, {
    ...request,
    headers: {
      "Upload-Length": file.size,
      "Upload-Metadata": Object.entries(metadata)
        .map(([name, text]) => (text ? `${name} ${base64(text)}` : name))
        .join(","),
    },
  });
  const url = checked(answer.getResponseHeader("Location"));
  return [url, answer.getResponseHeader("Upload-Expires")];
}

/** Return how many bytes have arrived; all of them if the server has no more to take. */
async function offsetOf(url, file, request) {
  try {
    const answer = await ask("HEAD", url, request);
    return Number(answer.getResponseHeader("Upload-Offset"));
  } catch (error) {
    if (PASSING.includes(error.status)) throw error;
    return file.size; // finished, or over: the next answer says, as this one has no body
  }
}

/** Send a piece; return how many bytes have arrived since. */
async function sendPiece(url, file, offset, { onSent, ...request }) {
  const answer = await ask("PATCH", url, {
    ...request,
    headers: { "Upload-Offset": offset, "Content-Type": "application/offset+octet-stream" },
    body: await read(file, offset, Math.min(offset + PIECE_BYTES, file.size)),
    onSent: (bytes) => onSent(offset + bytes),
  });
  const arrived = Number(answer.getResponseHeader("Upload-Offset"));
  if (arrived <= offset) throw new Problem("The server took nothing of a piece.", 409);
  return arrived;
}

async function contentOf(url, request) {
  const answer = await ask("GET", url, { ...request, headers: { Accept: "application/json" } });
  return JSON.parse(answer.responseText).content;
}

async function read(file, start, end) {
  try {
    return await file.slice(start, end).arrayBuffer();
  } catch {
    throw new Problem("The file cannot be read: was it moved or changed, or is it a folder?", 422);
  }
}

/** Send a request; return it once it is answered well, or throw a problem. */
function ask(method, url, { headers = {}, body = null, token, signal, onSent }) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest(); // fetch does not tell how much is sent
    let timer;
    const settle = (how, value) => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", stop);
      how(value);
    };
    const stop = () => {
      request.abort();
      const silent = new Problem("The server does not answer.", 0);
      settle(reject, signal?.aborted ? signal.reason : silent);
    };
    const moved = () => {
      clearTimeout(timer);
      timer = setTimeout(stop, SILENCE_SECONDS * 1000);
    };
    if (signal?.aborted) return reject(signal.reason);
    signal?.addEventListener("abort", stop);
    request.onerror = () => settle(reject, new Problem("The connection is lost.", 0));
    request.onload = () => {
      if (request.status >= 200 && request.status < 300) settle(resolve, request);
      else settle(reject, problemOf(request));
    };
    request.upload.onprogress = ({ loaded }) => {
      moved();
      onSent?.(loaded);
    };
    request.open(method, url);
    const all = { "Tus-Resumable": "1.0.0", Accept: "application/problem+json", ...headers };
    if (token) all.Authorization = `Bearer ${token}`;
    for (const [name, value] of Object.entries(all)) request.setRequestHeader(name, value);
    moved();
    request.send(body);
  });
}

/** Read a failure: its sentence, where the answer has one. */
function problemOf(answer) {
  const { status, responseText } = answer;
  // What the answer says is for programs.
  if (status === 401) return new Problem("The server does not take this token.", status);
  let sentence = `The server answered ${status}.`;
  try {
    sentence = JSON.parse(responseText).title || sentence;
  } catch {
    // it has none
  }
  return new Problem(sentence, status, Number(answer.getResponseHeader("Retry-After")) || 0);
}

/** Wait until another trial, or until the browser is online again. */
async function lull(seconds, problem, signal, onTrouble) {
  onTrouble(problem, seconds);
  await new Promise((resolve) => {
    setTimeout(resolve, seconds * 1000);
    window.addEventListener("online", resolve, { once: true });
    signal.addEventListener("abort", resolve, { once: true });
  });
  signal.throwIfAborted();
}

function base64(text) {
  return btoa(String.fromCharCode(...new TextEncoder().encode(text)));
}
