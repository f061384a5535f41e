// Numbers and times as people read them. Between number and unit stands a narrow no-break space.

const GAP = "\u202f";

function scaled(value, units, base, digits = 3) {
  let at = 0;
  while (value >= base && at < units.length - 1) { value /= base; at += 1; }
  const places = value >= 100 || (at === 0 && Number.isInteger(value)) ? 0 : value >= 10 ? Math.max(0, digits - 2) : digits - 1;
  return `${value.toFixed(places)}${GAP}${units[at]}`;
}

export const number = (value) => Math.round(value).toLocaleString("en").replaceAll(",", GAP);
export const bytes = (value) => scaled(value, ["B", "kB", "MB", "GB", "TB"], 1000);
export const rate = (value) => scaled(value * 8, ["bit/s", "kbit/s", "Mbit/s", "Gbit/s"], 1000);
export const frames = (value) => scaled(value, ["frames/s", "k frames/s", "M frames/s"], 1000);

export function seconds(value) {
  if (value === null || value === undefined) return "–";
  if (value === 0) return `0${GAP}s`;
  if (value < 0.001) return scaled(value * 1e6, ["µs"], Infinity, 2);
  if (value < 1) return scaled(value * 1e3, ["ms"], Infinity, 2);
  if (value < 60) return scaled(value, ["s"], Infinity, 2);
  if (value < 3600) return `${Math.floor(value / 60)}${GAP}min ${Math.floor(value % 60)}${GAP}s`;
  if (value < 86400) return `${Math.floor(value / 3600)}${GAP}h ${Math.floor((value % 3600) / 60)}${GAP}min`;
  return `${Math.floor(value / 86400)}${GAP}d ${Math.floor((value % 86400) / 3600)}${GAP}h`;
}

export const latency = (value) => (value === 0 ? "at once" : seconds(value));

const CLOCK = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const DATE = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "medium" });

export const clock = (wall) => CLOCK.format(wall * 1000);
export const date = (wall) => DATE.format(wall * 1000);
export const counted = (count, what) => `${number(count)} ${what}${count === 1 ? "" : "s"}`;
