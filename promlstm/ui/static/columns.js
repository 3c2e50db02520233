// What is drawn of the columns of a Past (api/v1/history), null where nothing is known: heights, and the forecast behind them. No pixels here.

/** [lowest, highest] of what is drawn; a band that is far wider than the samples does not press them flat. */
export function heights(core, borders, zero) {
  let low = Infinity;
  let high = -Infinity;
  for (const column of core) for (const each of column ?? []) if (each !== null && each !== undefined) { low = Math.min(low, each); high = Math.max(high, each); }
  if (low > high) return [0, 1];
  const span = high - low || Math.abs(high) * 0.1 || 1;
  const room = [low - span, high + span];
  for (const column of borders) {
    for (const each of column ?? []) {
      if (each === null || each === undefined) continue;
      low = Math.min(low, Math.max(each, room[0]));
      high = Math.max(high, Math.min(each, room[1]));
    }
  }
  const pad = (high - low || span) * 0.06;
  return [zero && low >= 0 ? Math.max(0, low - pad) : low - pad, high + pad];
}

/** The columns of a feature on the instants of the past, and those of its forecast behind them. */
export function withForecast(data, feature, name) {
  const made = data.forecast;
  const values = made ? made.values.filter((each) => each.feature === name && each.middle !== null) : [];
  const span = data.end - data.start;
  const shown = values.filter((each, place) => place === 0 || each.seconds <= span * 0.6).sort((one, other) => one.seconds - other.seconds);
  if (!shown.length || !data.live) return { ahead: [], lower: [], middle: [], upper: [] };
  let last = feature.observed.length - 1;
  while (last >= 0 && feature.observed[last] === null) last -= 1;
  const begin = last >= 0 ? feature.observed[last] : shown[0].middle;
  const blank = data.times.map(() => null);
  if (blank.length) blank[Math.max(last, 0)] = begin;
  const column = (which) => [...blank, ...shown.map((each) => each[which])];
  return { ahead: shown.map((each) => made.time + each.seconds), lower: column("lower"), middle: column("middle"), upper: column("upper") };
}

/** Whether a point of a column is alone between gaps, so that no line would show it: then points are drawn. */
export function alone(column) {
  return column.some((each, place) => each !== null && (column[place - 1] ?? null) === null && (column[place + 1] ?? null) === null);
}
