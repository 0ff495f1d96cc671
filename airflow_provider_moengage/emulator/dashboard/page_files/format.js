// Formats of numbers and times, independent of the locale.

const whole = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });
const one = new Intl.NumberFormat("en-US", { maximumFractionDigits: 1 });
const short = new Intl.NumberFormat("en-US", { notation: "compact", maximumFractionDigits: 1 });

export const number = (value) => whole.format(value);
export const compact = (value) => (value < 10_000 ? whole.format(value) : short.format(value));
export const percent = (share) => `${one.format(share * 100)}%`;
export const count = (value, unit, units = `${unit}s`) => `${number(value)} ${value === 1 ? unit : units}`;

export function bytes(value) {
  if (value < 1000) return `${number(value)} B`;
  const units = ["kB", "MB", "GB", "TB"];
  let place = -1;
  for (; value >= 1000 && place < units.length - 1; place++) value /= 1000;
  return `${one.format(value)} ${units[place]}`;
}

// Epoch seconds, in UTC like MoEngage's days.
export const clock = (epoch) => new Date(epoch * 1000).toISOString().slice(11, 19);
export const minute = (epoch) => new Date(epoch * 1000).toISOString().slice(11, 16);
export const moment = (epoch) => new Date(epoch * 1000).toISOString().slice(0, 19).replace("T", " ");

export function span(seconds) {
  const names = [[86400, "day"], [3600, "hour"], [60, "minute"], [1, "second"]];
  const [size, name] = names.find(([size]) => seconds >= size && seconds % size === 0) ?? names[3];
  return count(Math.round(seconds / size), name);
}
