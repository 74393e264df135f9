// Requests of pages with forms: how much is sent, problems in sentences, and when to try again.

/** Answers after which another trial is worth it; 0 is none. After a 409 the offset is asked for. */
export const PASSING = [0, 408, 409, 423, 502, 503, 504];
/** Answers that leave what was asked for as it was: it can go on later. */
const KEEPING = [...PASSING, 401, 403, 429, 500, 507];
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

/** Send a request; return it once it is answered well, or throw a problem. */
export function ask(method, url, { headers = {}, body = null, token, signal, onSent }) {
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
    const all = { Accept: "application/problem+json", ...headers };
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
export async function lull(seconds, problem, signal, onTrouble) {
  onTrouble(problem, seconds);
  await new Promise((resolve) => {
    setTimeout(resolve, seconds * 1000);
    window.addEventListener("online", resolve, { once: true });
    signal.addEventListener("abort", resolve, { once: true });
  });
  signal.throwIfAborted();
}

/** A page of a document that is being made is asked for so long, and ever more seldom. */
const [MOST_MAKING_SECONDS, MORE_SELDOM] = [60, 1.5];

/** Wait until there is a picture at an address; throw a problem where there is none. */
export async function pictured(url) {
  for (let waited = 0, pause = 1; ; pause *= MORE_SELDOM) {
    const answer = await fetch(url, { method: "HEAD" }).catch(() => null);
    if (answer?.ok) return;
    const isMaking = answer?.headers.get("image-error") === "page-being-made";
    if (!isMaking && answer && !PASSING.includes(answer.status)) {
      const sentence = answer.headers.get("image-error-detail") || `The server answered ${answer.status}.`;
      throw new Problem(sentence, answer.status);
    }
    if (waited > MOST_MAKING_SECONDS) throw new Problem("It is still being made.", answer?.status || 0);
    const seconds = (Number(answer?.headers.get("Retry-After")) || 1) * pause;
    waited += seconds;
    await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
  }
}
