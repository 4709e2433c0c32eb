// Faults of every cloud, each with a switch and when it happens.
import { doing, get, post } from "/api.js";
import { byId, el, write } from "/dom.js";

const names = { "": "Spoke Zone", "beacon-tower": "Beacon Tower", bace: "BACE", placeos: "PlaceOS", beamery: "Beamery" };
const rows = new Map(); // by the whole name
let on = {};

export async function start() {
  byId("fault-find").addEventListener("input", find);
  byId("faults-off").addEventListener("click", (e) => doing(e.currentTarget, async () => {
    const names = Object.keys(on);
    await post("/fault", Object.fromEntries(names.map((name) => [name, "off"])));
    return names.length ? "All faults are off." : "No fault was on.";
  }));
  const clouds = await get("/faults");
  byId("fault-groups").replaceChildren(...clouds.map(group));
  render(on);
}

function group(cloud) {
  const list = el("ul", { class: "faults", "aria-label": `Faults of ${names[cloud.cloud] ?? cloud.cloud}` });
  for (const fault of cloud.faults) {
    const name = cloud.cloud ? `${cloud.cloud}.${fault.name}` : fault.name;
    const r = row(name, fault);
    rows.set(name, r);
    list.append(r.node);
  }
  return el("details", { class: "panel", "data-cloud": cloud.cloud },
    el("summary", {}, el("span", {}, names[cloud.cloud] ?? cloud.cloud), el("span", { class: "note" })), list,
    el("p", { class: "note" }, "Operations: " + cloud.operations.join(", ")));
}

function row(name, fault) {
  const knob = el("button", { type: "button", role: "switch", "aria-checked": "false", "aria-label": name, class: "switch" });
  const when = el("input", { "aria-label": `When ${name} happens`, placeholder: fault.arg ? `always@${fault.default || fault.arg}` : "always", maxlength: 96, autocomplete: "off", autocapitalize: "off", spellcheck: "false" });
  const set = (text) => doing(knob, async () => {
    await post("/fault", { [name]: text });
    return `${name} is ${text === "off" ? "off" : "on: " + text}.`;
  });
  knob.addEventListener("click", () => set(name in on ? "off" : when.value.trim() || "always"));
  when.addEventListener("keydown", (e) => { if (e.key === "Enter") set(when.value.trim() || "always"); });
  const node = el("li", {}, knob,
    el("div", {}, el("code", {}, fault.name), el("p", { class: "note" }, fault.doc + (fault.arg ? ` (@ ${fault.arg})` : ""))), when);
  return { node, knob, when, text: (name + " " + fault.doc).toLowerCase() };
}

export function render(switches) {
  on = switches;
  for (const [name, r] of rows) {
    const text = on[name];
    r.knob.setAttribute("aria-checked", text !== undefined);
    r.node.dataset.on = text !== undefined;
    if (text !== undefined && document.activeElement !== r.when) r.when.value = text;
  }
  const n = Object.keys(on).length;
  write(byId("fault-count"), n === 0 ? "none is on" : n === 1 ? "1 is on" : `${n} are on`);
  for (const d of byId("fault-groups").children) {
    const all = d.querySelectorAll("li");
    const live = d.querySelectorAll("li[data-on=true]").length;
    write(d.querySelector("summary .note"), `${all.length} faults${live ? `, ${live} on` : ""}`);
  }
}

function find() {
  const wanted = byId("fault-find").value.trim().toLowerCase();
  for (const r of rows.values()) r.node.hidden = wanted !== "" && !r.text.includes(wanted);
  for (const d of byId("fault-groups").children) {
    const some = d.querySelector("li:not([hidden])") !== null;
    d.hidden = !some;
    if (wanted !== "") d.open = some;
  }
}
