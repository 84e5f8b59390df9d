// The dashboard: asks, judges, shows. Everything is drawn again once a second and whenever an
// answer comes, from what is known at that time.

import * as coverage from "./coverage.js";
import { byId, fill, say, show, state, translate } from "./dom.js";
import * as findings from "./findings.js";
import * as flows from "./flows.js";
import { age, clock } from "./format.js";
import { now } from "./clock.js";
import { judge, problems, forget as forgetProblems } from "./judge.js";
import { link, tryNow } from "./link.js";
import * as market from "./market.js";
import * as services from "./services.js";
import { isIn, session, signOut, user } from "./session.js";
import * as signIn from "./sign-in.js";
import * as silences from "./silences.js";
import { sources, start as startSources } from "./sources.js";
import * as tasks from "./tasks.js";
import { text } from "./text.js";
import * as venues from "./venues.js";

const TICK_MS = 1000;

// Which sources a panel shows; it is as old as the oldest of them.
const PANELS = {
  services: [sources.services],
  alerts: [sources.alerts],
  venues: [sources.collector, sources.exchanges],
  flows: [sources.exchanges],
  kinds: [sources.storage, sources.streams],
  gaps: [sources.gaps],
  silences: [sources.silences],
  tasks: [sources.tasks],
};

function drawAge(panel, from) {
  const oldest = from.reduce((a, b) => ((a.ageMs() ?? Infinity) >= (b.ageMs() ?? Infinity) ? a : b));
  const isOld = oldest.isOld() || link.since !== null;
  const element = byId(`${panel}-age`);
  let words = text.age.never;
  if (oldest.isForbidden) words = text.age.forbidden;
  else if (oldest.at !== null) {
    words = text.age[isOld ? "old" : "asOf"](age(oldest.ageMs()));
  }
  say(element, words);
  element.classList.toggle("old", isOld);
  byId(panel).classList.toggle("stale", isOld);
}

function drawLink() {
  show(byId("link"), link.since !== null);
  byId("board").classList.toggle("cut", link.since !== null);
  if (link.since === null) return;
  say(byId("link-words"), `${text.link.lost} ${text.link.since(clock(link.since))}`);
  const seconds = Math.max(0, Math.ceil((link.nextAt - Date.now()) / 1000));
  say(byId("link-next"), link.nextAt === null ? text.link.trying : text.link.waiting(seconds));
}

function sinceWords({ since, isSeen }) {
  return text.state[isSeen ? "seen" : "since"](clock(since), age(now() - since));
}

// Two findings of the same subject are two rows.
function problemRows(found) {
  const counts = new Map();
  return found.map((problem) => {
    const count = (counts.get(problem.key) ?? 0) + 1;
    counts.set(problem.key, count);
    return {
      key: `${problem.key} ${count}`,
      cells: [state(problem.level, text.level[problem.level]), problem.words, sinceWords(problem)],
    };
  });
}

// What was found before the connection was lost says nothing about now.
function verdict(found) {
  if (link.since === null) return judge(found);
  const lost = { since: link.since, isSeen: false };
  return { level: "unknown", words: text.state.lost, first: lost, more: 0 };
}

function drawState() {
  const found = problems();
  const { level, words, first, more } = verdict(found);
  byId("state").className = `state ${level}`;
  say(byId("state"), words);
  const rest = more > 0 ? text.state.more(more) : "";
  say(byId("state-since"), [first ? sinceWords(first) : "", rest].filter(Boolean).join(" "));
  // The sentence tells the only one already.
  show(byId("problems"), more > 0);
  fill(byId("problems-rows"), problemRows(found));
  let title = level === "unknown" ? text.state.looking : text.state.titleWell;
  if (first) title = text.state.titleBad(found.length);
  if (link.since !== null) title = text.state.titleLost;
  document.title = `${title} – ${text.product}`;
}

function draw() {
  drawLink();
  if (!isIn()) {
    document.title = text.product;
    return;
  }
  drawState();
  services.render();
  findings.render();
  venues.render();
  flows.render();
  silences.render();
  tasks.render();
  coverage.render();
  for (const [panel, from] of Object.entries(PANELS)) drawAge(panel, from);
}

// Several answers at a time are drawn once.
let isDue = false;

function drawSoon() {
  if (isDue) return;
  isDue = true;
  setTimeout(() => {
    isDue = false;
    draw();
  }, 50);
}

function forget() {
  venues.forget();
  flows.forget();
  forgetProblems();
  market.forget();
  silences.forget();
  tasks.forget();
  coverage.forget();
}

translate();
signIn.start();
startSources();
market.start();
silences.start();
tasks.start();
coverage.start();
session.addEventListener("in", () => {
  say(byId("who"), user() ? text.session.user(user()) : text.session.key);
  draw();
});
session.addEventListener("out", () => {
  forget();
  draw();
});
byId("sign-out").addEventListener("click", () => signOut());
byId("try-now").addEventListener("click", tryNow);
link.addEventListener("change", () => {
  // Said once, to those who cannot see the banner go.
  say(byId("link-back"), link.since === null ? text.link.back : "");
  draw();
});
for (const source of [sources.collector, sources.storage]) {
  source.addEventListener("change", venues.note);
}
sources.exchanges.addEventListener("change", flows.note);
for (const source of Object.values(sources)) source.addEventListener("change", drawSoon);
setInterval(draw, TICK_MS);
draw();
