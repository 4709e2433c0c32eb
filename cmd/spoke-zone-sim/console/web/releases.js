// Releases: files for devices to fetch.
import { doing, onSubmit, post, upload } from "/api.js";
import { byId, el, keyed, write } from "/dom.js";
import { size } from "/time.js";

const names = new Map(); // by id

export const nameOf = (id) => names.get(id) ?? `release ${id}`;

export function render({ list, transfers }) {
  for (const r of list) names.set(r.id, `${r.module} ${r.version}`);
  const sizes = new Map(list.map((r) => [r.id, r.size]));
  keyed(byId("release-list"), list.toReversed(), (r) => r.id, make, (row, r) => {
    row.dataset.active = r.active;
    const button = row.querySelector("button");
    write(button, r.active ? "Withdraw" : "Activate");
    button.setAttribute("aria-label", `${r.active ? "Withdraw" : "Activate"} ${r.module} ${r.version}`);
    write(row.querySelector(".note"), `${size(Math.max(0, r.size))}, ${r.active ? (r.served ? `${size(r.served)} sent` : "not fetched yet") : "withdrawn"}`);
    keyed(row.querySelector("ul"), transfers.filter((t) => t.id === r.id), (t) => t.device, (t) => el("li", {},
      el("span", {}, t.device ? `device ${t.device}` : "a device"), el("progress", { max: 1, "aria-label": `Fetch of ${r.module} ${r.version}` })),
    (line, t) => { line.lastChild.value = sizes.get(t.id) > 0 ? Math.min(1, (t.offset + t.sent) / sizes.get(t.id)) : 0; });
  });
}

function make(r) {
  const button = el("button", { type: "button" });
  button.addEventListener("click", () => doing(button, async () => {
    const verb = button.textContent.toLowerCase();
    await post(`/ota/${r.id}/${verb}`);
    return `${r.module} ${r.version} is ${verb === "withdraw" ? "withdrawn" : "active"}.`;
  }));
  return el("li", { id: `release-${r.id}` },
    el("div", {}, el("p", { class: "name" }, el("span", {}, r.module), " ", el("strong", {}, r.version)), el("p", { class: "note" }), el("ul", { class: "transfers" })), button);
}

export function start() {
  onSubmit(byId("release"), async (fields) => {
    const sent = byId("release-sent");
    const query = new URLSearchParams({ module: fields.get("module"), version: fields.get("version"), notes: fields.get("notes") });
    sent.hidden = false;
    try {
      const made = await upload("/ota?" + query, fields.get("file"), (share) => { sent.value = share; });
      byId("release").reset();
      return `Released ${fields.get("module")} ${fields.get("version")}, ${size(made.size)}.`;
    } finally {
      sent.hidden = true;
      sent.value = 0;
    }
  });
}
