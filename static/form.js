// What pages with a form for files share: files in, the token, rows, and what is said aloud.
import { Problem } from "/ask.js";

const TOKEN_KEY = "upload-token";

const form = document.querySelector("main form");
const token = document.getElementById("token");
const maxBytes = Number(form.dataset.maxBytes);

/** Have files added that are chosen, dropped or pasted. */
export function takeFiles(add) {
  for (const input of [document.getElementById("image"), document.getElementById("camera")]) {
    input.multiple = !input.hasAttribute("capture");
    input.addEventListener("change", () => {
      add(input.files);
      input.value = ""; // the same file once more is a change, too
    });
  }
  form.noValidate = true;
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    document.getElementById("image").click();
  });

  document.addEventListener("paste", ({ clipboardData }) => add(clipboardData.files));
  for (const kind of ["dragenter", "dragover", "dragleave", "drop"]) {
    document.addEventListener(kind, (event) => {
      if (!event.dataTransfer.types.includes("Files")) return;
      event.preventDefault();
      const isOver = kind === "dragenter" || kind === "dragover" || event.relatedTarget !== null;
      document.body.classList.toggle("dropping", kind !== "drop" && isOver);
      if (kind === "drop") add(event.dataTransfer.files);
    });
  }
}

/** Keep the token for this tab, and tell when it changes. */
export function takeToken(changed) {
  if (!token) return;
  token.value = attempt(() => sessionStorage.getItem(TOKEN_KEY)) || "";
  token.addEventListener("change", () => {
    attempt(() => sessionStorage.setItem(TOKEN_KEY, token.value.trim()));
    changed();
  });
}

export function focusToken() {
  token?.focus();
}

export function focusFiles() {
  document.getElementById("image").focus();
}

/** Return the token, if one was given that a header can carry. */
export function bearer() {
  const given = token?.value.trim() || "";
  return /^[!-~]+$/.test(given) ? given : "";
}

/** Throw a problem where a file need not be sent at all. */
export function requireFit(file) {
  if (!file.size) throw new Problem("The file is empty.", 422);
  if (file.size > maxBytes) {
    const most = `The server takes no more than ${bytes(maxBytes)}.`;
    throw new Problem(`It has ${bytes(file.size)}. ${most}`, 413);
  }
  if (token && !bearer()) throw new Problem("Enter the token first.", 401);
}

/** Return what an action does, or null: browsers may keep nothing, and then nothing goes on. */
export function attempt(action) {
  try {
    return action();
  } catch {
    return null;
  }
}

export function made(template) {
  return document.getElementById(template).content.firstElementChild.cloneNode(true);
}

export function say(sentence) {
  const log = document.getElementById("said");
  const line = document.createElement("p");
  line.textContent = sentence;
  log.append(line);
  if (log.children.length > 20) log.firstChild.remove();
}

/** Show how much of a file is sent; say each quarter. Return it in words. */
export function showShare(row, file, sentBytes) {
  const share = Math.min(sentBytes / file.size, 1);
  row.querySelector("progress").value = share;
  // Every quarter is enough to listen to.
  const quarter = Math.floor(share * 4) * 25;
  if (quarter > Number(row.dataset.quarter || 0)) say(`${file.name}: ${quarter} %`);
  row.dataset.quarter = quarter;
  return `${Math.floor(share * 100)} % of ${bytes(file.size)}`;
}

export function bytes(count) {
  if (count < 1024 * 1024) return `${Math.ceil(count / 1024)} KiB`;
  return `${(count / 1024 / 1024).toFixed(1)} MiB`;
}
