// The page: one connection that tells what is new, and a view that its address holds.

import {Chart} from "./charts.js";
import {$, bytes, clock, element, number, seconds, table} from "./format.js";
import {pipeline} from "./pipeline.js";
import * as stream from "./stream.js";

const CHANNELS = 8, SAMPLES = 1200, CHECKPOINTS = 5;  // that are shown
const LETTERS = {checkpoint: "C", recovery: "R", rate: "L"};

const view = {stream: "", first: 0, range: "run", ...Object.fromEntries(new URLSearchParams(location.hash.slice(1)))};
view.first = Number(view.first) || 0;
let source, samples = [], curve = [], marks = [], about = {}, run = "", total = 0, sought;

const lossChart = new Chart($("loss"), {height: 230, across: "frames scored", unit: "loss", series: [{stroke: "--a", width: 2, spanGaps: true}, {stroke: "--b", dash: [6, 3], spanGaps: true}]});
const rateChart = new Chart($("rate"), {height: 230, time: true, across: "time", unit: "frames/s", series: [{stroke: "--a"}],
  scales: {y: {range: (_, low, high) => [0, Math.max(high * 1.1, 1)]}}});

const unit = () => about.tokens ? "bits/symbol" : "nats/frame";
const inUnit = nats => nats === null ? null : about.tokens ? nats / Math.LN2 : nats;

function remember() {
  history.replaceState(null, "", `#${new URLSearchParams(view)}`);
}

function connect() {
  source?.close();
  const query = new URLSearchParams({stream: view.stream, first: view.first, count: CHANNELS});
  source = new EventSource(`events?${query}`);
  const on = (kind, act) => source.addEventListener(kind, event => act(JSON.parse(event.data)));
  on("begin", begin);
  on("look", look);
  on("outputs", outputs);
  on("empty", () => say("No outputs of this stream yet, or none that are kept."));
  on("crowded", () => say("As many streams as can be are being looked at: close another page."));
  on("gone", news => state("gone", `the daemon does not answer: ${news.trouble}`));
  source.onerror = () => state("gone", source.readyState === EventSource.CLOSED
    ? "this page is no longer let in: open the address with the token that was printed"
    : "the page's own process does not answer, trying again");
}

const say = text => { $("stream-note").textContent = text; };

function state(kind, text) {
  $("state").dataset.state = kind;
  if ($("state").textContent !== text) $("state").textContent = text;
}

function begin(news) {
  about = news.about;
  samples = [];
  curve = [];
  if (news.run !== run) stream.forget();  // else only what was missed comes
  run = news.run;
  $("name").textContent = about.name;
  document.title = `${about.name} – streamrnn`;
  if (!view.stream) choose();
}

// Without a choice it is the stream with the newest output.
async function choose() {
  const [newest] = await find("");
  if (newest && !view.stream) open(newest);
  else if (!newest) setTimeout(() => view.stream || choose(), 1000);
}

async function find(like) {
  const answer = await fetch(`streams?${new URLSearchParams({like})}`);
  return answer.ok ? answer.json() : [];
}

function open(name, first = 0) {
  if (name === view.stream && first === view.first && source) return;
  Object.assign(view, {stream: name, first});
  $("stream").value = name;
  stream.forget();
  say("Looking for its outputs.");
  remember();
  connect();
}

function look(news) {
  samples = [...samples, ...news.samples].slice(-SAMPLES);
  if (news.curve) curve = news.curve;
  if (news.marks) happened(news.marks);
  const left = news.catching_up;
  state(news.state, news.state + (left ? `: ${number(left.frames)} frames${left.seconds === null ? "" : `, about ${seconds(left.seconds)}`} left` : ""));
  figures(news);
  pipeline(news.workers);
  losses(news);
  rateChart.show([samples.map(sample => sample[0]), samples.map(sample => sample[4])]);
  $("rate").setAttribute("aria-label", `${number(news.frames_per_second, 0)} frames a second`);
  refused(news);
  kept(news);
}

function happened(news) {
  marks = news;
  const often = marks.filter(mark => mark.kind === "checkpoint").slice(-CHECKPOINTS);
  const told = [...marks.filter(mark => mark.kind !== "checkpoint"), ...often].sort((a, b) => b.when - a.when);
  $("events").replaceChildren(...told.map(mark => {
    const item = document.createElement("li");
    item.append(element("time", clock(mark.when)), `${LETTERS[mark.kind]}  ${mark.words}, at frame ${number(mark.frames)}`);
    return item;
  }));
}

