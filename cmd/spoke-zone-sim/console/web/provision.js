// A new gateway's files.
import { onSubmit, post } from "/api.js";
import { byId, el, write } from "/dom.js";

export function cloud(state) {
  write(byId("gateways"), `below ${state.gateways}`);
}

export function start() {
  const dialog = byId("provision");
  const form = byId("provision-form");
  byId("provision-open").addEventListener("click", () => {
    byId("provisioned").replaceChildren();
    dialog.querySelector(".here").textContent = "";
    if (!form.elements.name.value) form.elements.name.value = "gateway";
    dialog.showModal();
  });
  // To write a directory's name is to choose that way.
  form.elements.name.addEventListener("input", () => { form.elements.how.value = "write"; });
  form.elements.dir.addEventListener("input", () => { form.elements.how.value = "download"; });
  onSubmit(form, async (fields) => {
    byId("provisioned").replaceChildren();
    const write = fields.get("how") === "write";
    const made = await post("/gateways", {
      device: Number(fields.get("device")), version: fields.get("version"), policy: fields.get("policy"),
      modules: fields.get("modules").split(/[\s,]+/).filter(Boolean),
      ...(write ? { name: fields.get("name") || "gateway" } : { dir: fields.get("dir") }),
    });
    show(made);
    if (write) form.elements.name.value = `gateway-${made.device + 1}`;
    return `Device ${made.device} is provisioned.`;
  });
}

function show(made) {
  const command = `spoke-zone-agent run --config ${made.dir}/agent.conf`;
  byId("provisioned").replaceChildren(
    made.written ? el("p", { class: "note" }, `Written to ${made.dir}.`) : el("ul", { class: "downloads" }, ...made.names.map((name) => download(name, made.files[name]))),
    el("p", { class: "note" }, made.written ? "Start its agent:" : `Put them into ${made.dir}, then start its agent:`),
    el("code", { class: "whole", tabindex: 0, id: "start-command" }, command));
}

function download(name, text) {
  const link = el("a", { class: "button", download: name.replaceAll("/", "-") }, name);
  link.href = URL.createObjectURL(new Blob([text], { type: "application/octet-stream" }));
  return el("li", {}, link);
}
