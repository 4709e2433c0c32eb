// The stream of what happens. The browser connects again by itself, and says
// which event it has seen last; where it gives up we do it.
import { byId, write } from "/dom.js";
import { say } from "/say.js";

const listeners = new Map();
const words = { live: "live", waiting: "connecting", lost: "no answer, trying again" };
let last = "";
let source;

export function on(kind, listener) {
  listeners.set(kind, [...(listeners.get(kind) ?? []), listener]);
}

// show says how the line is; aloud only when it is lost and when it is back.
function show(state) {
  const before = byId("link").dataset.state;
  if (state === "lost" && before === "live") say("The simulator does not answer. Trying again.", true);
  if (state === "live" && before === "lost") say("The simulator answers again.");
  byId("link").dataset.state = state;
  write(byId("link-text"), words[state]);
}

export function start() {
  source = new EventSource("/live" + (last ? "?after=" + encodeURIComponent(last) : ""));
  source.addEventListener("open", () => show("live"));
  source.addEventListener("error", () => {
    show("lost");
    if (source.readyState === EventSource.CLOSED) setTimeout(start, 2000);
  });
  for (const [kind, all] of listeners) {
    source.addEventListener(kind, (e) => {
      if (e.lastEventId) last = e.lastEventId;
      const value = JSON.parse(e.data);
      all.forEach((listener) => listener(value));
    });
  }
}