function figures(news) {
  const rows = [
    ["frames", number(news.frames), ""], ["frames a second", number(news.frames_per_second, 0), "/s"],
    ["loss of all", number(inUnit(news.loss)), unit()], ["of the last 10,000", number(inUnit(news.recent_loss)), unit()],
    ["streams", number(news.streams), news.streams_on_disk ? `and ${number(news.streams_on_disk)} on disk` : ""],
    ["learning rate", news.learning_rate === null ? "–" : String(Number(news.learning_rate.toPrecision(3))), ""],
    ["up", seconds(news.seconds), ""],
  ];
  const list = $("figures");
  if (list.children.length !== rows.length) {
    list.replaceChildren(...rows.map(() => {
      const pair = document.createElement("div"), value = document.createElement("dd");
      value.append(element("span"), " ", element("small"));
      pair.append(document.createElement("dt"), value);
      return pair;
    }));
    [...list.children].forEach((pair, k) => { pair.lastChild.firstChild.id = `figure-${rows[k][0].replaceAll(/\W+/g, "-")}`; });
  }
  rows.forEach(([name, value, more], k) => {
    const [label, holder] = list.children[k].children;
    label.textContent = name;
    holder.firstChild.textContent = value;
    holder.lastChild.textContent = more;
  });
}

function losses(news) {
  const scored = samples.filter(sample => sample[3] !== null);
  const frames = scored.map(sample => sample[1]), recent = scored.map(sample => inUnit(sample[3]));
  const first = view.range === "run"
    ? [curve.map((_, k) => (k + 1) * news.curve_step), curve.map(inUnit)]
    : [frames, scored.map(sample => inUnit(sample[2]))];
  const lines = marks.map(mark => ({x: mark.frames, letter: LETTERS[mark.kind], often: mark.kind === "checkpoint"})).sort((a, b) => a.x - b.x);
  lossChart.show(uPlot.join([first, once(frames, recent)]), lines);
  if (lossChart.unit !== unit()) {
    lossChart.unit = unit();
    lossChart.restyle();
  }
  $("loss").setAttribute("aria-label", `Loss of all ${number(inUnit(news.loss))}, of the last 10,000 frames ${number(inUnit(news.recent_loss))} ${unit()}`);
}

// Of samples at the same frame the last: a chart's places rise.
function once(x, y) {
  const keep = x.map((value, k) => k === x.length - 1 || x[k + 1] > value);
  return [x.filter((_, k) => keep[k]), y.filter((_, k) => keep[k])];
}

function refused(news) {
  const rows = [
    ["requests of clients", number(news.refused)], ["new streams, for want of room", number(news.streams_refused)],
    ["connections without a key", number(news.rejected)], ["messages that could not be read", number(news.bad)],
    ["updates whose gradient was not finite", number(news.skipped_updates)],
    ...Object.entries(news.passed_over).map(([reason, count]) => [`passed over by sources: ${reason}`, number(count)]),
    ...news.sources.filter(one => one.trouble).map(one => [one.line, one.trouble]),
  ];
  if (news.full) rows.unshift(["taking nothing new", news.full]);
  table($("refused"), rows);
}

function kept(news) {
  const {journal, checkpoint} = news;
  table($("kept"), [
    ["journal", bytes(journal.bytes)], ["records behind the checkpoint", number(journal.records)],
    ["records not yet on the disk", number(journal.not_durable)],
    ["newest checkpoint", checkpoint ? `${checkpoint.number}, ${seconds(checkpoint.seconds)} ago` : "none yet"],
    ["frames in it", checkpoint ? number(checkpoint.frames) : "–"], ["recoveries", number(news.recoveries)],
    ...news.sinks.map(sink => [`sink ${sink.line}`, sink.trouble || `${number(sink.written)} written, ${number(sink.missed)} missed`]),
  ]);
}

function outputs(news) {
  stream.show(news);
  total = news.names.length;
  $("pages").hidden = total <= CHANNELS;
  $("page").textContent = `channels ${view.first + 1} to ${Math.min(view.first + CHANNELS, total)} of ${total}`;
  $("previous").disabled = view.first === 0;
  $("next").disabled = view.first + CHANNELS >= total;
}

$("range").value = view.range;
$("stream").value = view.stream;
$("range").addEventListener("change", () => { view.range = $("range").value; remember(); });
$("stream").addEventListener("input", () => {
  clearTimeout(sought);
  sought = setTimeout(async () => {
    const names = await find($("stream").value);
    $("streams").replaceChildren(...names.map(name => { const option = document.createElement("option"); option.value = name; return option; }));
  }, 150);
});
$("stream").addEventListener("change", () => $("stream").value && open($("stream").value));
$("previous").addEventListener("click", () => open(view.stream, Math.max(view.first - CHANNELS, 0)));
$("next").addEventListener("click", () => open(view.stream, view.first + CHANNELS));
addEventListener("keydown", event => {
  if (event.key === "/" && document.activeElement !== $("stream")) {
    event.preventDefault();
    $("stream").select();
  }
});
connect();
