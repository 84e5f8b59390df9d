// tardis-dev: JSON.parse, its mappers from a venue's messages to its own, and its order book.
// Called as: node tardis.mjs TASK CASE FOLDER

import fs from 'node:fs';
import path from 'node:path';
import tardis from 'tardis-dev';

// Passes are made for so long before one counts, and then for so long, at least five.
const WARM_UP_NS = 300_000_000n;
const MEASURE_NS = 1_000_000_000n;

// The mapper of each case, and the venue's name in tardis-dev.
const CASES = {
  'binance-trade': [tardis.normalizeTrades, 'binance'],
  'binance-bbo': [tardis.normalizeBookTickers, 'binance'],
  'binance-depth': [tardis.normalizeBookChanges, 'binance'],
  'binance-depth-26k': [tardis.normalizeBookChanges, 'binance'],
  'binance-perp-depth': [tardis.normalizeBookChanges, 'binance-futures'],
  'okx-trades': [tardis.normalizeTrades, 'okex'],
  'okx-books': [tardis.normalizeBookChanges, 'okex'],
  'deribit-book': [tardis.normalizeBookChanges, 'deribit'],
};

const [task, name, folder] = process.argv.slice(2);

function lines(ending) {
  const text = fs.readFileSync(path.join(folder, `${name}.${ending}`), 'utf8');
  return text.split('\n').filter((line) => line !== '');
}

const clock = process.hrtime.bigint;

// How long something takes.
function timed(act) {
  const began = clock();
  act();
  return clock() - began;
}

// Repeats a pass, which returns the time that counts, and gives the median.
function median(pass) {
  let began = clock();
  while (clock() - began < WARM_UP_NS) pass();
  const passes = [];
  began = clock();
  while (passes.length < 5 || clock() - began < MEASURE_NS) passes.push(pass());
  passes.sort((a, b) => (a < b ? -1 : a > b ? 1 : 0));
  return Number(passes[Math.floor(passes.length / 2)]);
}

// Binance's snapshot as its mapper takes it: the answer to a request, not a frame of the stream.
function snapshot(frame) {
  if (!name.startsWith('binance')) return frame;
  const { stream, data } = frame;
  return { stream, data: { lastUpdateId: data.u, bids: data.b, asks: data.a } };
}

function main() {
  const known = CASES[name];
  if (known === undefined) return { unsupported: `it does not read ${name} so` };
  const [normalize, venue] = known;
  const isBook = normalize === tardis.normalizeBookChanges;
  if (task !== 'decode' && !isBook) return { unsupported: `${name} is no book` };
  const now = new Date();
  const [first, frames] = [lines('first.jsonl'), lines('jsonl')];

  // A mapper that has seen what begins the books, and what it made of that.
  const begin = () => {
    const mapper = normalize(venue, now);
    const begun = [];
    for (const line of first) begun.push(...mapper.map(snapshot(JSON.parse(line)), now));
    return { mapper, begun };
  };
  const decode = (mapper, line, take) => {
    const message = JSON.parse(line);
    if (!mapper.canHandle(message)) return;
    for (const event of mapper.map(message, now)) take(event);
  };
  const open = (begun) => {
    const books = new Map();
    for (const event of begun) {
      const book = new tardis.OrderBook();
      book.update(event);
      books.set(event.symbol, book);
    }
    return books;
  };

  const events = [];
  {
    const { mapper } = begin();
    for (const line of frames) decode(mapper, line, (event) => events.push(event));
  }
  let seen = 0;
  const apply = (books, event) => {
    const book = books.get(event.symbol);
    book.update(event);
    if (book.bestBid() !== undefined && book.bestAsk() !== undefined) seen += 1;
  };
  const passes = {
    decode() {
      const { mapper } = begin();
      return timed(() => {
        for (const line of frames) decode(mapper, line, () => (seen += 1));
      });
    },
    apply() {
      const books = open(begin().begun);
      return timed(() => {
        for (const event of events) apply(books, event);
      });
    },
    both() {
      const { mapper, begun } = begin();
      const books = open(begun);
      return timed(() => {
        for (const line of frames) decode(mapper, line, (event) => apply(books, event));
      });
    },
  };
  const nanos = median(passes[task]);
  const levels = isBook
    ? events.reduce((sum, event) => sum + event.bids.length + event.asks.length, 0)
    : null;
  return { measured: { frames: frames.length, events: events.length, levels, nanos } };
}

console.log(JSON.stringify(main()));
