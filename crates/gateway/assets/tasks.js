// The scheduler's tasks: when they run, how their last run went, and what it brought.

import { byId, fill, say, show, state } from "./dom.js";
import { clock, duration, fromNanos } from "./format.js";
import { act, ask, isIn, may } from "./session.js";
import { sources } from "./sources.js";
import { text } from "./text.js";

const RUN_LEVELS = {
  running: "info",
  succeeded: "ok",
  failed: "bad",
  timed_out: "bad",
  cancelled: "warn",
  interrupted: "warn",
  skipped: "info",
};

const TASK_LEVELS = { running: "info", paused: "warn", off: "unknown", waiting: "ok" };

// How many of a task's runs are shown.
const RUNS = 10;

// The task whose runs are shown, and they.
let opened = null;
let runs = [];

// What was done or refused last, and why the runs cannot be read.
let said = "";
let unread = "";

function stateOf({ running, paused_since: pausedSince, enabled }) {
  if (running) return "running";
  if (pausedSince !== undefined) return "paused";
  return enabled ? "waiting" : "off";
}

function runState({ state: word }) {
  return state(RUN_LEVELS[word] ?? "unknown", text.runs.words[word] ?? word);
}

const time = (nanos) => (nanos === undefined ? text.none : clock(fromNanos(nanos)));

async function wish(id, verb) {
  try {
    await act("admin", "POST", `/api/v1/scheduler/tasks/${encodeURIComponent(id)}/${verb}`);
    said = text.tasks.done[verb](id);
    await sources.tasks.ask();
  } catch (failure) {
    said = failure.message;
  }
  // Who has signed out meanwhile is told nothing, and neither is the next one.
  if (!isIn()) said = "";
  render();
}

async function readRuns() {
  const id = opened;
  if (id === null) return;
  let found;
  try {
    const query = `task=${encodeURIComponent(id)}&limit=${RUNS}`;
    found = (await ask(`/api/v1/scheduler/history?${query}`)).data;
  } catch (failure) {
    if (id !== opened) return;
    unread = failure.message;
    render();
    return;
  }
  if (id !== opened) return;
  runs = found;
  unread = "";
  render();
}

function open(id) {
  opened = id;
  runs = [];
  unread = "";
  readRuns();
  render();
}

function buttons(task, word) {
  const { id } = task;
  const isOpen = opened === id;
  const all = [
    {
      words: isOpen ? text.tasks.hide : text.tasks.runs,
      of: id,
      press: () => open(isOpen ? null : id),
    },
  ];
  if (!may("admin")) return all;
  if (word !== "running") {
    all.push({ words: text.tasks.runNow, of: id, press: () => wish(id, "run") });
  }
  if (task.paused_since !== undefined) {
    all.push({ words: text.tasks.resume, of: id, press: () => wish(id, "resume") });
  } else {
    all.push({ words: text.tasks.pause, of: id, press: () => wish(id, "pause") });
  }
  return all;
}

function row(task) {
  const { id, schedule, timezone, service, method, path, next, last } = task;
  const word = stateOf(task);
  return {
    key: id,
    faint: word === "off",
    cells: [
      { words: id, title: text.tasks.planned(schedule, timezone, `${method} ${service} ${path}`) },
      state(TASK_LEVELS[word], text.tasks.states[word]),
      time(next),
      last ? runState(last) : text.none,
      time(last?.started_at),
      duration(last?.duration_ns),
      { buttons: buttons(task, word) },
    ],
  };
}

// What a run brought: the beginning of the answer, or why there is none.
function output({ answer, error, skipped }) {
  if (skipped) {
    return text.runs.skipped(skipped.count, text.runs.reasons[skipped.reason] ?? skipped.reason);
  }
  if (answer) return `${answer.status} ${answer.head}`;
  return error ?? text.none;
}

function runRow(run) {
  return {
    key: run.run,
    cells: [
      time(run.started_at),
      runState(run),
      duration(run.duration_ns),
      text.runs.triggers[run.trigger] ?? run.trigger,
      output(run),
    ],
  };
}

export function render() {
  const tasks = sources.tasks.data?.data ?? [];
  fill(byId("tasks-rows"), tasks.map(row));
  show(byId("tasks-table"), tasks.length > 0);
  show(byId("tasks-note"), sources.tasks.data !== null && tasks.length === 0);
  say(byId("tasks-note"), text.tasks.empty);
  say(byId("tasks-said"), [said, unread].filter(Boolean).join(" "));
  show(byId("runs"), opened !== null);
  if (opened === null) return;
  say(byId("runs-title"), text.runs.title(opened));
  fill(byId("runs-rows"), runs.map(runRow));
}

export function forget() {
  opened = null;
  runs = [];
  said = "";
  unread = "";
}

export function start() {
  sources.tasks.addEventListener("change", readRuns);
}
