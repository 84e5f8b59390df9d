// Rates from counters that are read now and then.

// Over how long a rate is taken: long enough to be calm, short enough to show what changes.
const WINDOW_MS = 15_000;

export class Rates {
  #samples = new Map();

  // Notes a counter and returns its rate per second; null before the second reading, and after a
  // counter began anew.
  note(key, value, at) {
    const samples = this.#samples.get(key) ?? [];
    const last = samples.at(-1);
    if (!last || at > last.at) {
      if (last && value < last.value) samples.length = 0;
      samples.push({ value, at });
      while (samples.length > 2 && samples[1].at <= at - WINDOW_MS) samples.shift();
      this.#samples.set(key, samples);
    }
    return this.of(key);
  }

  of(key) {
    const samples = this.#samples.get(key) ?? [];
    if (samples.length < 2) return null;
    const [first, last] = [samples[0], samples.at(-1)];
    return ((last.value - first.value) * 1000) / (last.at - first.at);
  }

  forget() {
    this.#samples.clear();
  }
}
