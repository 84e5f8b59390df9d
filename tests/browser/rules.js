// Checks the rules of the modules that need no page. Runs inside one, and returns what is wrong.

const [done] = [...arguments].slice(-1);
const wrong = [];

function same(what, found, expected) {
  const [a, b] = [found, expected].map((value) => JSON.stringify(value));
  if (a !== b) wrong.push(`${what}: ${a}, expected ${b}`);
}

function book({ Book }) {
  const one = new Book();
  const diff = (ids, bids = [], asks = []) => one.take({ type: "diff", ...ids, bids, asks });
  same("a diff before the snapshot", [diff({ first_id: 1, last_id: 1 }), one.isSynced], [true, false]);
  const bids = [["100", "1"], ["9", "2"], ["101", "3"]];
  one.take({ type: "snapshot", last_id: 10, bids, asks: [["102", "3"], ["103.5", "1"]] });
  same("the best bids", one.best("bids", 2), [["101", "3"], ["100", "1"]]);
  same("the next id follows", diff({ first_id: 11, last_id: 12 }, [["101", "0"], ["100.5", "4"]]), true);
  same("zero removes", one.best("bids", 9), [["100.5", "4"], ["100", "1"], ["9", "2"]]);
  same("prev_id follows", diff({ prev_id: 12, last_id: 20 }, [], [["102", "0"]]), true);
  same("the best ask", one.best("asks", 1), [["103.5", "1"]]);
  same("a hole breaks it", [diff({ first_id: 22, last_id: 22 }), one.isSynced], [false, false]);
  one.take({ type: "snapshot", last_id: 30, bids: [], asks: [] });
  same("a further part stays", diff({ last_id: 30, part: 1 }, [["8", "1"]]), true);
  same("so does what was pruned", diff({ last_id: 30, origin: "prune" }, [["8", "0"]]), true);
  same("a snapshot heals it", [one.isSynced, one.best("bids", 9)], [true, []]);
}

function format({ age, difference, duration, exact, rate, share }) {
  same("digits stay", exact("64000.10"), "64,000.10");
  const long = "123456789012345678.123456789012345678";
  same("no double", exact(long), "123,456,789,012,345,678.123456789012345678");
  same("difference", difference("64000.10", "63999.9"), "0.20");
  same("negative difference", difference("2", "3.5"), "-1.5");
  same("age", [59_000, 3_725_000, 90_000_000, NaN].map(age), ["59s", "1h 2m", "1d 1h", "–"]);
  same("duration", [4_500_000, 61e9, undefined].map(duration), ["4ms", "1m 1s", "–"]);
  same("share", [1, 0.99999, NaN].map(share), ["100%", "99.99%", "–"]);
  same("rate", [0, 3.14, 1234.5, null].map(rate), ["0", "3.1", "1,235", "–"]);
}

function rates({ Rates }) {
  const one = new Rates();
  same("one reading says nothing", one.note("a", 5, 1000), null);
  same("two do", one.note("a", 25, 3000), 10);
  same("the same answer twice", one.note("a", 25, 3000), 10);
  same("a counter that began anew", one.note("a", 1, 4000), null);
  one.note("a", 11, 5000);
  same("and goes on", one.of("a"), 10);
}

function flows({ cell }) {
  const one = (market, ageMs, mostMs, perSecond) => (
    { market, ageMs, silentMs: ageMs ?? 600_000, mostMs, perSecond }
  );
  same("a kind that nobody wants", cell([]), "–");
  const fresh = [one("spot", 2_000, 120_000, 30), one("perp", 1_000, null, 400)];
  const said = { words: "1s · 430/s", title: "spot 2s · 30.0/s, perp 1s · 400/s" };
  same("the newest age and the sum of the rates", cell(fresh), said);
  same("what may never come", cell([one("perp", null, null, null)]).words, "not seen · –/s");
  const stale = cell([...fresh, one("future", 180_000, 120_000, 0)]);
  same("stale by a word", [stale.words, stale.level], ["stale, future: 3m 0s · 0/s", "warn"]);
  const never = cell([one("spot", null, 120_000, null)]);
  same("what should have come", never.words, "stale, spot: not seen · –/s");
}

function silences({ lineOf, matchersOf }) {
  const line = 'alertname="feed-stale" venue=~"binance|okx" kind!="tr\\"ade"';
  same("a line and its matchers", lineOf(matchersOf(line)), line);
  const found = { name: "a", value: "b", isRegex: false, isEqual: true };
  same("without quotes", matchersOf("a=b"), [found]);
  same("a comma between them", matchersOf("a=b, c!~d").length, 2);
  same("what is none", ["", "a", "a==b c", "=x"].map(matchersOf), [null, null, null, null]);
}

function coverage({ daysUntil, worst }) {
  const days = daysUntil(Date.parse("2026-03-01T00:30:00Z"));
  same("thirty days, UTC", [days.length, days[0], days.at(-1)], [30, "2026-01-31", "2026-03-01"]);
  const stream = (symbol, ...judged) => (
    { venue: "okx", market: "spot", kind: "trade", symbol, days: judged }
  );
  const day = (date, condition, coverage) => ({ date, condition, coverage });
  const rows = worst([
    stream("A", day("2026-01-30", "missing"), day("2026-02-01", "available")),
    stream("B", day("2026-02-01", "degraded", 0.9), day("2026-02-02", "pending", 1)),
    stream("C", day("2026-02-01", "degraded", 0.5)),
  ], "2026-01-31");
  same("the worst of a day, and nothing older", [...rows.get("okx spot trade")], [
    ["2026-02-01", { condition: "degraded", coverage: 0.5, symbol: "C" }],
    ["2026-02-02", { condition: "pending", coverage: 1, symbol: "B" }],
  ]);
}

function candles({ Candles, layout }) {
  const one = new Candles();
  const candle = (minute, close, more) => ({
    open_time: minute * 60e9, interval: "1m", open: "1", high: "4", low: "0", close, ...more,
  });
  const closes = () => one.all().map(({ close }) => close);
  same("another length", one.take(candle(1, "1", { interval: "1h" })), false);
  same("live", [one.take(candle(2, "2")), one.take(candle(2, "3")), closes()], [true, true, ["3"]]);
  one.take(candle(2, "2", { closed: true }));
  same("what has closed stays", [one.take(candle(2, "3")), closes()], [false, ["2"]]);
  same("an older one comes first", [one.take(candle(1, "4")), closes()], [true, ["4", "2"]]);
  for (let minute = 3; minute < 200; minute += 1) one.take(candle(minute, "2"));
  same("two hours", [one.all().length, one.take(candle(5, "2"))], [120, false]);
  const [drawn] = layout([candle(1, "3")], 240, 103);
  const expected = { x: 239, width: 1.4, top: 1, bottom: 101, body: [26, 50], isUp: true };
  same("pixels", drawn, expected);
}

const modules = ["book", "candles", "coverage", "flows", "format", "rates", "silences"];

Promise.all(modules.map((name) => import(`/assets/${name}.js`)))
  .then(([books, drawn, covered, flowing, formats, counters, silenced]) => {
    book(books);
    candles(drawn);
    coverage(covered);
    silences(silenced);
    flows(flowing);
    format(formats);
    rates(counters);
  })
  .catch((error) => wrong.push(String(error)))
  .finally(() => done(wrong));
