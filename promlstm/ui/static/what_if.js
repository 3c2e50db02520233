// The page `what-if`: how far a run is, without loading the page again; and buttons that copy.

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
    document.getElementById("far").textContent = "promlstm does not answer; asking again";
  }
  setTimeout(follow, EVERY_MS);
}

if (job) setTimeout(follow, EVERY_MS);

for (const button of document.querySelectorAll("button[data-copy]")) {
  if (!navigator.clipboard) break;
  button.hidden = false;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent);
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  });
}
