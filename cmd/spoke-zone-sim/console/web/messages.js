// MQTT messages in both directions, newest first.
import { byId, el, write } from "/dom.js";
import { clock, size } from "/time.js";

const maxShown = 60;
const list = byId("message-list");

export const forget = () => list.replaceChildren();
export const count = (n) => write(byId("message-count"), !n ? "" : `${n} from devices`);

// pretty shows JSON that is short on one line with spaces, and the rest as it is.
function pretty(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 1).replace(/\n\s*/g, " ");
  } catch {
    return text;
  }
}

export function add(e) {
  if (e.kind !== "publish" && e.kind !== "sent") return;
  const from = e.kind === "publish";
  list.prepend(el("li", { class: from ? "from" : "to" },
    el("p", { class: "over" },
      el("span", { class: "arrow", role: "img", "aria-label": from ? "from the device" : "to the device" }, from ? "↑" : "↓"),
      el("code", { class: "topic" }, e.topic), el("time", { datetime: e.at }, clock(e.at))),
    el("code", { class: "payload" }, e.text !== undefined ? pretty(e.text) : e.size ? `${size(e.size)} that are no text` : "empty")));
  while (list.childElementCount > maxShown) list.lastChild.remove();
}
