// Data files that devices uploaded.
import { bytes, doing } from "/api.js";
import { byId, el, keyed, write } from "/dom.js";
import { clock, size } from "/time.js";

const maxShown = 256 << 10;

export function render({ list, count }) {
  write(byId("files-title"), count > list.length ? `Data files, ${list.length} of ${count}` : "Data files");
  keyed(byId("file-list"), list.toReversed(), (f) => f.id, make, (row, f) => {
    row.querySelector("button").hidden = f.puts === 0;
    write(row.querySelector(".name"), f.name || `data file ${f.id}`);
    write(row.querySelector(".note"), `${f.type}${f.module ? ` of ${f.module}` : ""}, device ${f.device}, ${f.puts ? size(f.size) : "registered, no content yet"}`);
  });
}

function make(f) {
  const button = el("button", { type: "button", "aria-label": `View data file ${f.id}` }, "View");
  button.addEventListener("click", () => doing(button, () => view(f)));
  return el("li", { id: `file-${f.id}` }, el("div", {}, el("p", { class: "name" }), el("p", { class: "note" })), button);
}

async function view(f) {
  const content = await bytes(`/data-files/${f.id}`);
  const shown = content.subarray(0, maxShown);
  const text = readable(shown);
  byId("viewer-title").textContent = `Data file ${f.id}`;
  byId("viewer-note").textContent = `${f.type}, created ${clock(f.created)}` +
    (content.length > maxShown ? `, its first ${size(maxShown)}` : "") + (text === null ? ", as hexadecimal" : "");
  byId("viewer-text").textContent = text ?? hexadecimal(shown.subarray(0, 8192));
  const save = byId("viewer-save");
  save.href = `/api/data-files/${f.id}`;
  save.download = `data-file-${f.id}`;
  byId("viewer").showModal();
}

// readable is content as text; null if it is none.
function readable(content) {
  const text = new TextDecoder("utf-8").decode(content, { stream: true });
  return /[\u0000-\u0008\u000e-\u001a\u001c-\u001f\ufffd]/.test(text) ? null : text;
}

function hexadecimal(content) {
  const lines = [];
  for (let i = 0; i < content.length; i += 16) {
    const row = [...content.subarray(i, i + 16)];
    lines.push(i.toString(16).padStart(6, "0") + "  " + row.map((b) => b.toString(16).padStart(2, "0")).join(" ").padEnd(48) +
      " " + row.map((b) => (b > 31 && b < 127 ? String.fromCharCode(b) : ".")).join(""));
  }
  return lines.join("\n");
}
