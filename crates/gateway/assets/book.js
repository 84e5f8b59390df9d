// One order book, kept from a snapshot and the diffs after it.
//
// The gateway sends no seam: each diff's `first_id` is the last `last_id` plus one, or its
// `prev_id` is the last `last_id`. What was pruned, and a further part of an event too large for a
// message, stands at the last `last_id` itself. Any other diff breaks the book until its next
// snapshot.

export class Book {
  bids = new Map();
  asks = new Map();
  lastId = null;
  isSynced = false;

  // Takes an event; false if it does not follow the one before.
  take(event) {
    if (event.type === "snapshot") {
      this.bids = new Map(event.bids);
      this.asks = new Map(event.asks);
      this.isSynced = true;
    } else {
      if (!this.isSynced) return true;
      const stays = event.origin === "prune" || event.part > 0;
      const follows = stays
        ? event.last_id === this.lastId
        : event.first_id === this.lastId + 1 || event.prev_id === this.lastId;
      if (!follows) {
        this.break();
        return false;
      }
      change(this.bids, event.bids);
      change(this.asks, event.asks);
    }
    this.lastId = event.last_id;
    return true;
  }

  break() {
    this.isSynced = false;
  }

  // The best levels of a side, `[price, qty]`, the best first.
  best(side, count) {
    const sign = side === "bids" ? -1 : 1;
    // A book has thousands of levels, and is asked several times a second: they are not sorted.
    const found = [];
    for (const [price, qty] of this[side]) {
      const rank = sign * Number(price);
      if (found.length === count && rank > found.at(-1).rank) continue;
      const place = found.findIndex((level) => rank < level.rank);
      found.splice(place < 0 ? found.length : place, 0, { price, qty, rank });
      found.length = Math.min(found.length, count);
    }
    return found.map(({ price, qty }) => [price, qty]);
  }
}

// Quantities are absolute, and zero removes. The suite writes a price always alike.
function change(levels, changes) {
  for (const [price, qty] of changes) {
    if (qty === "0") levels.delete(price);
    else levels.set(price, qty);
  }
}
