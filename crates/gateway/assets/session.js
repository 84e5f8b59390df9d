// Who is signed in, and every request to the gateway.
//
// A user's tokens and an API key are kept in this module's memory and nowhere else. A token is
// renewed before it ends; when that is refused the session is over.

import { noteDate } from "./clock.js";
import { text } from "./text.js";

// An answer that takes longer is given up, unless who asks has a `signal` for that: what is asked
// here answers from memory, as a rule.
const ANSWER_MAX_MS = 10_000;

// Of a token's lifetime, how much is left when it is renewed.
const RENEW_SHARE = 1 / 3;

// `{ token, refresh, user, scopes, renewAt }` of a user, `{ token, refused }` of an API key; `null`
// signed out.
let credential = null;
let renewing = null;

// Tells `in`, `out` with its `reason`, `reached` and `lost`.
export const session = new EventTarget();

export const isIn = () => credential !== null;
export const token = () => credential?.token ?? null;
export const user = () => credential?.user ?? null;

// Whether whoever is in has a scope, as far as is known: a user's scopes are told at the login,
// those of a key only by a refusal.
export function may(scope) {
  if (!credential) return false;
  const { scopes, refused } = credential;
  if (!scopes) return !refused.has(scope);
  return scopes.includes(scope) || scopes.includes("admin");
}

// Why there is no answer to use. `status` is 0 if there is none at all.
export class Failure extends Error {
  constructor(status, detail, retrySeconds = null) {
    super(status === 0 ? detail : text.failure.status(status, detail));
    Object.assign(this, { status, detail, retrySeconds });
  }
}

function tell(type, detail) {
  session.dispatchEvent(new CustomEvent(type, { detail }));
}

// Sends one request and reads its JSON; what is deleted may leave nothing to read.
async function send(path, options = {}) {
  let response;
  try {
    const signal = AbortSignal.timeout(ANSWER_MAX_MS);
    response = await fetch(path, { cache: "no-store", signal, ...options });
  } catch (error) {
    const isSlow = error.name === "TimeoutError";
    if (!isSlow) tell("lost");
    throw new Failure(0, isSlow ? text.failure.slow : text.failure.network);
  }
  tell("reached");
  noteDate(response.headers.get("date"));
  if (response.status === 204 || (response.ok && options.method === "DELETE")) return null;
  const isJson = /json/.test(response.headers.get("content-type") ?? "");
  let body = null;
  try {
    if (isJson) body = await response.json();
  } catch {
    throw new Failure(0, text.failure.shape);
  }
  if (!response.ok) {
    const retry = Number(response.headers.get("retry-after")) || null;
    // Alertmanager's way is a text alone.
    const detail = typeof body === "string" ? body : body?.detail;
    throw new Failure(response.status, detail ?? response.statusText, retry);
  }
  if (body === null) throw new Failure(0, text.failure.shape);
  return body;
}

function post(path, body) {
  const headers = { "content-type": "application/json" };
  return send(path, { method: "POST", headers, body: JSON.stringify(body) });
}

function keep(granted) {
  const lifetime = granted.expires_in * 1000;
  credential = {
    token: granted.access_token,
    refresh: granted.refresh_token,
    user: granted.user,
    scopes: granted.scopes,
    renewAt: Date.now() + lifetime * (1 - RENEW_SHARE),
  };
}

// Exchanges the refresh token; all who wait for it wait for the same request.
function renew() {
  const before = credential;
  renewing ??= post("/api/v1/auth/refresh", { refresh_token: before.refresh })
    .then((granted) => {
      if (credential === before) keep(granted);
    })
    .catch((failure) => {
      if (failure.status === 401 && credential === before) signOut(text.login.ended);
      throw failure;
    })
    .finally(() => {
      renewing = null;
    });
  return renewing;
}

function sendAs(path, options = {}) {
  const headers = { ...options.headers, authorization: `Bearer ${token()}` };
  return send(path, { ...options, headers });
}

// Reads a document of the gateway, or with `options` of `fetch` does something there.
export async function ask(path, options) {
  if (!credential) throw new Failure(401, text.login.ended);
  if (credential.refresh && Date.now() >= credential.renewAt) await renew();
  const used = credential;
  try {
    return await sendAs(path, options);
  } catch (failure) {
    if (failure.status !== 401 || !credential) throw failure;
    if (!used?.refresh) {
      if (credential === used) signOut(text.login.wrongKey);
      throw failure;
    }
  }
  // Somebody else may have renewed it meanwhile.
  if (credential === used) await renew();
  return sendAs(path, options);
}

// Does what needs a scope, and notes if a key turns out not to have it.
export async function act(scope, method, path, body) {
  const options = { method };
  if (body !== undefined) {
    options.headers = { "content-type": "application/json" };
    options.body = JSON.stringify(body);
  }
  const used = credential;
  try {
    return await ask(path, options);
  } catch (failure) {
    if (failure.status === 403) used?.refused?.add(scope);
    throw failure;
  }
}

// Whether the gateway is there at all; asks nothing that wants a credential.
export async function reach() {
  try {
    await send("/health");
  } catch (failure) {
    // An answer that says "not well" is an answer.
    if (failure.status === 0) throw failure;
  }
}

export async function signInAs(name, password) {
  keep(await post("/api/v1/auth/login", { user: name, password }));
  tell("in");
}

export async function signInWith(key) {
  const before = credential;
  credential = { token: key, refused: new Set() };
  try {
    await sendAs("/api/v1/overview");
  } catch (failure) {
    // Only the gateway's own word is about the key: a backend that is away is not its fault.
    if (failure.status === 0 || [401, 403, 429].includes(failure.status)) {
      credential = before;
      throw failure;
    }
  }
  tell("in");
}

// Forgets who is in. What a user holds is ended at the gateway, too, for whoever has a copy of it.
export function signOut(reason = "") {
  if (!credential) return;
  const { refresh } = credential;
  credential = null;
  tell("out", { reason });
  // If the gateway cannot be reached, or has ended it already, there is nothing left to do here:
  // `lost` is told by itself.
  if (refresh) post("/api/v1/auth/logout", { refresh_token: refresh }).catch(() => {});
}
