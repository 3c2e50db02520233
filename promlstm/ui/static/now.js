// The page Now renews itself: it fetches what it shows, and puts the new parts in the place of the old ones. It keeps still while one reads.
import { localise, told } from "./times.js";

const SECONDS = 15;
const parts = () => [...document.querySelectorAll("[data-live][id]")];
const tools = document.getElementById("tools");
const pause = document.getElementById("pause");
const updated = document.getElementById("updated");
const announcement = document.getElementById("announcement");

let paused = false;
let pointed = false;

/** Why nothing is replaced now; "" = nothing speaks against it. */
function reading() {
  if (paused) return "paused";
  const selection = document.getSelection();
  if (selection && !selection.isCollapsed) return "waits: text is selected";
  const active = document.activeElement;
  if (active && active.matches("select, input:not([type=hidden])")) return "waits: a filter is being changed";
  if (active && parts().some((part) => part.contains(active)) && active.matches(":focus-visible")) return "waits: you are in the list";
  if (pointed) return "waits: the pointer is on the list";
  return "";
}

function counts() {
  return Object.fromEntries([...document.querySelectorAll("[data-count]")].map((each) => [each.dataset.count, each.textContent.trim()]));
}

/** Put the parts of another version of this page in the place of those that are here. */
function replace(page) {
  const before = counts();
  for (const part of parts()) {
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
  const why = reading();
  if (why || document.hidden) {
    if (why) updated.textContent = why;
    return;
  }
  try {
    const answer = await fetch(location.href, { headers: { Accept: "text/html" }, cache: "no-store", signal: AbortSignal.timeout(10000) });
    if (!answer.ok) throw new Error(`status ${answer.status}`);
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    if (reading()) return;
    replace(page);
    updated.textContent = `updated ${told(new Date())}`;
    updated.classList.remove("anomalous-text");
  } catch {
    updated.textContent = "promlstm cannot be reached; this is what was last known";
    updated.classList.add("anomalous-text");
  }
}

function point(event) {
  pointed = event.pointerType === "mouse" && Boolean(event.target.closest?.("#rows, #above"));
}

document.addEventListener("pointermove", point, { passive: true });
document.addEventListener("pointerleave", () => { pointed = false; });
document.addEventListener("visibilitychange", () => { if (!document.hidden) renew(); });
pause.addEventListener("click", () => {
  paused = !paused;
  pause.setAttribute("aria-pressed", String(paused));
  pause.textContent = paused ? "Go on" : "Pause";
  if (paused) updated.textContent = "paused";
  else renew();
});

tools.hidden = false;
updated.textContent = `updated ${told(new Date())}`;
setInterval(renew, SECONDS * 1000);
