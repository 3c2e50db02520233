// The page Now renews itself: it fetches what it shows, and puts the new parts in the place of the old ones. The lists keep still while one reads;
// the counts above them go on.
import { localise } from "./times.js";

const SECONDS = 15;
const RESTING_MILLISECONDS = 30_000; // a pointer that has not moved for so long has nobody at it
const COUNTS = "counts";
const clock = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });
const parts = () => [...document.querySelectorAll("[data-live][id]")];
const tools = document.getElementById("tools");
const pause = document.getElementById("pause");
const updated = document.getElementById("updated");
const announcement = document.getElementById("announcement");

let paused = false;
let pointed = -Infinity; // when the pointer last moved on a list

/** Why the lists keep still now; "" = nothing speaks against new ones. */
function reading() {
  const selection = document.getSelection();
  if (selection && !selection.isCollapsed) return "text is selected";
  const active = document.activeElement;
  if (active?.matches("select, input:not([type=hidden])")) return "a filter is being changed";
  if (active?.matches(":focus-visible") && parts().some((part) => part.contains(active))) return "you are in the list";
  return performance.now() - pointed < RESTING_MILLISECONDS ? "the pointer is on the list" : "";
}

function counts() {
  return Object.fromEntries([...document.querySelectorAll("[data-count]")].map((each) => [each.dataset.count, each.textContent.trim()]));
}

/** Put parts of another version of this page in the place of those that are here, and say which counts have changed. */
function replace(page, wanted) {
  const before = counts();
  for (const part of parts().filter(wanted)) {
    const fresh = page.getElementById(part.id);
    if (fresh) part.replaceWith(document.adoptNode(fresh));
  }
  document.title = page.title;
  for (const part of parts()) localise(part);
  const changed = Object.entries(counts()).filter(([name, text]) => before[name] !== text);
  for (const [name] of changed) {
    const element = document.querySelector(`[data-count="${name}"]`);
    element.classList.add("changed");
    setTimeout(() => element.classList.remove("changed"), 4000);
  }
  if (changed.length) announcement.textContent = Object.values(counts()).join(", ");
  document.dispatchEvent(new CustomEvent("promlstm:renewed"));
}

async function renew() {
  if (paused || document.hidden) return;
  try {
    const answer = await fetch(location.href, { headers: { Accept: "text/html" }, cache: "no-store", signal: AbortSignal.timeout(10_000) });
    if (answer.status === 404) { // such as a detector that was configured, or an incident before the storage is read
      updated.textContent = "this page no longer exists; it shows the last known state";
      return;
    }
    if (answer.status >= 500) throw new Error(`status ${answer.status}`);
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    if (paused) return;
    const why = reading();
    replace(page, (part) => !why || part.id === COUNTS);
    updated.textContent = why ? `list paused: ${why}` : `updated ${clock.format(new Date())}`;
    updated.classList.remove("anomalous-text");
  } catch {
    updated.textContent = "promlstm cannot be reached; the page shows the last known state";
    updated.classList.add("anomalous-text");
  }
}

document.addEventListener("pointermove", (event) => {
  pointed = event.pointerType === "mouse" && event.target.closest?.("#rows, #above") ? performance.now() : -Infinity;
}, { passive: true });
document.documentElement.addEventListener("pointerleave", () => { pointed = -Infinity; });
document.addEventListener("visibilitychange", renew);
pause.addEventListener("click", () => {
  paused = !paused;
  pause.setAttribute("aria-pressed", String(paused));
  updated.textContent = paused ? "paused" : "";
  renew();
});

tools.hidden = false;
updated.textContent = `updated ${clock.format(new Date())}`;
setInterval(renew, SECONDS * 1000);
