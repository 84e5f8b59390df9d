// Alerts and gaps, as the monitoring and the collector tell them.

import { now } from "./clock.js";
import { byId, fill, say, show, state } from "./dom.js";
import { age, clock, fromNanos } from "./format.js";
import { sources } from "./sources.js";
import { text } from "./text.js";

const ALERT_LEVELS = { critical: "bad", warning: "warn", info: "info" };
const GAP_LEVELS = { open: "warn", healed: "ok", lost: "bad" };

// Alerts that hold or may soon; those that are over are not news.
export function alertsOpen() {
  const alerts = sources.alerts.data?.data ?? [];
  return alerts.filter(({ state: word }) => word === "firing" || word === "pending");
}

export const isSilenced = (alert) => alert.silenced_by?.length > 0;

export const alertLevel = ({ severity }) => ALERT_LEVELS[severity] ?? "warn";

function alertRow(alert) {
  const silenced = isSilenced(alert);
  const word = silenced ? text.alerts.silenced : (text.alerts.words[alert.state] ?? alert.state);
  const level = alert.state === "firing" && !silenced ? alertLevel(alert) : "unknown";
  return {
    key: JSON.stringify([alert.name, alert.labels]),
    cells: [
      alert.name,
      state(level, text.alerts.stateOf(word, alert.severity)),
      age(now() - fromNanos(alert.since)),
      alert.summary,
    ],
  };
}

function gapRow(gap) {
  const { venue, market, symbol } = gap;
  const [after, before] = [gap.after_id, gap.before_id].map((id) => (id ?? text.none).toString());
  return {
    key: `${gap.gap_id} ${gap.version ?? "open"}`,
    cells: [
      { words: `${venue}/${market}/${symbol} ${gap.of}`, title: gap.gap_id },
      state(GAP_LEVELS[gap.state] ?? "unknown", text.gaps.words[gap.state] ?? gap.state),
      clock(fromNanos(gap.recv_time ?? gap.declared)),
      text.gaps.range(after, before),
      gap.cause,
    ],
  };
}

// The newest record of each gap; those that are open first, an earlier run's among them.
function gaps() {
  const { data = [], open = [] } = sources.gaps.data ?? {};
  const newest = new Map();
  for (const gap of [...open.map((gap) => ({ ...gap, state: "open" })), ...data]) {
    if (!newest.has(gap.gap_id)) newest.set(gap.gap_id, gap);
  }
  return [...newest.values()].slice(0, 12);
}

export function render() {
  const alerts = alertsOpen();
  fill(byId("alerts-rows"), alerts.map(alertRow));
  show(byId("alerts-table"), alerts.length > 0);
  show(byId("alerts-note"), sources.alerts.data !== null && alerts.length === 0);
  say(byId("alerts-note"), text.alerts.empty);

  const rows = gaps();
  fill(byId("gaps-rows"), rows.map(gapRow));
  show(byId("gaps-table"), rows.length > 0);
  const collector = sources.collector.data;
  show(byId("gaps-note"), sources.gaps.data !== null);
  const summary = collector
    ? text.gaps.summary(collector.gaps_open, collector.ids_missing)
    : "";
  say(byId("gaps-note"), rows.length === 0 ? text.gaps.empty : summary);
}
