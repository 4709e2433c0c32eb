// The cloud itself: its clock and its addresses.
import { doing, onSubmit, post } from "/api.js";
import { byId, el, keyed, write } from "/dom.js";
import * as time from "/time.js";

export function render(state) {
  const offset = time.duration(state.offset);
  write(byId("clock-label"), offset === 0 ? "The cloud's clock" : `The cloud's clock, ${time.span(Math.abs(offset))} ${offset > 0 ? "ahead" : "behind"}`);
  if (document.activeElement !== byId("offset").elements.offset) byId("offset").elements.offset.value = state.offset;
  const rows = [["API", state.api], ["MQTT", state.mqtt], ["Admin", state.admin], ...Object.entries(state.clouds ?? {}).map(([name, url]) => [name.replace("-mqtt", " MQTT"), url]),
    ["Tokens", `live ${time.span(time.duration(state.token_life))}, renewed from ${time.span(time.duration(state.window))} before to ${time.span(time.duration(state.grace))} after`]];
  keyed(byId("addresses"), rows.filter(([, text]) => text), ([name]) => name,
    ([name]) => el("div", {}, el("dt", {}, name), el("dd")), (row, [, text]) => write(row.lastChild, text));
}

export function tick() {
  write(byId("clock"), `${time.day(time.now())}, ${time.clock(time.now())}`);
}

export function start() {
  onSubmit(byId("offset"), async (fields) => {
    const { offset } = await post("/clock", { offset: fields.get("offset") });
    return offset === "0s" ? "The cloud's clock is right." : `The cloud's clock is off by ${offset}.`;
  });
  byId("drop").addEventListener("click", (e) => doing(e.currentTarget, async () => {
    await post("/mqtt/drop");
    return "Every MQTT connection was cut.";
  }));
}
