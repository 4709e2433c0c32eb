// Events in words, as a person tells what happened.
import { nameOf } from "/releases.js";
import { size } from "/time.js";

const bad = (text) => ({ text, bad: true });

// tell returns the text of an event; null for what only fills the page, unless
// all is true.
export function tell(e, all) {
  switch (e.kind) {
    case "login":
      if (e.status === 201) return { text: "renewed its token", mark: true };
      if (e.status === 200) return { text: "asked for a new token: the old one is still good" };
      return bad(`was refused a new token: ${e.status} ${e.why ?? ""}`);
    case "user-login":
      return e.status < 300 ? { text: "a user logged in" } : bad(`a user's login was refused: ${e.why ?? e.status}`);
    case "connect":
      if (!e.status) return { text: `connected by MQTT with token ${e.token}`, mark: true };
      return bad(`was refused by MQTT with code ${e.status}: ${e.why ?? ""}`);
    case "disconnect": return { text: "MQTT connection ended" };
    case "subscribe": return e.why ? bad(`SUBSCRIBE ${e.topic} refused`) : { text: `subscribed to ${e.topic}` };
    case "publish": return { text: `published ${e.topic}, ${size(e.size ?? 0)}` };
    case "sent": return { text: `was sent ${e.topic}`, mark: true };
    case "download": return { text: `fetched ${nameOf(e.id)}: ${size(e.size ?? 0)}${e.offset ? ` from byte ${e.offset}` : ""}`, mark: true };
    case "upload": return { text: `uploaded data file ${e.id}, ${size(e.size ?? 0)}`, mark: true };
    case "fault": return bad(`fault ${e.why}${e.op ? ` at ${e.op}` : ""}`);
    case "forbidden":
      if (e.why === "subscribe") return { text: `was refused to subscribe to ${e.topic}, which is not below its base` };
      return bad(`published ${e.topic}, which is not below its base`);
    case "leak": return bad(`showed its token to the other host: ${e.path}`);
    case "request":
      if (!all && e.status > 0 && e.status < 400) return null;
      return { text: `${e.method ?? ""} ${e.path ?? ""}: ${e.status || "cut off"}`, bad: !e.status || e.status >= 400 };
  }
  return all || e.cloud ? { text: [e.kind, e.op, e.method, e.path, e.status, e.why].filter(Boolean).join(" "), bad: e.status >= 400 } : null;
}

export const who = (e) => e.cloud ? e.cloud : e.device ? `device ${e.device}` : "cloud";
