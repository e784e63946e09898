// The pipeline as it is: a box for each worker, in the order in which frames go through.

import {$, bytes, element, number, seconds} from "./format.js";

const LATE = 2;  // seconds without a report

const boxes = new Map();

function box(name) {
  const item = document.createElement("li"), list = document.createElement("dl"), busy = element("div", "", "busy");
  const meter = document.createElement("meter"), share = element("span");
  meter.setAttribute("aria-label", "share of time busy");
  busy.append(meter, share);
  const title = element("strong");
  item.append(title, busy, list);
  const facts = new Map();
  const fact = (label, text) => {
    if (!facts.has(label)) {
      const value = document.createElement("dd");
      list.append(element("dt", label), value);
      facts.set(label, value);
    }
    facts.get(label).textContent = text;
  };
  return {item, title, meter, share, fact};
}

export function pipeline(workers) {
  for (const name of boxes.keys()) if (!workers.some(worker => worker.name === name)) boxes.delete(name);
  for (const worker of workers) {
    if (!boxes.has(worker.name)) boxes.set(worker.name, box(worker.name));
    const {item, title, meter, share, fact} = boxes.get(worker.name);
    title.textContent = worker.does;
    meter.value = worker.share ?? 0;
    share.textContent = worker.share === null ? "– busy" : `${Math.round(100 * worker.share)} % busy${worker.queue === null ? " or full" : ""}`;
    fact("queue", worker.queue === null ? "at its sources" : `${number(worker.queue)} rows`);
    fact("memory", bytes(worker.memory));
    const late = worker.heard === null || worker.heard > LATE;
    fact("heartbeat", worker.heard === null ? "not yet" : `${worker.heard.toFixed(1)} s ago${late ? ", late" : ""}`);
    fact("longest silence", seconds(worker.silence));
    if (worker.device) fact("device", worker.device);
    fact("process", `pid ${worker.pid}`);
    item.classList.toggle("late", late);
  }
  const wanted = workers.map(worker => boxes.get(worker.name).item), list = $("pipeline");
  if (wanted.length !== list.children.length || wanted.some((item, k) => item !== list.children[k]))
    list.replaceChildren(...wanted);
}
