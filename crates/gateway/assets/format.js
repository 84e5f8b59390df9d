// Numbers, times and sizes as the reader's language writes them.

import { text } from "./text.js";

const whole = new Intl.NumberFormat(undefined, { maximumFractionDigits: 0 });
const tenth = new Intl.NumberFormat(undefined, {
  minimumFractionDigits: 1,
  maximumFractionDigits: 1,
});

export function count(value) {
  return Number.isFinite(value) ? whole.format(value) : text.none;
}

// A rate: with one digit where that says something.
export function rate(value) {
  if (!Number.isFinite(value)) return text.none;
  return value !== 0 && value < 100 ? tenth.format(value) : whole.format(value);
}

// The digits after the point of a decimal as the suite writes it.
export function places(decimal) {
  const point = decimal.indexOf(".");
  return point < 0 ? 0 : decimal.length - point - 1;
}

const decimals = new Map();

// A decimal text, digit by digit: it never becomes a double.
export function exact(decimal, digits = places(decimal)) {
  if (!decimals.has(digits)) {
    const options = { minimumFractionDigits: digits, maximumFractionDigits: digits };
    decimals.set(digits, new Intl.NumberFormat(undefined, options));
  }
  return decimals.get(digits).format(decimal);
}

// The difference of two decimal texts, as such a text.
export function difference(larger, smaller) {
  const digits = Math.max(places(larger), places(smaller));
  const scaled = (decimal) => {
    const [before, after = ""] = decimal.split(".");
    return BigInt(before + after.padEnd(digits, "0"));
  };
  const result = scaled(larger) - scaled(smaller);
  const sign = result < 0n ? "-" : "";
  const all = String(result < 0n ? -result : result).padStart(digits + 1, "0");
  if (digits === 0) return sign + all;
  return `${sign}${all.slice(0, -digits)}.${all.slice(-digits)}`;
}

const units = ["byte", "kilobyte", "megabyte", "gigabyte", "terabyte"];

export function bytes(value) {
  if (!Number.isFinite(value)) return text.none;
  let [size, unit] = [value, 0];
  while (size >= 1000 && unit < units.length - 1) {
    size /= 1000;
    unit += 1;
  }
  const maximumFractionDigits = unit > 0 && size < 10 ? 1 : 0;
  const options = { style: "unit", unit: units[unit], unitDisplay: "short", maximumFractionDigits };
  return new Intl.NumberFormat(undefined, options).format(size);
}

const percents = new Intl.NumberFormat(undefined, { style: "percent", maximumFractionDigits: 1 });

export function percent(value) {
  return Number.isFinite(value) ? percents.format(value / 100) : text.none;
}

const unitOf = (unit) =>
  new Intl.NumberFormat(undefined, { style: "unit", unit, unitDisplay: "narrow" });
const [days, hours, minutes, seconds] = ["day", "hour", "minute", "second"].map(unitOf);
const thousandths = unitOf("millisecond");

const shares = new Intl.NumberFormat(undefined, {
  style: "percent",
  maximumFractionDigits: 2,
  roundingMode: "floor",
});

// A part of a whole, from 0 to 1: all of it only if nothing is missing.
export function share(part) {
  return Number.isFinite(part) ? shares.format(part) : text.none;
}

// A length of time, from milliseconds, in its two largest units.
export function age(milliseconds) {
  if (!Number.isFinite(milliseconds)) return text.none;
  const total = Math.max(0, Math.floor(milliseconds / 1000));
  const [d, h, m, s] = [
    Math.floor(total / 86400),
    Math.floor(total / 3600) % 24,
    Math.floor(total / 60) % 60,
    total % 60,
  ];
  if (d > 0) return `${days.format(d)} ${hours.format(h)}`;
  if (h > 0) return `${hours.format(h)} ${minutes.format(m)}`;
  if (m > 0) return `${minutes.format(m)} ${seconds.format(s)}`;
  return seconds.format(s);
}

// How long something took, from nanoseconds: to the millisecond if it is less than a second.
export function duration(nanos) {
  const milliseconds = fromNanos(nanos) ?? NaN;
  return milliseconds < 1000 ? thousandths.format(Math.floor(milliseconds)) : age(milliseconds);
}

const clockFormat = { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false };
const clocks = new Intl.DateTimeFormat(undefined, clockFormat);
const dated = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric", ...clockFormat });
const precise = new Intl.DateTimeFormat(undefined, { ...clockFormat, fractionalSecondDigits: 3 });

// A time of the day; with the date if that is not today.
export function clock(milliseconds) {
  const when = new Date(milliseconds);
  const isToday = when.toDateString() === new Date().toDateString();
  return (isToday ? clocks : dated).format(when);
}

export function preciseClock(milliseconds) {
  return precise.format(new Date(milliseconds));
}

// Milliseconds from the nanoseconds in which the suite tells times.
export function fromNanos(nanos) {
  return Number.isFinite(nanos) ? nanos / 1e6 : null;
}
