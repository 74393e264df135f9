// A file in pieces by tus 1.0, which goes on after a lost connection: nothing of the page.
import { PASSING, Problem, ask, lull } from "/ask.js";

const ENDPOINT = "/upload/resumable/";
const PIECE_BYTES = 256 * 1024;
const [MOST_TRIALS, LONGEST_PAUSE_SECONDS] = [20, 30];

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
  askTus("DELETE", url, { token }).catch(() => {});
}

/** Return an address's path if it is one of uploads, which alone may see the token; else throw. */
export function checked(address) {
  const url = new URL(address, new URL(ENDPOINT, location));
  if (url.origin !== location.origin || !url.pathname.startsWith(ENDPOINT))
    throw new Problem("The server named an address that is not its own.", 422);
  return url.pathname;
}

async function create(file, metadata, request) {
  const answer = await askTus("POST", ENDPOINT, {
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
    const answer = await askTus("HEAD", url, request);
    return Number(answer.getResponseHeader("Upload-Offset"));
  } catch (error) {
    if (PASSING.includes(error.status)) throw error;
    return file.size; // finished, or over: the next answer says, as this one has no body
  }
}

/** Send a piece; return how many bytes have arrived since. */
async function sendPiece(url, file, offset, { onSent, ...request }) {
  const answer = await askTus("PATCH", url, {
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
  const answer = await askTus("GET", url, { ...request, headers: { Accept: "application/json" } });
  return JSON.parse(answer.responseText).content;
}

async function read(file, start, end) {
  try {
    return await file.slice(start, end).arrayBuffer();
  } catch {
    throw new Problem("The file cannot be read: was it moved or changed, or is it a folder?", 422);
  }
}

function askTus(method, url, { headers, ...request }) {
  return ask(method, url, { headers: { "Tus-Resumable": "1.0.0", ...headers }, ...request });
}

function base64(text) {
  return btoa(String.fromCharCode(...new TextEncoder().encode(text)));
}
