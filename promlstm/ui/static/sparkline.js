// Small pictures of the last hours, drawn when a row comes into view: `<span class="sparkline" data-detector data-entity data-feature data-unit>`,
// with `data-end` of the hours before that instant, unix seconds.
// All that come into view together are asked for at once.
import { value } from "./units.js";

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 132;
const HEIGHT = 34;
const AT_ONCE = 50;
const LONGEST_URL = 6000;
const KEPT_MILLISECONDS = 60_000;
const known = new Map(); // {key: [when, answer]}, so that a table that is replaced is drawn again at once
const wanted = new Set();
let waiting = 0;

const key = ({ detector, entity, feature }) => JSON.stringify([detector, entity, feature ?? ""]);
const kept = (name, { end }) => `${end ?? ""} ${name}`;

function node(name, attributes) {
  const made = document.createElementNS(SVG, name);
  for (const [attribute, text] of Object.entries(attributes)) made.setAttribute(attribute, text);
  return made;
}

function draw(place, { observed }, { start, end }) {
  const numbers = observed.filter((each) => each !== null);
  const picture = node("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, width: WIDTH, height: HEIGHT, role: "img", focusable: "false" });
  const unit = place.dataset.unit ?? "";
  const hours = Math.round((end - start) / 3600);
  const span = place.dataset.end ? `${hours} hours at that time` : `last ${hours} hours`;
  if (!numbers.length) {
    place.replaceChildren();
    place.title = `${span}: no samples`;
    return;
  }
  const low = Math.min(...numbers);
  const high = Math.max(...numbers);
  const x = (at) => 2 + (at / Math.max(1, observed.length - 1)) * (WIDTH - 6);
  const y = (number) => (high > low ? HEIGHT - 4 - ((number - low) / (high - low)) * (HEIGHT - 8) : HEIGHT / 2);
  let path = "";
  let last = -1;
  observed.forEach((each, at) => {
    if (each === null) return;
    path += `${at && at - 1 === last ? "L" : "M"}${x(at).toFixed(1)} ${y(each).toFixed(1)}`;
    if (at - 1 !== last && (observed[at + 1] ?? null) === null) path += "h.01";
    last = at;
  });
  const now = !place.dataset.end && last === observed.length - 1;
  const said = `${span}: ${value(low, unit)} to ${value(high, unit)}, ${now ? "now" : "last"} ${value(observed[last], unit)}`;
  picture.setAttribute("aria-label", said);
  picture.append(node("path", { d: path, class: "line" }), node("circle", { cx: x(last).toFixed(1), cy: y(observed[last]).toFixed(1), r: 2, class: "end" }));
  place.replaceChildren(picture);
  place.title = said;
}

function remembered(place) {
  const found = known.get(kept(key(place.dataset), place.dataset));
  if (!found || Date.now() - found[0] > KEPT_MILLISECONDS) return false;
  draw(place, ...found[1]);
  return true;
}

async function ask(places) {
  const byKey = Map.groupBy ? Map.groupBy(places, (place) => key(place.dataset)) : places.reduce((all, place) => all.set(key(place.dataset), [...(all.get(key(place.dataset)) ?? []), place]), new Map());
  const { end } = places[0].dataset;
  const answer = await fetch(`api/v1/history?${new URLSearchParams({ of: `[${[...byKey.keys()].join(",")}]`, ...(end ? { end } : {}) })}`, { signal: AbortSignal.timeout(20000) });
  if (!answer.ok) return;
  const { data } = await answer.json();
  for (const series of data.series) {
    const name = key(series);
    known.set(kept(name, { end }), [Date.now(), [series, data]]);
    for (const place of byKey.get(name) ?? []) draw(place, series, data);
  }
}

async function send() {
  waiting = 0;
  const places = [...wanted].filter((place) => place.isConnected && !remembered(place));
  wanted.clear();
  while (places.length) {
    let length = 0;
    const { end } = places[0].dataset;
    const some = [];
    while (places.length && some.length < AT_ONCE && places[0].dataset.end === end && (length += encodeURIComponent(key(places[0].dataset)).length + 3) < LONGEST_URL) some.push(places.shift());
    if (!some.length) some.push(places.shift());
    try {
      await ask(some);
    } catch { // the next time that the list is renewed
      return;
    }
  }
}

const seen = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    if (!entry.isIntersecting) continue;
    seen.unobserve(entry.target);
    wanted.add(entry.target);
  }
  if (wanted.size && !waiting) waiting = setTimeout(send, 60);
}, { rootMargin: "200px" });

/** Look after all sparklines below an element. */
export function look(root = document) {
  for (const place of root.querySelectorAll(".sparkline[data-detector]")) if (!place.firstChild && !remembered(place)) seen.observe(place);
}

document.addEventListener("promlstm:renewed", () => look());
look();
