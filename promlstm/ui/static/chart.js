// The past of an entity as charts, one below the other on one axis of time: what was observed in its band, score, contributions, views.
// Data is what api/v1/history answers; a report may add `faults`, spans that are known to be wrong. Drag zooms, Shift and drag moves, a double click goes back; the owner of the charts decides what to load.
import { alone, heights, withForecast } from "./columns.js";
import uPlot from "./uplot.js";
import { band, increments, ticks, value } from "./units.js";

const AXIS = 74; // pixels, so that all charts begin at the same place
const LEAST_SECONDS = 60;
const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const seconds = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const day = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });
const whole = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const utc = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", hourCycle: "h23", timeZone: "UTC" });

/** Colours are those of the stylesheet: a dark scheme has others. */
function colours() {
  const style = getComputedStyle(document.documentElement);
  const names = ["observed", "expected", "band", "usual", "forecast", "forecast-band", "alarm", "missing", "fault", "silence", "score", "line", "grid", "text", "now"];
  const found = Object.fromEntries(names.map((name) => [name, style.getPropertyValue(`--chart-${name}`).trim()]));
  found.several = [1, 2, 3, 4, 5, 6, 7, 8].map((number) => style.getPropertyValue(`--chart-${number}`).trim());
  found.font = `12px ${style.fontFamily}`;
  return found;
}

function times(plot, splits, _axis, _space, increment) {
  let before = "";
  return splits.map((split) => {
    const at = new Date(split * 1000);
    const date = day.format(at);
    const text = increment >= 86400 ? date : (increment < 60 ? seconds : clock).format(at);
    const said = date !== before && increment < 86400 ? `${text}\n${date}` : text;
    before = date;
    return said;
  });
}

const line = (label, stroke, more = {}) => ({ label, stroke, width: 1.5, points: { show: false }, ...more });

