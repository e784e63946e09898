// Charts by uPlot: sized by their place, in the colours of the page, drawn when the screen is.

import {clock} from "./format.js";

const colour = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const charts = new Set();
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => charts.forEach(chart => chart.restyle()));

const sizes = new ResizeObserver(entries => entries.forEach(entry => {
  for (const chart of charts) if (chart.place === entry.target) chart.fit();
}));

export class Chart {
  // series: {stroke, dash, fill, scale, width}, colours by their names in the style sheet
  constructor(place, {height = 200, time = false, across = "", unit = "", series, bands = [], scales = {}, axes = []}) {
    Object.assign(this, {place, height, time, across, unit, series, bands, scales, axes});
    this.marks = [];
    this.data = [[], ...series.map(() => [])];
    charts.add(this);
    sizes.observe(place);
    this.restyle();
  }

  restyle() {
    this.plot?.destroy();
    const axis = (more = {}) => ({
      stroke: colour("--dim"), grid: {stroke: colour("--grid"), width: 1}, ticks: {stroke: colour("--grid"), width: 1},
      font: "12px system-ui", ...more,
    });
    this.plot = new uPlot({
      width: Math.max(this.place.clientWidth, 100), height: this.height,
      cursor: {y: false, drag: {x: false, y: false}}, legend: {show: false},
      scales: {x: {time: this.time}, ...this.scales},
      axes: [
        axis({values: (_, splits) => splits.map(this.time ? clock : compact), space: this.time ? 80 : 50,
          label: this.across, labelSize: this.across ? 16 : 0, labelFont: "12px system-ui", size: 28}),
        axis({label: this.unit, labelSize: 18, labelFont: "12px system-ui", size: 56, values: (_, splits) => splits.map(compact)}),
        ...this.axes.map(more => axis(more)),
      ],
      series: [{}, ...this.series.map(one => ({
        ...one, stroke: one.stroke && colour(one.stroke), fill: one.fill && colour(one.fill),
        width: one.width ?? 1.5, points: {show: false}, spanGaps: one.spanGaps ?? false,
      }))],
      bands: this.bands.map(band => ({...band, fill: colour("--band")})),
      hooks: {draw: [plot => this.mark(plot)]},
    }, this.data, this.place);
  }

  fit() {
    if (this.place.clientWidth) this.plot.setSize({width: this.place.clientWidth, height: this.height});
  }

  // marks: {x, letter}
  show(data, marks = []) {
    this.data = data;
    this.marks = marks;
    if (this.waiting) return;
    this.waiting = requestAnimationFrame(() => {
      this.waiting = 0;
      this.plot.setData(this.data);
    });
  }

  // A line with its letter, or a tick at the foot for what comes often.
  mark(plot) {
    const {ctx, bbox} = plot, ratio = devicePixelRatio, foot = bbox.top + bbox.height;
    ctx.save();
    ctx.strokeStyle = ctx.fillStyle = colour("--ink");
    ctx.lineWidth = ratio;
    ctx.textAlign = "left";
    ctx.textBaseline = "alphabetic";
    ctx.font = `600 ${12 * ratio}px system-ui`;
    const ends = {};
    for (const {x, letter, often} of this.marks) {
      const at = plot.valToPos(x, "x", true);
      if (at < bbox.left || at > bbox.left + bbox.width) continue;
      ctx.setLineDash(often ? [] : [4 * ratio, 3 * ratio]);
      ctx.beginPath();
      ctx.moveTo(at, often ? foot - 7 * ratio : bbox.top);
      ctx.lineTo(at, foot);
      ctx.stroke();
      if (at > (ends[letter] ?? -Infinity)) {
        ctx.fillText(letter, at + 3 * ratio, often ? foot - 3 * ratio : bbox.top + 11 * ratio);
        ends[letter] = at + 16 * ratio;
      }
    }
    ctx.restore();
  }

  close() {
    charts.delete(this);
    sizes.unobserve(this.place);
    cancelAnimationFrame(this.waiting);
    this.plot.destroy();
  }
}

function compact(value) {
  if (value === null) return "";
  for (const [size, letter] of [[1e9, "G"], [1e6, "M"], [1e3, "k"]])
    if (Math.abs(value) >= size) return `${Number((value / size).toPrecision(4))}${letter}`;
  return Number(value.toPrecision(4)).toString();
}
