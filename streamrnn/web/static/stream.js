// One stream: its channels as charts, or its text coloured by surprise.

import {Chart} from "./charts.js";
import {$, clock, element, number, short} from "./format.js";

const MOST = 2048;    // outputs that are kept, as many as there are at the other end
const SYMBOLS = 900;  // of a text that are shown
const STEPS = [8, 4, 2];  // bits of surprise from which on a symbol is told apart
const COLUMNS = ["value", "prediction", "lower", "upper", "surprise"];

let kept = {}, alarms = [], charts = [];

export function forget() {
  kept = {};
  alarms = [];
  charts.forEach(chart => chart.close());
  charts = [];
  for (const id of ["channels", "text", "likely", "alarms"]) $(id).replaceChildren();
  $("text-view").hidden = $("channel-legend").hidden = true;
}

export function show(news) {
  for (const [name, values] of Object.entries(news)) {
    if (COLUMNS.includes(name))
      kept[name] = values.map((channel, k) => [...(kept[name]?.[k] ?? []), ...channel].slice(-MOST));
    else if (["seq", "time", "loss", "start", "symbol", "score", "threshold"].includes(name))
      kept[name] = [...(kept[name] ?? []), ...values].slice(-MOST);
  }
  alarms = [...alarms, ...news.alarms].slice(-100);
  note(news);
  if (kept.symbol) showText(news); else showChannels(news);
}

function note(news) {
  const parts = [`${number(news.seq.length)} new outputs, up to frame ${number(news.seq.at(-1))}`];
  if (news.start.slice(1).some(Boolean) || (news.start[0] && kept.seq.length > news.seq.length))
    parts.push("more come than can be shown: the newest of each moment are");
  if (kept.score?.length) parts.push(`score ${short(kept.score.at(-1))} of ${short(kept.threshold.at(-1))} that an alarm takes`);
  $("stream-note").textContent = `${parts.join("; ")}.`;
}

function showText(news) {
  $("text-view").hidden = false;
  const symbol = value => news.text ? printable(value) : `${value} `;
  const from = Math.max(kept.symbol.length - SYMBOLS, 0), pieces = [];
  for (let k = from; k < kept.symbol.length; k++) {
    if (kept.symbol[k] < 0) continue;
    if (kept.start[k] && k > from) pieces.push({kind: "skip", text: " ⋯ "});
    const bits = kept.loss[k] === null ? 0 : kept.loss[k] / Math.LN2;
    const step = STEPS.findIndex(least => bits >= least);
    const kind = step < 0 ? "" : `s${4 - step}`;
    if (pieces.length && pieces.at(-1).kind === kind) pieces.at(-1).text += symbol(kept.symbol[k]);
    else pieces.push({kind, text: symbol(kept.symbol[k])});
  }
  const inner = document.createElement("span");
  inner.append(...pieces.map(({kind, text}) => element("span", text, kind)));
  $("text").replaceChildren(inner);
  const rows = news.likely.map(([value, probability]) => {
    const row = document.createElement("tr"), head = element("th", news.text ? visible(value) : String(value));
    head.scope = "row";
    const middle = document.createElement("td"), meter = document.createElement("meter");
    meter.value = probability;
    meter.setAttribute("aria-hidden", "true");
    middle.append(meter);
    row.append(head, middle, element("td", `${(100 * probability).toFixed(1)} %`));
    return row;
  });
  $("likely").replaceChildren(...rows);
}

const printable = value => value === 10 ? "\n" : value === 9 ? "\t" : value >= 32 && value < 127 ? String.fromCharCode(value) : "·";
const visible = value => value === 32 ? "space" : value === 10 ? "↵" : value === 9 ? "tab"
  : value > 32 && value < 127 ? String.fromCharCode(value) : value.toString(16).padStart(2, "0");

function showChannels(news) {
  $("channel-legend").hidden = false;
  const count = kept.value.length, timed = kept.time.every(time => time !== null), x = timed ? kept.time : kept.seq;
  if (charts.length !== count) {
    charts.forEach(chart => chart.close());
    $("channels").replaceChildren();
    charts = Array.from({length: count}, (_, k) => channelChart(news, k, timed));
  }
  const at = new Map(kept.seq.map((seq, k) => [seq, x[k]]));
  const begins = alarms.filter(alarm => alarm.event === "begins" && at.has(alarm.seq));
  charts.forEach((chart, k) => {
    const name = news.names[news.first + k], last = COLUMNS.map(column => kept[column][k].at(-1));
    const marks = begins.filter(alarm => alarm.channels.includes(name)).map(alarm => ({x: at.get(alarm.seq), letter: "!"}));
    chart.show([x, ...COLUMNS.map(column => kept[column][k])], marks);
    const unit = news.units[news.first + k];
    chart.figure.textContent = `${short(last[0])}${unit ? ` ${unit}` : ""}, said ${short(last[1])}`;
    chart.place.setAttribute("aria-label",
      `${name}: value ${short(last[0])} ${unit}, prediction ${short(last[1])}, band ${short(last[2])} to ${short(last[3])}, surprise ${short(last[4])} nats`);
  });
  $("alarms").replaceChildren(...alarms.slice(-20).reverse().map(alarm => {
    const item = document.createElement("li"), when = at.get(alarm.seq);
    item.append(element("time", timed && when ? clock(when) : `frame ${number(alarm.seq)}`),
      `${alarm.event === "begins" ? "! alarm" : "over"}: ${alarm.words}`);
    return item;
  }));
}

function channelChart(news, k, timed) {
  const place = element("div", "", "chart"), title = document.createElement("h3"), figure = element("span");
  const holder = document.createElement("div"), unit = news.units[news.first + k];
  title.append(element("span", news.names[news.first + k]), figure);
  place.setAttribute("role", "img");
  holder.append(title, place);
  $("channels").append(holder);
  const chart = new Chart(place, {
    height: 180, time: timed, across: timed ? "time" : "frame", unit: unit || "value",
    series: [
      {stroke: "--a"}, {stroke: "--b", dash: [5, 4]}, {stroke: "", width: 0}, {stroke: "", width: 0},
      {stroke: "--area-line", fill: "--area", scale: "nats", width: 1},
    ],
    bands: [{series: [4, 3]}],
    scales: {nats: {range: (_, low, high) => [Math.min(low ?? 0, 0), 4 * Math.max(high ?? 1, 1)]}},
    axes: [{scale: "nats", side: 1, size: 40, grid: {show: false}, values: (_, splits) => splits.map(v => v === null ? "" : `${Number(v.toPrecision(3))}`)}],
  });
  chart.figure = figure;
  return chart;
}
