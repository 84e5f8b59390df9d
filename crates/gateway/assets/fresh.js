// How old the latest of each kind of one symbol is, from the hot store: one question at a time.

import { byId, fill } from "./dom.js";
import { age } from "./format.js";
import { link } from "./link.js";
import { ask, isIn } from "./session.js";
import { text } from "./text.js";

// Between two questions; after one that was not answered it is longer.
const EVERY_MS = 1000;
const FAILED_MS = 10_000;

// They tell of connections and of what is missing, and are not kept as a latest value.
const NEVER = new Set(["gap", "status"]);

export class Fresh {
  #place = "";
  #kinds = [];
  #answers = new Map();
  #next = 0;
  #generation = 0;
  #isFailing = false;

  // Begins with another symbol.
  follow(place, kinds) {
    this.#place = place;
    this.#kinds = kinds.filter((kind) => !NEVER.has(kind));
    this.#answers.clear();
    this.#next = 0;
    this.#generation += 1;
    this.draw();
  }

  // The kinds of the same symbol as they are known by now.
  know(kinds) {
    this.#kinds = kinds.filter((kind) => !NEVER.has(kind));
  }

  start() {
    const step = async () => {
      const mayAsk = isIn() && link.since === null && document.visibilityState === "visible";
      const isAnswered = !mayAsk || (await this.#ask());
      this.#isFailing = !isAnswered;
      setTimeout(step, isAnswered ? EVERY_MS : FAILED_MS);
    };
    step();
  }

  // Asks for the next kind; false if there was no answer.
  async #ask() {
    if (this.#kinds.length === 0) return true;
    const generation = this.#generation;
    const kind = this.#kinds[this.#next++ % this.#kinds.length];
    let answer;
    try {
      const path = `/api/v1/storage/hot/${kind}/${this.#place}?limit=1`;
      answer = { ageMs: (await ask(path)).age_ms, at: Date.now() };
    } catch (failure) {
      if (failure.status !== 404) return false;
      answer = { ageMs: null, at: Date.now() };
    }
    if (generation === this.#generation) this.#answers.set(kind, answer);
    return true;
  }

  draw() {
    const words = (kind) => {
      const answer = this.#answers.get(kind);
      if (!answer) return text.none;
      if (answer.ageMs === null) return text.market.unseen;
      return text.market.ago(age(answer.ageMs + Date.now() - answer.at));
    };
    byId("fresh").classList.toggle("stale", this.#isFailing || link.since !== null);
    fill(
      byId("fresh-rows"),
      this.#kinds.map((kind) => ({ key: kind, cells: [kind, words(kind)] })),
    );
  }
}
