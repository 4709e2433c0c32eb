// What came of an action is shown, and read out, in one place: below, or in the
// dialog that is open, beside which nothing is heard.
import { byId } from "/dom.js";

let timer;

export function say(text, bad = false) {
  const here = document.querySelector("dialog[open] .here");
  if (here) {
    here.textContent = text;
    here.dataset.bad = bad;
    return;
  }
  const said = byId("said");
  said.textContent = text;
  said.dataset.bad = bad;
  said.classList.add("shown");
  clearTimeout(timer);
  timer = setTimeout(() => said.classList.remove("shown"), bad ? 12000 : 6000);
}
