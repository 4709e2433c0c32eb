// Devices, each with the life of its token.
import { doing, post } from "/api.js";
import { byId, el, keyed, options, write } from "/dom.js";
import * as time from "/time.js";
import { say } from "/say.js";

let window_ = 0; // before expiry, in which a token is renewed; ms
let devices = [];
const parts = new Map(); // of each device's panel, by id

export function cloud(state) {
  window_ = time.duration(state.window);
  tick();
}

export function render(state) {
  const before = new Map(devices.map((d) => [d.id, d.connections > 0]));
  devices = state.list;
  keyed(byId("device-list"), devices, (d) => d.id, make, update);
  const named = devices.map((d) => [d.id, "device " + d.id]);
  options(byId("timeline-device"), [["", "all devices"]], named);
  options(byId("talk-device"), named.length ? [] : [["", "no device yet"]], named);
  options(byId("provision-device"), [["0", "a new one"]], named);
  write(byId("devices-title"), state.count > devices.length ? `Devices, ${devices.length} of ${state.count}` : "Devices");
  for (const d of devices) {
    if (before.has(d.id) && before.get(d.id) !== d.connections > 0 && devices.length < 20) {
      say(`Device ${d.id} is ${d.connections > 0 ? "online" : "offline"}.`);
    }
  }
  tick();
}

function make(d) {
  const p = {
    state: el("p", { class: "state" }), token: el("span", { class: "token" }), left: el("strong", { class: "left" }),
    fill: el("div", { class: "fill" }), mark: el("div", { class: "mark" }), note: el("p", { class: "note" }),
    from: el("span"), to: el("span"), facts: el("dl", { class: "facts" }), whole: el("code", { class: "whole", hidden: true, tabindex: 0 }),
  };
  const title = `device-${d.id}`;
  p.bar = el("div", { class: "bar", role: "meter", "aria-label": `Life of the token of device ${d.id}`, "aria-valuemin": 0, "aria-valuemax": 100 }, p.fill, p.mark);
  const reveal = el("button", { type: "button", "aria-expanded": "false", "aria-label": `Show the whole token of device ${d.id}` }, "Show token");
  reveal.addEventListener("click", () => show(d.id, reveal, p.whole));
  const cut = el("button", { type: "button", "aria-label": `Cut MQTT of device ${d.id}` }, "Cut MQTT");
  cut.addEventListener("click", () => doing(cut, async () => {
    await post(`/mqtt/drop?device=${d.id}`);
    return `The MQTT connection of device ${d.id} was cut.`;
  }));
  parts.set(d.id, p);
  return el("article", { class: "device panel", "aria-labelledby": title, id: `d${d.id}` },
    el("header", {}, el("h3", { id: title }, `Device ${d.id}`), p.state),
    el("div", { class: "life" },
      el("p", { class: "over" }, p.token, p.left), p.bar, el("p", { class: "under" }, p.from, p.to), p.note),
    p.facts, el("p", { class: "actions" }, cut, reveal), p.whole);
}

async function show(id, button, whole) {
  if (button.getAttribute("aria-expanded") === "true") {
    whole.textContent = "";
  } else {
    await doing(button, async () => { whole.textContent = (await post(`/devices/${id}/reveal`)).token || "It has none."; });
  }
  const open = whole.textContent !== "";
  whole.hidden = !open;
  button.setAttribute("aria-expanded", open);
  button.textContent = open ? "Hide token" : "Show token";
}

function update(node, d) {
  const p = parts.get(d.id);
  const versions = Object.entries(d.versions ?? {}).map(([key, value]) => `${key} ${value}`).join(", ");
  const facts = [["Versions", versions || "not told yet"], ["Topics", d.base + "/#"], ["Modules", (d.modules ?? []).join(", ") || "any"]];
  if (d.standing.lat !== undefined) facts.push(["Location", `${d.standing.lat.toFixed(5)}, ${d.standing.lon.toFixed(5)}`]);
  keyed(p.facts, facts, ([name]) => name,
    ([name]) => el("div", {}, el("dt", {}, name), el("dd")), (row, [, text]) => write(row.lastChild, text));
  node.dataset.online = d.connections > 0;
}

// tick shows what the clock alone changes.
export function tick() {
  for (const d of devices) {
    const p = parts.get(d.id);
    const token = d.standing.in_use ?? d.standing.newest;
    write(p.state, d.connections > 0 ? (d.connections > 1 ? `online, ${d.connections} connections` : "online") : `offline, ${time.since(d.standing.last_online)}`);
    p.bar.hidden = !token;
    if (token) life(p, d, token);
    else write(p.token, "No token yet: provision it.");
  }
}

function life(p, d, token) {
  const from = Date.parse(token.issued);
  const until = Date.parse(token.expires);
  const left = until - time.now();
  const share = Math.min(1, Math.max(0, left / (until - from)));
  const state = token.revoked ? "revoked" : left <= 0 ? "expired" : left <= window_ ? "renewing" : "good";
  const words = { revoked: "revoked", expired: `expired ${time.span(-left)} ago`, renewing: `${time.span(left)} left`, good: `${time.span(left)} left` }[state];
  p.bar.dataset.state = state;
  p.fill.style.setProperty("--share", share);
  p.mark.style.setProperty("--at", Math.min(1, window_ / (until - from)));
  p.bar.setAttribute("aria-valuenow", Math.round(share * 100));
  p.bar.setAttribute("aria-valuetext", words);
  write(p.token, `Token ${token.tail}`);
  write(p.left, words);
  write(p.from, `issued ${time.moment(from)}`);
  write(p.to, `expires ${time.moment(until)}`);
  const newer = d.standing.newest && d.standing.newest.tail !== token.tail && Date.parse(d.standing.newest.issued) >= from;
  write(p.note, newer ? `A newer one, ${d.standing.newest.tail}, was issued and not yet used.`
    : !d.standing.in_use ? "Not used yet: start the agent."
      : state === "renewing" ? "In the window in which the cloud renews it." : `Renewed from ${time.span(window_)} before its end.`);
}
