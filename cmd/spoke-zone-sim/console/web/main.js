// Who listens to what.
import * as cloud from "/cloud.js";
import * as devices from "/devices.js";
import * as faults from "/faults.js";
import * as files from "/files.js";
import * as live from "/live.js";
import * as messages from "/messages.js";
import * as provision from "/provision.js";
import * as releases from "/releases.js";
import { say } from "/say.js";
import * as talk from "/talk.js";
import * as time from "/time.js";
import * as timeline from "/timeline.js";

live.on("hello", ({ fresh }) => {
  if (!fresh) return; // it goes on where it was
  timeline.forget();
  messages.forget();
});
live.on("now", time.set);
live.on("cloud", cloud.render);
live.on("cloud", devices.cloud);
live.on("cloud", provision.cloud);
live.on("devices", devices.render);
live.on("releases", releases.render);
live.on("files", files.render);
live.on("faults", faults.render);
live.on("published", messages.count);
live.on("happened", timeline.add);
live.on("happened", messages.add);
live.on("missed", timeline.missed);

for (const part of [talk, releases, provision, cloud]) part.start();
faults.start().catch((problem) => say("The faults could not be listed: " + problem.message, true));
live.start();
setInterval(() => {
  cloud.tick();
  devices.tick();
}, 500);
