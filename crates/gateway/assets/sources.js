// What the page asks for again and again: one request of each at a time.

import { ask, isIn, session } from "./session.js";
import { link } from "./link.js";

// After how many of its intervals an answer is old.
const OLD_INTERVALS = 3;

// A source that fails is asked less often, up to this.
const LONGEST_MS = 30_000;

export class Source extends EventTarget {
  constructor(path, everyMs) {
    super();
    Object.assign(this, { path, everyMs, timer: null, isAsking: false });
    this.forget();
  }

  // As if it had never been asked. Answers under way are not taken.
  forget() {
    clearTimeout(this.timer);
    this.data = null;
    this.at = null;
    this.failure = null;
    this.failures = 0;
    this.failingSince = null;
    this.generation = (this.generation ?? 0) + 1;
  }

  // How long ago the latest answer came.
  ageMs(now = Date.now()) {
    return this.at === null ? null : now - this.at;
  }

  isOld(now = Date.now()) {
    return this.at !== null && this.ageMs(now) > OLD_INTERVALS * this.everyMs;
  }

  // Whether it is not for whoever is signed in.
  get isForbidden() {
    return this.failure?.status === 403;
  }

  async ask() {
    clearTimeout(this.timer);
    if (this.isAsking || !mayAsk()) return;
    const { generation } = this;
    this.isAsking = true;
    try {
      this.take(generation, await ask(this.path));
    } catch (failure) {
      this.fail(generation, failure);
    } finally {
      this.isAsking = false;
    }
    if (generation !== this.generation) {
      this.ask();
    } else if (!this.isForbidden) {
      const wait = Math.min(LONGEST_MS, this.everyMs * 2 ** Math.min(this.failures, 4));
      this.timer = setTimeout(() => this.ask(), Math.max(this.everyMs, wait));
    }
  }

  take(generation, data) {
    if (generation !== this.generation) return;
    Object.assign(this, { data, at: Date.now(), failure: null, failures: 0, failingSince: null });
    this.dispatchEvent(new Event("change"));
  }

  fail(generation, failure) {
    if (generation !== this.generation) return;
    this.failure = failure;
    this.failures += 1;
    this.failingSince ??= Date.now();
    this.dispatchEvent(new Event("change"));
  }
}

export const sources = {
  gateway: new Source("/_gateway/services", 5000),
  overview: new Source("/api/v1/overview", 5000),
  services: new Source("/api/v1/services", 5000),
  alerts: new Source("/api/v1/alerts", 5000),
  silences: new Source("/api/v2/silences", 10_000),
  tasks: new Source("/api/v1/scheduler/tasks", 5000),
  collector: new Source("/api/v1/collector/status", 3000),
  exchanges: new Source("/api/v1/collector/exchanges", 5000),
  gaps: new Source("/api/v1/collector/gaps?limit=20", 5000),
  storage: new Source("/api/v1/storage/status", 3000),
  symbols: new Source("/api/v1/storage/symbols", 60_000),
  broker: new Source("/api/v1/broker/status", 5000),
  streams: new Source("/api/v1/broker/streams", 5000),
};

const all = Object.values(sources);

function mayAsk() {
  return isIn() && link.since === null && document.visibilityState === "visible";
}

function askAll() {
  for (const source of all) source.ask();
}

export function start() {
  session.addEventListener("in", askAll);
  session.addEventListener("out", () => all.forEach((source) => source.forget()));
  link.addEventListener("change", askAll);
  document.addEventListener("visibilitychange", askAll);
}