export class Charts {
  /** Draw into an element. `moved(from, to)` is called when the viewer has chosen another span, `reset()` when he wants the first one. */
  constructor(element, { moved, reset }) {
    this.element = element;
    this.moved = moved;
    this.reset = reset;
    this.plots = [];
    this.pointed = false;
    this.dragging = false;
    new ResizeObserver(() => this.resize()).observe(element);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.data && this.show(this.data, this.first));
    element.addEventListener("pointerenter", () => { this.pointed = true; });
    element.addEventListener("pointerleave", () => { this.pointed = false; });
  }

  /** Show an answer of api/v1/history; `first`: the feature that is drawn large. */
  show(data, first = "") {
    const focused = this.plots.findIndex(({ canvas }) => canvas === document.activeElement);
    for (const { plot } of this.plots) plot.destroy();
    this.element.replaceChildren();
    this.data = data;
    this.first = first;
    this.plots = [];
    this.colours = colours();
    this.sync = uPlot.sync(`charts-${Math.random()}`);
    const features = [...data.features].sort((one, other) => Number(other.name === first) - Number(one.name === first));
    const several = features.length > 1;
    this.ahead = features.length ? withForecast(data, features[0], features[0].name).ahead : [];
    const end = Math.max(data.end, ...this.ahead);
    this.span = [data.start, end];
    features.forEach((feature, place) => this.observed(feature, several, place === 0));
    if (data.score.length) this.score();
    if (several && features.some((each) => each.contribution.length)) {
      this.shares("Contribution of each feature", features.filter((each) => each.contribution.length).map((each) => [each.name, each.contribution]));
    }
    const views = Object.entries(data.views).filter(([, column]) => column.some((each) => each > 0.005));
    if (views.length) this.shares("What the model saw, while anomalous", views.map(([name, column]) => [data.view_words[name], column]));
    this.dated();
    this.key();
    this.tell(null);
    this.plots[focused]?.canvas.focus({ preventScroll: true });
  }

  observed(feature, several, large) {
    const { data, colours: colour } = this;
    const forecast = withForecast(data, feature, feature.name);
    const longer = (column) => (column.length ? [...column, ...this.ahead.map(() => null)] : [...data.times, ...this.ahead].map(() => null));
    const ahead = (column) => (column.length ? column : longer([]));
    const bands = [];
    const columns = [[...data.times, ...this.ahead]];
    const series = [{}];
    const add = (column, options) => { columns.push(column); series.push(options); return series.length - 1; };
    const between = (upper, lower, fill, top, bottom) => bands.push({ series: [add(top, upper), add(bottom, lower)], fill });
    const none = { stroke: "transparent", width: 0, points: { show: false } };
    const dotted = line("", colour.usual, { width: 1, dash: [2, 3] });
    if (feature.usual_upper.length || feature.usual_lower.length) {
      add(longer(feature.usual_upper), dotted);
      add(longer(feature.usual_lower), dotted);
    }
    const range = heights(
      [feature.observed, feature.high, feature.low, feature.expected, forecast.middle],
      [feature.lower, feature.upper, feature.usual_lower, feature.usual_upper, forecast.lower, forecast.upper], true,
    );
    const { upper, lower } = feature;
    const open = (column, other, edge) => (column.length ? column : other.map((each) => (each === null ? null : edge))); // a band with one border
    if (upper.length || lower.length) between(none, none, colour.band, longer(open(upper, lower, range[1])), longer(open(lower, upper, range[0])));
    if (feature.high.length && feature.low.length) between(none, none, `${colour.observed}40`, longer(feature.high), longer(feature.low));
    if (feature.expected.length) add(longer(feature.expected), line("expected", colour.expected, { dash: [6, 4] }));
    if (forecast.middle.length) {
      between({ ...none, spanGaps: true }, { ...none, spanGaps: true }, colour["forecast-band"], ahead(forecast.upper), ahead(forecast.lower));
      add(ahead(forecast.middle), line("forecast", colour.forecast, { spanGaps: true, dash: [6, 3] }));
    }
    add(longer(feature.observed), line("observed", colour.observed, { width: 2, points: { show: alone(feature.observed), size: 4, fill: colour.observed } }));
    const tell = (place) => [
      ["observed", value(feature.observed[place], feature.unit), "observed"], ["expected", value(feature.expected[place], feature.unit), "expected"],
      ["band", band(feature.lower[place], feature.upper[place], feature.unit) || "–", "band"],
    ].filter(([what]) => what === "observed" || feature[what === "band" ? "upper" : what].length || (what === "band" && feature.lower.length));
    const title = several ? feature.name : "Observed";
    this.add(title, large ? "large" : "middle", { columns, series, bands, range, unit: feature.unit, tell, limit: large ? data.forecast?.limit : null });
  }

  score() {
    const { data, colours: colour } = this;
    const column = [...data.score, ...this.ahead.map(() => null)];
    const highest = data.score.reduce((most, each) => Math.max(most, each ?? 0), 0);
    this.add("Score", "small", {
      columns: [[...data.times, ...this.ahead], column], bands: [], unit: "", range: [0, Math.max(1.25, highest * 1.1)],
      series: [{}, line("score", colour.score, { fill: `${colour.score}22`, points: { show: alone(data.score), size: 4, fill: colour.score } })],
      tell: (place) => [["score", value(data.score[place]), "score"]], line: 1,
    });
  }

  shares(title, named) {
    const colour = this.colours.several;
    this.add(title, "small", {
      columns: [[...this.data.times, ...this.ahead], ...named.map(([, column]) => [...column, ...this.ahead.map(() => null)])], bands: [], unit: "ratio", range: [0, 1],
      series: [{}, ...named.map(([name, column], place) => line(name, colour[place % 8], { points: { show: alone(column), size: 4, fill: colour[place % 8] } }))],
      tell: (at) => named.map(([name, column], place) => [name, value(column[at], "ratio"), `c${(place % 8) + 1}`]),
    });
  }

  add(title, size, { columns, series, bands, range, unit, tell, line: level, limit }) {
    const figure = document.createElement("figure");
    figure.className = `chart ${size}`;
    const caption = document.createElement("figcaption");
    const name = document.createElement("span");
    name.className = "name";
    name.textContent = title;
    const said = document.createElement("span");
    said.className = "said";
    caption.append(name, said);
    const canvas = document.createElement("div");
    canvas.className = "canvas";
    canvas.tabIndex = 0;
    canvas.setAttribute("role", "img");
    figure.append(caption, canvas);
    this.element.append(figure);
    const colour = this.colours;
    const axis = { stroke: colour.text, font: colour.font, grid: { stroke: colour.grid, width: 1 }, ticks: { stroke: colour.grid, width: 1, size: 4 } };
    const options = {
      width: Math.max(200, this.element.clientWidth), height: canvas.clientHeight || 160, series, bands, legend: { show: false }, padding: [8, 18, 0, 0],
      scales: { x: { time: true, min: this.span[0], max: this.span[1] }, y: { range: () => range } },
      axes: [
        { ...axis, values: this.plots.length ? (_, splits) => splits.map(() => "") : times, space: 72, size: this.plots.length ? 6 : 40, incrs: STEPS_OF_TIME, gap: 4 },
        { ...axis, size: AXIS, values: (_, splits) => ticks(splits, unit), incrs: increments(unit), space: 34 },
      ],
      cursor: {
        sync: { key: this.sync.key, filters: { pub: (type) => type === "mousemove" || type === "mouseleave" } },
        y: false, drag: { x: true, y: false, setScale: false }, points: { size: 7 },
        bind: { dblclick: () => () => { this.reset(); return null; } },
      },
      hooks: {
        drawClear: [(plot) => this.shade(plot)],
        draw: [(plot) => this.rule(plot, level, limit)],
        setSelect: [(plot) => this.selected(plot)],
        setCursor: [(plot) => this.tell(plot)],
      },
    };
    const plot = new uPlot(options, columns, canvas);
    this.plots.push({ plot, tell, said, figure, canvas, title });
    canvas.addEventListener("keydown", (event) => this.typed(event));
    plot.root.addEventListener("mousedown", (event) => this.grabbed(event, plot), true);
    plot.over.addEventListener("wheel", (event) => {
      if (Math.abs(event.deltaX) <= Math.abs(event.deltaY)) return;
      event.preventDefault();
      this.shift((event.deltaX / plot.over.clientWidth) * (this.span[1] - this.span[0]));
    }, { passive: false });
  }

  /** Times stand below the first chart and below the last one. */
  dated() {
    const last = this.plots.at(-1);
    if (!last || this.plots.length < 2) return;
    const [axis] = last.plot.axes;
    axis.values = times;
    axis.size = () => 40;
    last.figure.classList.add("dated");
    last.plot.setSize({ width: last.plot.width, height: last.canvas.clientHeight });
  }

  /** Alarms, silences and times without a sample, behind the lines. */
  shade(plot) {
    const { data, colours: colour } = this;
    const { ctx, bbox } = plot;
    const half = data.resolution_seconds / 2;
    const paint = (from, to, fill, height = bbox.height) => {
      const left = Math.max(bbox.left, plot.valToPos(from, "x", true));
      const right = Math.min(bbox.left + bbox.width, plot.valToPos(to, "x", true));
      if (right <= left) return;
      ctx.fillStyle = fill;
      ctx.fillRect(left, bbox.top, Math.max(right - left, devicePixelRatio), height);
    };
    ctx.save();
    for (const each of data.missing) paint(each.start - half, each.end + half, colour.missing);
    for (const each of data.faults ?? []) paint(each.start - half, each.end + half, colour.fault);
    for (const each of data.alarms) paint(each.start - half, each.end + half, colour.alarm);
    for (const each of data.silences) paint(each.start, each.end, colour.silence, 5 * devicePixelRatio);
    ctx.restore();
  }

  /** The line at which the score is an alarm, the limit of a forecast, and where the past ends. */
  rule(plot, level, limit) {
    const { ctx, bbox } = plot;
    ctx.save();
    ctx.lineWidth = devicePixelRatio;
    for (const [at, dash] of [[level, [5, 4]], [limit, [2, 3]]]) {
      if (at === undefined || at === null || at < plot.scales.y.min || at > plot.scales.y.max) continue;
      const y = plot.valToPos(at, "y", true);
      ctx.strokeStyle = this.colours.line;
      ctx.setLineDash(dash.map((each) => each * devicePixelRatio));
      ctx.beginPath();
      ctx.moveTo(bbox.left, y);
      ctx.lineTo(bbox.left + bbox.width, y);
      ctx.stroke();
    }
    if (this.ahead.length) {
      const x = plot.valToPos(this.data.end, "x", true);
      ctx.strokeStyle = this.colours.now;
      ctx.setLineDash([]);
      ctx.beginPath();
      ctx.moveTo(x, bbox.top);
      ctx.lineTo(x, bbox.top + bbox.height);
      ctx.stroke();
    }
    ctx.restore();
  }

  /** Say the values under the pointer, of all charts; without a pointer the last ones. */
  tell(plot) {
    if (plot && !plot.cursor.event && plot.cursor.idx === null && this.told === null) return;
    const under = plot?.cursor.idx ?? null;
    this.told = under;
    let place = under;
    if (place === null || place >= this.data.times.length) place = this.data.times.length - 1;
    while (under === null && place > 0 && this.data.features.every((each) => (each.observed[place] ?? null) === null)) place -= 1;
    const at = new Date(this.data.times[place] * 1000);
    for (const [number, each] of this.plots.entries()) {
      const parts = each.tell(place).map(([what, text, kind]) => {
        const part = document.createElement("span");
        part.className = `part of-${kind}`;
        const bold = document.createElement("b");
        bold.textContent = text;
        part.append(`${what} `, bold);
        return part;
      });
      if (number === 0) {
        const when = document.createElement("span");
        when.className = "when";
        when.textContent = `${whole.format(at)} (${utc.format(at)} UTC)`;
        parts.unshift(when);
      }
      each.said.replaceChildren(...parts);
      if (under === null) each.canvas.setAttribute("aria-label", `Chart of ${each.title}: ${each.said.textContent}. The table Values has the numbers.`);
    }
  }

  /** What the colours mean: only what there is. */
  key() {
    const { data } = this;
    const any = (what) => data.features.some((each) => each[what].length);
    const kinds = [
      ["observed", "observed", any("observed")], ["expected", "expected", any("expected")], ["band", "band of the false-alarm budget", any("upper") || any("lower")],
      ["usual", "usual range (99 % of healthy samples)", any("usual_upper") || any("usual_lower")], ["forecast", "forecast, range of 80 % of the values", this.ahead.length > 0],
      ["alarm", "anomalous", data.alarms.length > 0], ["missing", "missing", data.missing.length > 0], ["fault", "labelled as a fault", data.faults?.length > 0],
      ["silence", "silenced", data.silences.length > 0],
    ].filter(([, , there]) => there);
    const list = document.createElement("ul");
    list.className = "key";
    for (const [kind, text] of kinds) {
      const item = document.createElement("li");
      const mark = document.createElement("i");
      mark.className = `of-${kind}`;
      item.append(mark, text);
      list.append(item);
    }
    this.element.append(list);
  }

  selected(plot) {
    if (plot.select.width < 3) return;
    const from = plot.posToVal(plot.select.left, "x");
    const to = plot.posToVal(plot.select.left + plot.select.width, "x");
    plot.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
    this.go(from, to);
  }

  /** Show another span at once, with what is there; the owner loads the rest. */
  go(from, to) {
    if (to - from < LEAST_SECONDS) [from, to] = [(from + to) / 2 - LEAST_SECONDS / 2, (from + to) / 2 + LEAST_SECONDS / 2];
    this.span = [from, to];
    for (const { plot } of this.plots) plot.setScale("x", { min: from, max: to });
    this.moved(from, to);
  }

  shift(by) { this.go(this.span[0] + by, this.span[1] + by); }

  zoom(factor) {
    const [middle, half] = [(this.span[0] + this.span[1]) / 2, ((this.span[1] - this.span[0]) / 2) * factor];
    this.go(middle - half, middle + half);
  }

  grabbed(event, plot) {
    if (!event.shiftKey || event.button !== 0) return;
    event.preventDefault();
    event.stopPropagation();
    const begin = event.clientX;
    const [from, to] = this.span;
    const scale = (to - from) / plot.over.clientWidth;
    this.dragging = true;
    const move = (next) => {
      const by = (begin - next.clientX) * scale;
      this.span = [from + by, to + by];
      for (const each of this.plots) each.plot.setScale("x", { min: from + by, max: to + by });
    };
    const end = () => {
      removeEventListener("mousemove", move);
      this.dragging = false;
      this.go(...this.span);
    };
    addEventListener("mousemove", move);
    addEventListener("mouseup", end, { once: true });
  }

  typed(event) {
    const width = this.span[1] - this.span[0];
    const does = {
      ArrowLeft: () => this.shift(-width / 4), ArrowRight: () => this.shift(width / 4), "+": () => this.zoom(0.5), "=": () => this.zoom(0.5), "-": () => this.zoom(2),
      0: () => this.reset(), Escape: () => this.reset(),
    }[event.key];
    if (!does || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    does();
  }

  resize() {
    for (const { plot, canvas } of this.plots) {
      const width = Math.max(200, this.element.clientWidth);
      const height = canvas.clientHeight || 160;
      if (Math.abs(plot.width - width) > 1 || Math.abs(plot.height - height) > 1) plot.setSize({ width, height });
    }
  }
}

// Seconds between two ticks of time.
const STEPS_OF_TIME = [1, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800, 604800];
