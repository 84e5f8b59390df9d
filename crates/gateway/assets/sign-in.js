// The form that lets somebody in.

import { byId, say, show } from "./dom.js";
import { session, signInAs, signInWith } from "./session.js";
import { text } from "./text.js";

function explain(failure) {
  if (failure.status === 0) return text.login.unreachable;
  if (failure.status === 429) return text.login.wait(failure.retrySeconds ?? 1);
  return text.login.refused(failure.status, failure.detail);
}

async function attempt(form, signIn, refusal) {
  const fields = form.querySelector("fieldset");
  fields.disabled = true;
  say(byId("sign-in-error"), "");
  try {
    await signIn();
    form.reset();
  } catch (failure) {
    say(byId("sign-in-error"), failure.status === 401 ? refusal : explain(failure));
  } finally {
    fields.disabled = false;
  }
  if (byId("sign-in-error").textContent) form.querySelector("input:last-of-type").focus();
}

function submitUser(event) {
  event.preventDefault();
  const [name, password] = [byId("user").value, byId("password").value];
  attempt(event.target, () => signInAs(name, password), text.login.wrongUser);
}

function submitKey(event) {
  event.preventDefault();
  const key = byId("key").value.trim();
  attempt(event.target, () => signInWith(key), text.login.wrongKey);
}

function swap(isIn) {
  show(byId("sign-in"), !isIn);
  show(byId("board"), isIn);
  show(byId("session"), isIn);
  if (isIn) byId("main").focus();
}

export function start() {
  byId("user-form").addEventListener("submit", submitUser);
  byId("key-form").addEventListener("submit", submitKey);
  session.addEventListener("in", () => swap(true));
  session.addEventListener("out", ({ detail }) => {
    swap(false);
    say(byId("sign-in-error"), detail.reason);
    byId("user").focus();
  });
  swap(false);
  byId("user").focus();
}
