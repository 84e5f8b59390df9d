// What time it is at the gateway: ages are told by its clock and not by that of this device.

let skew = 0;

// An answer says when it was sent, to the second.
const COARSE_MS = 2000;

// Notes the header `Date` of an answer.
export function noteDate(header, receivedAt = Date.now()) {
  const said = Date.parse(header ?? "");
  if (Number.isNaN(said)) return;
  const difference = said + 500 - receivedAt;
  skew = Math.abs(difference) < COARSE_MS ? 0 : difference;
}

export function now() {
  return Date.now() + skew;
}
