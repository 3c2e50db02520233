// A report that is a file: its charts, drawn from the data in it when they come into view.

import { Charts } from "./chart.js";
import "./times.js";

const { charts } = JSON.parse(document.getElementById("data").textContent);

/** The part of a chart's data between two instants. */
function part(data, from, to) {
  const first = Math.max(0, data.times.findIndex((time) => time >= from));
  const after = data.times.findIndex((time) => time > to);
  const last = after < 0 ? data.times.length : after;
  const cut = (column) => column.slice(first, last);
  const features = data.features.map((each) => Object.fromEntries(Object.entries(each).map(([name, value]) => [name, Array.isArray(value) ? cut(value) : value])));
  return { ...data, start: from, end: to, times: cut(data.times), score: cut(data.score), features };
}

function draw(element) {
  const data = charts[Number(element.dataset.chart)];
  const drawn = new Charts(element, {
    moved(from, to) {
      const [start, end] = [Math.max(data.start, from), Math.min(data.end, to)];
      if (end - start >= 2 * data.resolution_seconds) drawn.show(part(data, start, end));
      else drawn.show(data);
    },
    reset() { drawn.show(data); },
  });
  drawn.show(data);
}

const seen = new IntersectionObserver((entries) => {
  for (const { isIntersecting, target } of entries) {
    if (!isIntersecting) continue;
    seen.unobserve(target);
    draw(target);
  }
}, { rootMargin: "400px" });

for (const element of document.querySelectorAll("[data-chart]")) seen.observe(element);
