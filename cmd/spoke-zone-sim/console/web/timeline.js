// What each device did, newest first.
import { byId, el } from "/dom.js";
import { clock } from "/time.js";
import { tell, who } from "/words.js";

const maxKept = 1000;
const maxShown = 200;
let kept = [];
let due = false;

const list = byId("timeline-list");
const device = byId("timeline-device");
const all = byId("timeline-all");

export function forget() {
  kept = [];
  redraw();
}

export function add(e) {
  kept.push(e);
  if (kept.length > maxKept) kept = kept.slice(-maxKept / 2);
  if (due) return;
  due = true;
  requestAnimationFrame(redrawNew);
}

export const missed = ({ events }) => add({ kind: "missed", at: new Date().toISOString(), seq: -Date.now(), why: `${events} events went by too fast to be shown` });

function wanted(e) {
  if (device.value && String(e.device ?? "") !== device.value) return null;
  return e.kind === "missed" ? { text: e.why, bad: true } : tell(e, all.checked);
}

function row(e, words) {
  return el("li", { "data-seq": e.seq, class: words.bad ? "bad" : words.mark ? "mark" : undefined },
    el("time", { datetime: e.at }, clock(e.at)), el("span", { class: "who" }, who(e)), el("span", { class: "what" }, words.text));
}

// redrawNew puts what is new before what is there.
function redrawNew() {
  due = false;
  const newest = list.firstChild?.dataset.seq ?? "";
  const at = newest === "" ? -1 : kept.findLastIndex((e) => String(e.seq) === newest);
  for (const e of kept.slice(at + 1).slice(-maxShown)) {
    const words = wanted(e);
    if (words) list.prepend(row(e, words));
  }
  while (list.childElementCount > maxShown) list.lastChild.remove();
}

function redraw() {
  const rows = [];
  for (let i = kept.length - 1; i >= 0 && rows.length < maxShown; i--) {
    const words = wanted(kept[i]);
    if (words) rows.push(row(kept[i], words));
  }
  list.replaceChildren(...rows);
}

device.addEventListener("change", redraw);
all.addEventListener("change", redraw);
