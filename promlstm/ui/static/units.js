// Values in their units, as promlstm/ui/wording.py writes them.

const SPACE = "\u00a0"; // no line breaks before a unit
const BYTES = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
const THOUSANDS = ["", "k", "M", "G", "T", "P"];
const USUAL = 3; // digits
const MOST = 6;
const DURATIONS = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"], [1e-3, "ms"]];

function digits(number, count) {
  const size = Math.abs(number);
  if (size >= 999.5 && size < 1e6 && count === USUAL) return number.toFixed(0);
  if (size && (size < 1e-4 || size >= 1e6)) return number.toExponential(count - 1).replace(/\.?0+e/, "e");
  return String(Number(number.toPrecision(count)));
}

function scaled(number, step, names, count) {
  let place = 0;
  let size = Math.abs(number);
  while (Number(digits(size, USUAL)) >= step && place < names.length - 1) {
    size /= step;
    place += 1;
  }
  return `${digits(Math.sign(number) * size, count)}${names[place] ? SPACE : ""}${names[place]}`;
}

function duration(seconds, count) {
  const size = Math.abs(seconds);
  for (const [least, name] of DURATIONS) {
    if (Number(digits(size / least, USUAL)) >= 1) return `${digits(seconds / least, count)}${SPACE}${name}`;
  }
  return size ? `${digits(seconds / 1e-6, count)}${SPACE}µs` : `0${SPACE}s`;
}

/** A value for people, in its unit, with so many digits; null or NaN is a dash. */
export function value(number, unit = "", count = USUAL) {
  if (number === null || number === undefined || Number.isNaN(number)) return "–";
  const [base, per] = unit.split(" per ");
  const tail = per ? `/${per === "second" ? "s" : per}` : unit === "per second" ? "/s" : "";
  if (base === "bytes") return scaled(number, 1024, BYTES, count) + tail;
  if (base === "seconds") return duration(number, count) + tail;
  if (base === "ratio") return `${digits(number * 100, count)}${SPACE}%${tail}`;
  return scaled(number, 1000, THOUSANDS, count) + (unit === "per second" ? tail : base ? `${SPACE}${base}${tail}` : "");
}

/** The values at the ticks of an axis, with as many digits as tell where they are. */
export function ticks(splits, unit) {
  const said = (count) => splits.map((split) => value(Math.abs(split) < 1e-15 ? 0 : split, unit, count));
  for (let count = USUAL; count < MOST; count += 1) {
    const found = said(count);
    if (found.join() === said(MOST).join()) return found;
  }
  return said(MOST);
}

/** A band, which may have one border only; "" where it has none. */
export function band(lower, upper, unit) {
  const known = (border) => border !== null && border !== undefined;
  if (known(lower) && known(upper)) return `${value(lower, unit)} to ${value(upper, unit)}`;
  return known(lower) ? `from ${value(lower, unit)}` : known(upper) ? `up to ${value(upper, unit)}` : "";
}

/** Distances between two ticks of an axis that suit a unit. */
export function increments(unit) {
  const found = [];
  if (unit.startsWith("bytes")) {
    for (let power = 0; power <= 60; power += 1) found.push(2 ** power);
    return found;
  }
  if (unit === "seconds") {
    for (let power = -9; power < 0; power += 1) for (const part of [1, 2, 5]) found.push(part * 10 ** power);
    return [...found, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400, 172800, 432000, 864000, 8640000];
  }
  for (let power = -15; power <= 18; power += 1) for (const part of [1, 2, 2.5, 5]) found.push(part * 10 ** power);
  return found;
}
