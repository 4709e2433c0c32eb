// Times are the cloud's, as its clock says.

let ahead = 0; // of this browser's clock, in ms

export const set = (now) => { ahead = Date.parse(now) - Date.now(); };
export const now = () => Date.now() + ahead;

const two = (n) => String(n).padStart(2, "0");

export function clock(at) {
  const t = new Date(at);
  return `${two(t.getHours())}:${two(t.getMinutes())}:${two(t.getSeconds())}`;
}

export const day = (at) =>
  new Date(at).toLocaleDateString("en-GB", { weekday: "short", day: "numeric", month: "short", year: "numeric" });

// moment is a time of today, or of another day.
export const moment = (at) => day(at) === day(now()) ? clock(at)
  : `${new Date(at).toLocaleDateString("en-GB", { weekday: "short", day: "numeric", month: "short" })}, ${clock(at)}`;

// span is a duration in ms in one or two units.
export function span(ms) {
  const s = Math.max(0, Math.floor(ms / 1000));
  if (s < 120) return `${s} s`;
  if (s < 2 * 3600) return `${Math.floor(s / 60)} min ${two(s % 60)} s`;
  if (s < 48 * 3600) return `${Math.floor(s / 3600)} h ${two(Math.floor(s / 60) % 60)} min`;
  return `${Math.floor(s / 86400)} d ${Math.floor(s / 3600) % 24} h`;
}

export const since = (at) => Date.parse(at) > 0 ? `seen ${span(now() - Date.parse(at))} ago` : "never seen";

// duration reads one as Go writes it, into ms.
export function duration(text) {
  const unit = { h: 3600e3, m: 60e3, s: 1e3, ms: 1 };
  let ms = 0;
  for (const [, n, u] of text.matchAll(/([0-9.]+)(ms|h|m|s)/g)) ms += n * unit[u];
  return text.startsWith("-") ? -ms : ms;
}

export function size(n) {
  if (n < 1024) return `${n} B`;
  const unit = n < 1 << 20 ? ["KiB", 1024] : n < 1 << 30 ? ["MiB", 1 << 20] : ["GiB", 1 << 30];
  const value = n / unit[1];
  return `${value < 10 ? value.toFixed(1) : Math.round(value)} ${unit[0]}`;
}
