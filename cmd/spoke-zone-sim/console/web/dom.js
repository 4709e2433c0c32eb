// Elements are made of text and of other elements, never of markup: what a
// device says stays text.

// el makes an element. Attributes that are false, null or undefined are left
// out; those named on... are listeners.
export function el(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== undefined && child !== null && child !== false));
  return made;
}

export const byId = (id) => document.getElementById(id);

// write changes a text only when it differs, so that nothing is read out or
// selected anew.
export function write(node, text) {
  if (node.textContent !== String(text)) node.textContent = text;
}

const kept = new WeakMap();

// keyed makes the children of parent those of items, and keeps the elements of
// items that were there before: focus and open parts stay.
export function keyed(parent, items, key, make, update) {
  const before = kept.get(parent) ?? new Map();
  const now = new Map();
  items.forEach((item) => {
    const name = key(item);
    const node = before.get(name) ?? make(item);
    update?.(node, item);
    now.set(name, node);
  });
  for (const [name, node] of before) if (!now.has(name)) node.remove();
  parent.querySelector(":scope > .empty")?.toggleAttribute("hidden", now.size > 0);
  let at = parent.querySelector(":scope > .empty")?.nextSibling ?? null;
  if (!parent.querySelector(":scope > .empty")) at = parent.firstChild;
  for (const node of now.values()) {
    if (node === at) at = at.nextSibling;
    else parent.insertBefore(node, at);
  }
  kept.set(parent, now);
}

// options keeps a select's first options and follows them with values.
export function options(select, fixed, values) {
  const want = [...fixed, ...values];
  const have = [...select.options].map((option) => option.value + "\n" + option.text);
  if (have.join("\t") === want.map(([value, text]) => value + "\n" + text).join("\t")) return;
  const chosen = select.value;
  select.replaceChildren(...want.map(([value, text]) => el("option", { value }, text)));
  if (want.some(([value]) => String(value) === chosen)) select.value = chosen;
}
