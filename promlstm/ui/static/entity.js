// The page of an entity: its charts, kept up to date; the span that is shown is in the URL.
import { Charts } from "./chart.js";
import "./copying.js";
import { told } from "./times.js";
import { band, value } from "./units.js";

const element = document.getElementById("charts");
const notes = document.getElementById("notes");
const tools = document.getElementById("tools");
const updated = document.getElementById("updated");
const announcement = document.getElementById("announcement");
const { detector, entity, feature } = element.dataset;
const QUIET_MILLISECONDS = 350; // after the last movement, before more is loaded
const first = { range: element.dataset.range, end: element.dataset.end };
let asked = { ...first };
let waiting = 0;
let loading = null;

const url = (path, more) => `${path}?${new URLSearchParams({ detector, entity, ...more })}`;
const span = ({ range, end }) => (end ? { range, end } : { range });

async function json(address, signal) {
  const answer = await fetch(address, { cache: "no-store", signal });
  const said = await answer.json();
  if (said.status !== "success") throw new Error(said.error);
  return said.data;
}

function say(warnings, remarks = []) {
  const notice = (name) => (text) => Object.assign(document.createElement("p"), { className: name, textContent: text });
  notes.replaceChildren(...warnings.map(notice("notice warning")), ...remarks.map(notice("notice")));
}

const charts = new Charts(element, {
  moved(from, to) {
    const now = Date.now() / 1000;
    const end = Math.min(to, now);
    asked = { range: `${Math.max(60, Math.round(end - from))}s`, end: end > now - 1 ? "" : String(Math.round(end)) };
    clearTimeout(waiting);
    waiting = setTimeout(() => {
      history.pushState(asked, "", url("entity", span(asked)));
      load();
    }, QUIET_MILLISECONDS);
  },
  reset() {
    clearTimeout(waiting);
    asked = { ...first };
    history.pushState(asked, "", url("entity", span(asked)));
    load();
  },
});

async function load() {
  loading?.abort();
  loading = new AbortController();
  element.setAttribute("aria-busy", "true");
  try {
    const data = await json(url("api/v1/history", { ...span(asked), points: String(Math.min(1000, Math.max(200, Math.round(element.clientWidth / 1.6)))) }), loading.signal);
    if (charts.dragging) return;
    say(data.notes, data.remarks);
    element.hidden = data.origin === "none";
    charts.show(data, feature);
    title(data);
    updated.textContent = `updated ${told(new Date())}`;
    element.removeAttribute("aria-busy");
  } catch (error) {
    if (error.name === "AbortError") return;
    element.removeAttribute("aria-busy");
    say([error instanceof TypeError ? "promlstm cannot be reached; the page shows the last known state." : `History cannot be shown: ${error.message}`]);
  }
}

/** What span is shown, and which button says so. */
function title({ start, end, live }) {
  const heading = document.querySelector('[data-now="span"]');
  const offered = [...document.querySelectorAll("nav.ranges a.button")].find((each) => each.textContent === asked.range);
  for (const each of document.querySelectorAll("nav.ranges a[aria-current]")) each.removeAttribute("aria-current");
  offered?.setAttribute("aria-current", "true");
  heading.textContent = live && offered ? `The last ${asked.range}` : `${told(new Date(start * 1000))} to ${live ? "now" : told(new Date(end * 1000))}`;
}

/** The headline, as of the newest step; where the state is another one, the page is loaded again. */
async function renew() {
  const now = await json(url("api/v1/entity"));
  const main = now.values.find((each) => each.name === now.feature) ?? now.values[0];
  if (now.state !== element.dataset.state) {
    announcement.textContent = `now ${now.state}`;
    if (document.getSelection()?.isCollapsed !== false) location.reload();
    return;
  }
  const texts = {
    observed: value(main.observed, main.unit), expected: value(main.expected, main.unit), band: band(main.lower, main.upper, main.unit) || "–", score: value(now.score),
  };
  for (const [name, text] of Object.entries(texts)) {
    const place = document.querySelector(`[data-now="${name}"]`);
    if (place && place.textContent !== text) place.textContent = text;
  }
  const reason = document.querySelector('[data-now="reason"]');
  if (reason && now.reason) reason.textContent = `${now.reason[0].toUpperCase()}${now.reason.slice(1)}.`;
}

function tick() {
  if (document.hidden || charts.pointed || charts.dragging || asked.end) return;
  if (element.dataset.state !== "gone" && element.dataset.state !== "unknown") renew().catch(() => {});
  load();
}

function button(text, title, does) {
  const made = document.createElement("button");
  made.type = "button";
  made.textContent = text;
  made.title = title;
  if (text.length === 1) made.setAttribute("aria-label", title); // a sign is no name
  made.addEventListener("click", does);
  return made;
}

const ranges = document.querySelector("nav.ranges");
ranges?.append(
  button("−", "Zoom out", () => charts.zoom(2)), button("+", "Zoom in", () => charts.zoom(0.5)), button("Reset", "Back to the range of the link", () => charts.reset()),
);

addEventListener("popstate", (event) => {
  asked = event.state ?? { ...first };
  load();
});
element.hidden = false;
tools.hidden = false;
document.getElementById("values")?.removeAttribute("open");
await load();
setInterval(tick, 15000);
