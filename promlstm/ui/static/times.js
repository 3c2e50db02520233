// Times in the viewer's zone: `<time datetime="…Z">` keeps its instant, and says UTC when one points at it. With `data-day` today's have the day, too.

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const day = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });
const whole = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "long" });

/** An instant (Date) as people read it: today's without the day. */
export function told(instant, now = new Date()) {
  const today = instant.toDateString() === now.toDateString();
  return today ? clock.format(instant) : `${day.format(instant)} ${clock.format(instant)}`;
}

/** Show all times below an element in the viewer's zone. */
export function localise(root = document) {
  for (const time of root.querySelectorAll("time[datetime]")) {
    const instant = new Date(time.dateTime);
    if (Number.isNaN(instant.getTime())) continue;
    const now = time.hasAttribute("data-day") ? new Date(0) : undefined;
    if (!time.hasAttribute("data-told")) time.textContent = told(instant, now);
    time.title = `${whole.format(instant)}\n${instant.toISOString().replace("T", " ").replace(".000Z", " UTC").replace("Z", " UTC")}`;
  }
}

localise();
