// The live stream: one WebSocket, made again whenever it ends, with the subscriptions that are
// wanted at that time. The protocol is described in docs/gateway.md.

import { isIn, session, token } from "./session.js";
import { link } from "./link.js";
import { text } from "./text.js";

const PATH = "/ws/v1/stream";
const PROTOCOL = "marketprism.v1";
const BEARER = "bearer.";

const FIRST_MS = 1000;
const LONGEST_MS = 30_000;

// The gateway says something every 15 s; after two and a half of these it is gone.
const SILENCE_MAX_MS = 38_000;

// Tells `change` of its state, and `event`, `stale` and `lost` of a subscription.
export class Stream extends EventTarget {
  // `idle`, `connecting`, `open` or `waiting`.
  state = "idle";
  reason = "";
  nextAt = null;
  since = null;
  #socket = null;
  #attempts = 0;
  #timer = null;
  #watchdog = null;
  #nextId = 1;
  // What is wanted, and what of it the gateway was asked for: `{ id, seq, wish }` by id.
  #wishes = [];
  #asked = new Map();

  start() {
    session.addEventListener("in", () => this.#now());
    session.addEventListener("out", () => this.#end());
    link.addEventListener("change", () => {
      if (link.since === null && this.state === "waiting") this.#now();
    });
  }

  // Replaces what is wanted: `{ kind, venue, market, symbol }` each.
  want(wishes) {
    this.#wishes = wishes;
    if (this.state !== "open") return;
    for (const id of this.#asked.keys()) this.#say({ op: "unsubscribe", id });
    this.#subscribeAll();
  }

  // Asks for one of them anew, from its beginning.
  again(wish) {
    const asked = [...this.#asked.values()].find((one) => one.wish === wish);
    if (!asked) return;
    this.#asked.delete(asked.id);
    this.#say({ op: "unsubscribe", id: asked.id });
    this.#subscribe(wish);
  }

  #subscribeAll() {
    this.#asked.clear();
    for (const wish of this.#wishes) this.#subscribe(wish);
  }

  #subscribe(wish) {
    const id = this.#nextId++;
    this.#asked.set(id, { id, seq: 0, wish });
    this.#say({ op: "subscribe", id, ...wish });
  }

  #say(request) {
    this.#socket.send(JSON.stringify(request));
  }

  #now() {
    clearTimeout(this.#timer);
    this.#attempts = 0;
    this.#connect();
  }

  #connect() {
    if (!isIn()) return;
    this.#drop();
    const url = new URL(PATH, location.href);
    url.protocol = location.protocol === "https:" ? "wss:" : "ws:";
    this.#become("connecting");
    const socket = new WebSocket(url, [PROTOCOL, BEARER + token()]);
    this.#socket = socket;
    socket.addEventListener("message", ({ data }) => {
      if (socket === this.#socket) this.#hear(JSON.parse(data));
    });
    socket.addEventListener("close", ({ code, reason }) => {
      if (socket === this.#socket) this.#wait(text.stream.closed(code, reason));
    });
    this.#watch();
  }

  #hear(message) {
    this.#watch();
    switch (message.type) {
      case "welcome":
        this.#attempts = 0;
        // Whoever waits for the gateway to answer again need not wait any longer.
        session.dispatchEvent(new Event("reached"));
        this.#become("open");
        this.#subscribeAll();
        break;
      case "event":
      case "gap":
        this.#count(message);
        break;
      case "stale":
        this.#pass("stale", message, message);
        break;
      case "status":
        // The connection is there, and nothing can come on it.
        this.#become("open", message.live ? "" : (message.reason ?? text.stream.bus));
        break;
      case "bye":
        this.#wait(message.reason, message.reconnect_after_ms);
        break;
      default:
        break;
    }
  }

  // Adds up the numbers of a subscription: whatever is missing in between was lost on the way here.
  #count(message) {
    const asked = this.#asked.get(message.id);
    if (!asked) return;
    const isEvent = message.type === "event";
    const step = isEvent ? 1 + (message.conflated ?? 0) : (message.skipped ?? 0);
    const isWhole = message.seq === asked.seq + step;
    asked.seq = message.seq;
    if (!isWhole || !isEvent) {
      const count = (message.skipped ?? 0) + (message.missed ?? 0);
      this.#pass("lost", message, { count, isOurs: !isWhole });
    }
    if (isEvent) this.#pass("event", message, message.data);
  }

  #pass(type, { id }, detail) {
    const wish = this.#asked.get(id)?.wish;
    if (wish) this.dispatchEvent(new CustomEvent(type, { detail: { wish, data: detail } }));
  }

  #wait(reason, afterMs = null) {
    this.#drop();
    if (!isIn()) return;
    const longest = Math.min(LONGEST_MS, FIRST_MS * 2 ** this.#attempts);
    this.#attempts += 1;
    const wait = afterMs ?? longest * (0.5 + Math.random() / 2);
    this.nextAt = Date.now() + wait;
    this.#timer = setTimeout(() => this.#connect(), wait);
    this.#become("waiting", reason);
  }

  #end() {
    this.#drop();
    this.#become("idle");
  }

  // Lets go of the socket, whose last words are of no interest any more.
  #drop() {
    clearTimeout(this.#timer);
    clearTimeout(this.#watchdog);
    const socket = this.#socket;
    this.#socket = null;
    this.#asked.clear();
    socket?.close();
  }

  #watch() {
    clearTimeout(this.#watchdog);
    this.#watchdog = setTimeout(() => this.#wait(text.stream.silent), SILENCE_MAX_MS);
  }

  #become(state, reason = "") {
    if (state === this.state && reason === this.reason) return;
    if (state !== this.state) this.since = Date.now();
    this.state = state;
    this.reason = reason;
    if (state !== "waiting") this.nextAt = null;
    this.dispatchEvent(new Event("change"));
  }
}
