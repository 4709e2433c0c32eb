// The admin API, as the page uses it.
import { say } from "/say.js";

async function ask(method, path, body) {
  const answer = await fetch("/api" + path, { method, body, credentials: "omit", cache: "no-store" });
  if (!answer.ok) throw new Error((await answer.text()).trim() || answer.statusText);
  return answer;
}

export const get = async (path) => (await ask("GET", path)).json();
export const bytes = async (path) => new Uint8Array(await (await ask("GET", path)).arrayBuffer());
export const post = async (path, value) =>
  (await ask("POST", path, value === undefined ? undefined : JSON.stringify(value))).json();

// upload sends a file and tells how much of it has gone.
export function upload(path, file, progress) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", "/api" + path);
    request.upload.addEventListener("progress", (e) => e.lengthComputable && progress(e.loaded / e.total));
    request.addEventListener("load", () => {
      if (request.status === 200) resolve(JSON.parse(request.responseText));
      else reject(new Error(request.responseText.trim() || request.statusText));
    });
    request.addEventListener("error", () => reject(new Error("the simulator does not answer")));
    request.send(file);
  });
}

// doing runs an action of a person: one at a time, and says what came of it.
export async function doing(control, action) {
  if (control.getAttribute("aria-disabled") === "true") return;
  control.setAttribute("aria-disabled", "true");
  try {
    const done = await action();
    if (done) say(done);
  } catch (problem) {
    say(problem.message === "Failed to fetch" ? "The simulator does not answer." : "Refused: " + problem.message, true);
  } finally {
    control.removeAttribute("aria-disabled");
  }
}

// onSubmit does action with the fields of a form when it is sent.
export function onSubmit(form, action) {
  form.addEventListener("submit", (e) => {
    e.preventDefault();
    doing(form.querySelector("button[type=submit]"), () => action(new FormData(form)));
  });
}
