// The services and units, joined from what the monitoring and the gateway's own checks say.

import { now } from "./clock.js";
import { byId, fill, say, show, state } from "./dom.js";
import { age, bytes, count, fromNanos } from "./format.js";
import { sources } from "./sources.js";
import { text } from "./text.js";

// The order of the suite; others follow by name.
const ORDER = ["gateway", "collector", "storage", "monitoring", "scheduler", "broker"];

const LEVELS = {
  up: "ok",
  ok: "ok",
  active: "ok",
  reloading: "ok",
  refreshing: "ok",
  degraded: "warn",
  activating: "warn",
  deactivating: "warn",
  maintenance: "warn",
  failed: "bad",
  down: "bad",
  inactive: "unknown",
  unknown: "unknown",
};

function rank(name) {
  const place = ORDER.indexOf(name);
  return place < 0 ? ORDER.length : place;
}

// Every service with what each of the two says about it. The gateway answers if anybody does.
export function joined() {
  const monitored = sources.services.data?.data ?? [];
  const checked = sources.gateway.data?.services ?? [];
  const names = new Set([...monitored, ...checked].map((service) => service.name));
  const join = (name) => {
    const byMonitoring = monitored.find((service) => service.name === name);
    const byGateway = checked.find((service) => service.name === name);
    // The monitoring sees more; where it cannot look, or is away itself, the gateway's word counts.
    const isTold = byMonitoring && byMonitoring.state !== "unknown" && !sources.services.isOld();
    const word = isTold ? byMonitoring.state : (byGateway?.state ?? byMonitoring?.state);
    return { name, word: word ?? "unknown", byMonitoring, byGateway };
  };
  return [...names].map(join).sort((a, b) => {
    return rank(a.name) - rank(b.name) || a.name.localeCompare(b.name);
  });
}

export const levelOf = (word) => LEVELS[word] ?? "unknown";

export const wordOf = (word) => text.services.words[word] ?? word;

// Why a service is not well, in its own words.
export function reason({ byMonitoring, byGateway }) {
  const health = byMonitoring?.health;
  const missing = health?.dependencies?.find((dependency) => dependency.state !== "up");
  const lack = missing && text.problem.missing(missing.name, missing.reason ?? missing.state);
  const told = byMonitoring?.error ?? lack ?? byMonitoring?.health_error;
  return told ?? health?.detail ?? byGateway?.detail ?? text.problem.noReason;
}

function row(service) {
  const { name, word, byMonitoring, byGateway } = service;
  const unit = byMonitoring?.unit;
  const health = byMonitoring?.health;
  const started = unit?.started_at ? now() - fromNanos(unit.started_at) : null;
  const uptime = health?.uptime_seconds === undefined ? null : health.uptime_seconds * 1000;
  const level = levelOf(word);
  const says = level === "ok" ? (unit?.status_text ?? health?.detail) : reason(service);
  const version = health?.version ?? byGateway?.version;
  return {
    key: name,
    cells: [
      { words: name, title: [version, byMonitoring?.url].filter(Boolean).join(", ") },
      state(level, wordOf(word)),
      unit ? text.services.unitState(unit.active_state, unit.sub_state) : text.none,
      age(started ?? uptime ?? NaN),
      memory(unit),
      count(byMonitoring?.restarts),
      says ?? text.none,
    ],
  };
}

function memory(unit) {
  if (!unit?.memory_bytes) return text.none;
  const used = bytes(unit.memory_bytes);
  const most = unit.memory_max_bytes;
  return most ? text.services.memoryOf(used, bytes(most)) : used;
}

// Units that are no service of the list: sockets, the target, NATS, instances.
export function otherUnits() {
  const { data, units = [] } = sources.services.data ?? {};
  const shown = new Set((data ?? []).map((service) => service.unit?.name));
  return units.filter((unit) => !shown.has(unit.name) && unit.load_state !== "not-found");
}

function unitRow(unit) {
  const started = unit.started_at ? now() - fromNanos(unit.started_at) : NaN;
  return {
    key: unit.name,
    faint: unit.active_state === "inactive",
    cells: [
      unit.name,
      state(levelOf(unit.active_state), wordOf(unit.active_state)),
      text.services.unitState(unit.active_state, unit.sub_state),
      age(started),
      memory(unit),
      count(unit.automatic_restarts),
      unit.status_text ?? (levelOf(unit.active_state) === "bad" ? unit.result : "") ?? "",
    ],
  };
}

export function render() {
  const services = joined();
  fill(byId("services-rows"), services.map(row));
  const units = otherUnits().sort((a, b) => a.name.localeCompare(b.name));
  fill(byId("units-rows"), units.map(unitRow));
  const dbus = sources.overview.data?.dbus;
  const isBlind = dbus?.up === false;
  show(byId("services-note"), services.length === 0 || isBlind);
  say(byId("services-note"), isBlind ? text.services.units(dbus.error) : text.services.empty);
}
