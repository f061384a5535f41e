// Plots along the time, which share their axis and their cursor.

import { h, say } from "./dom.js";
import { store } from "./live.js";

const HEIGHT = 158;
const LEAST = 20; // seconds shown at least
const GLYPH = { checkpoint_completed: "made", checkpoint_requested: "asked", checkpoint_failed: "failed", failed_over: "failed", guest_checkpoint: "made", taken_over: "failed" };

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

// Checkpoints and divergences, drawn over a plot.
function marks(plot, wanted) {
  const { ctx } = plot;
  const { left, top, width, height } = plot.bbox;
  const size = 4.5 * devicePixelRatio;
  const [from, to] = [plot.scales.x.min, plot.scales.x.max];
  ctx.save();
  ctx.setLineDash([]);
  ctx.beginPath();
  ctx.rect(left, top - 3 * size, width, height + 4 * size);
  ctx.clip();
  const diamond = (x, y) => {
    ctx.beginPath();
    ctx.moveTo(x, y - size); ctx.lineTo(x + size, y); ctx.lineTo(x, y + size); ctx.lineTo(x - size, y); ctx.closePath();
  };
  for (const mark of wanted.marks) {
    const kind = GLYPH[mark.event];
    if (!kind || mark.wall < from || mark.wall > to) continue;
    const x = Math.round(plot.valToPos(mark.wall, "x", true)) + 0.5;
    ctx.strokeStyle = colour("checkpoint");
    ctx.lineWidth = devicePixelRatio;
    if (kind !== "asked") {
      ctx.setLineDash([3 * devicePixelRatio, 3 * devicePixelRatio]);
      ctx.beginPath(); ctx.moveTo(x, top); ctx.lineTo(x, top + height); ctx.stroke();
      ctx.setLineDash([]);
    }
    ctx.fillStyle = kind === "made" ? colour("checkpoint") : colour("surface");
    ctx.lineWidth = 1.5 * devicePixelRatio;
    if (kind === "failed") {
      ctx.beginPath();
      ctx.moveTo(x - size, top - 2 * size); ctx.lineTo(x + size, top); ctx.moveTo(x + size, top - 2 * size); ctx.lineTo(x - size, top);
      ctx.stroke();
    } else {
      diamond(x, top - size); ctx.fill(); ctx.stroke();
    }
  }
  ctx.fillStyle = colour("difference");
  (wanted.points.divergences ?? []).forEach((count, at) => {
    const wall = wanted.points.time[at];
    if (!count || wall < from || wall > to) return;
    const x = plot.valToPos(wall, "x", true);
    const y = top + height;
    ctx.beginPath(); ctx.moveTo(x, y - 2 * size); ctx.lineTo(x + size, y); ctx.lineTo(x - size, y); ctx.closePath(); ctx.fill();
  });
  ctx.restore();
}

const decades = (_plot, splits) => splits.map((value) => (Math.abs(Math.log10(value) - Math.round(Math.log10(value))) < 1e-6 ? value : null));

// One plot. series: [{label, key, colour, fill, width, dash}]; format: of values; log: a logarithmic axis that begins
// at `floor`; least: the least upper end of the axis; none: what is said where there is no value at all.
export function makePlot({ title, series, format, axis, log, floor, least, none, span }) {
  const values = series.map((each) => h("b", null, "–"));
  const legend = h("p", { class: "legend" }, series.map((each, at) =>
    h("span", { class: "key" }, h("i", { class: `swatch ${each.colour}${each.dash ? " dash" : ""}`, "aria-hidden": "true" }), each.label, " ", values[at])));
  const time = h("span", { class: "when" });
  const box = h("div", { class: "plot" });
  const note = h("p", { class: "plot-note" });
  const element = h("section", { class: "card" }, h("header", { class: "plot-head" }, h("h3", null, title, time), legend), h("div", { class: "plot-box" }, box, note));
  let plot = null;

  const data = () => {
    const { time: times = [] } = store.points;
    return [times, ...series.map((each) => (store.points[each.key] ?? []).map((value) =>
      value === null ? null : log ? Math.max(value, floor) : value))];
  };

  function show(at) {
    const { time: times = [] } = store.points;
    const last = at === null || at === undefined ? times.length - 1 : at;
    series.forEach((each, index) => {
      const value = store.points[each.key]?.[last];
      say(values[index], value === null || value === undefined ? "–" : format(value));
    });
    say(time, at === null || at === undefined || !times[at] ? "" : new Date(times[at] * 1000).toLocaleTimeString("en-GB"));
  }

  // What there is to say where there is nothing to draw.
  function remark() {
    if (!store.caughtUp) return store.state === "lost" ? "Nothing is known: the proxy does not answer." : "Loading …";
    return none && series.every(({ key }) => store.points[key].every((value) => value === null)) ? none : "";
  }

  // What is asked for; less while there is less, but never so little that a second looks like an hour.
  function range() {
    const { time: times = [] } = store.points;
    const end = times.at(-1) ?? Date.now() / 1000;
    return [Math.max(end - span(), Math.min(times[0] ?? end, end - LEAST)), end];
  }

  function make() {
    plot?.destroy();
    box.replaceChildren();
    const grid = { stroke: colour("grid"), width: 1 };
    const common = { stroke: colour("muted"), grid, ticks: { ...grid, size: 4 }, font: "11px system-ui, sans-serif" };
    plot = new uPlot({
      width: Math.max(box.clientWidth, 200), height: HEIGHT, padding: [14, 26, 0, 0],
      legend: { show: false },
      cursor: { sync: { key: "time" }, drag: { x: false, y: false }, points: { size: 6 } },
      scales: {
        x: { time: true, range },
        y: log ? { distr: 3, range: (_, low, high) => [floor, Math.max(high ?? floor, floor * 16) * 1.3] }
               : { range: (_, low, high) => [0, Math.max((high ?? 0) * 1.12, least)] },
      },
      axes: [
        { ...common, space: 84, size: 30, values: (_plot, splits, _axis, _space, step) => splits.map((wall) => new Date(wall * 1000).toLocaleTimeString("en-GB", step >= 60 ? { hour: "2-digit", minute: "2-digit" } : {})) },
        { ...common, size: 78, values: (_, splits) => splits.map((value) => (value === null ? "" : (axis ?? format)(value))), ...(log ? { filter: decades, grid: { ...grid, filter: decades }, ticks: { ...common.ticks, filter: decades } } : {}) },
      ],
      series: [{}, ...series.map((each) => ({
        label: each.label, stroke: colour(each.colour), width: each.width ?? 1.75, dash: each.dash, spanGaps: false,
        fill: each.fill ? `${colour(each.colour)}26` : undefined, points: { show: false },
      }))],
      hooks: { draw: [(drawn) => marks(drawn, store)], setCursor: [(drawn) => show(drawn.cursor.idx)] },
    }, data(), box);
    show(null);
  }

  const resized = new ResizeObserver(() => plot?.setSize({ width: Math.max(box.clientWidth, 200), height: HEIGHT }));
  const theme = matchMedia("(prefers-color-scheme: dark)");
  const paint = () => plot && make();
  theme.addEventListener("change", paint);
  resized.observe(box);
  return {
    element,
    draw() {
      say(note, remark());
      if (!store.caughtUp) return;
      if (!plot) make();
      else { plot.setData(data()); if (plot.cursor.idx === null || plot.cursor.left < 0) show(null); }
    },
    destroy() { resized.disconnect(); theme.removeEventListener("change", paint); plot?.destroy(); },
  };
}
