// Whether the gateway answers. While it does not, one request after another asks whether it does
// again, at growing intervals; everybody else waits for that.

import { reach, session } from "./session.js";

const FIRST_MS = 1000;
const LONGEST_MS = 15_000;

// `since` is null while the gateway answers; `nextAt` is null while it is being asked.
export const link = Object.assign(new EventTarget(), { since: null, nextAt: null });

let attempts = 0;
let timer = null;

const changed = () => link.dispatchEvent(new Event("change"));

function schedule() {
  // Between half and all of it, so that pages do not come all at once.
  const longest = Math.min(LONGEST_MS, FIRST_MS * 2 ** attempts);
  const wait = longest * (0.5 + Math.random() / 2);
  attempts += 1;
  link.nextAt = Date.now() + wait;
  timer = setTimeout(tryNow, wait);
  changed();
}

export async function tryNow() {
  if (link.since === null || link.nextAt === null) return;
  clearTimeout(timer);
  link.nextAt = null;
  changed();
  try {
    await reach();
  } catch {
    if (link.since !== null) schedule();
  }
}

session.addEventListener("lost", () => {
  if (link.since !== null) return;
  link.since = Date.now();
  attempts = 0;
  schedule();
});

session.addEventListener("reached", () => {
  if (link.since === null) return;
  clearTimeout(timer);
  link.since = null;
  link.nextAt = null;
  changed();
});
