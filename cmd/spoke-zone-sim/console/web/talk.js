// Commands and the level of diagnostics, for one device.
import { onSubmit, post } from "/api.js";
import { byId } from "/dom.js";

function device() {
  const id = Number(byId("talk-device").value);
  if (!id) throw new Error("there is no device yet");
  return id;
}

export function start() {
  onSubmit(byId("command"), async (fields) => {
    const { topic } = await post("/mqtt/publish", { device: device(), command: fields.get("command"), payload: fields.get("payload"), qos: 1 });
    return `Sent ${topic}.`;
  });
  onSubmit(byId("diagnostics"), async (fields) => {
    const level = fields.get("level");
    const payload = JSON.stringify({ level, broadcast_interval: Number(fields.get("interval")) || null });
    await post("/mqtt/publish", { device: device(), command: "diagnostics", payload, qos: 1 });
    return `Level ${level} was sent to device ${device()}.`;
  });
}
