// The page `what-if`: how far a run is, without loading the page again.

import "./copying.js";

const EVERY_MS = 1000;
const job = document.getElementById("job");

/** Ask how far the run is, until it is over; then load the page, which shows what came of it. */
async function follow() {
  try {
    const answer = await fetch(`api/v1/what-if?id=${encodeURIComponent(job.dataset.id)}`, { headers: { Accept: "application/json" } });
    if (answer.status === 404) return location.reload();
    const { data } = await answer.json();
    if (data.state !== "running") return location.reload();
    if (data.done > 0) {
      const bar = document.getElementById("progress");
      bar.max = data.total;
      bar.value = data.done;
      document.getElementById("far").textContent = `${data.done} of ${data.total} steps`;
    }
  } catch {
    document.getElementById("far").textContent = "promlstm does not answer; retrying";
  }
  setTimeout(follow, EVERY_MS);
}

if (job) setTimeout(follow, EVERY_MS);
