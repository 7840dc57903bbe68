// The pages of the service: forms, the events of a job, and two ticks in the list of runs that lead to a comparison.

import { element } from "./dom.js";
import { serviceRoot } from "./service_api.js";
import { showChannels } from "./service_channels.js";
import { showForms } from "./service_forms.js";
import { showJob } from "./service_job.js";
import { showSchedule } from "./service_schedules.js";

let chosenRuns = [];

/** Lead to the comparison of two ticked runs, the older one as its base. A third tick replaces the first. */
function tickRun(box) {
  chosenRuns = box.checked ? [...chosenRuns, box] : chosenRuns.filter((each) => each !== box);
  if (chosenRuns.length > 2) chosenRuns.shift().checked = false;
  const bar = document.getElementById("compared");
  bar.dataset.says ??= bar.textContent;
  bar.replaceChildren(bar.dataset.says);
  if (chosenRuns.length < 2) return;
  const rows = [...document.querySelectorAll("#run-table tbody tr")];
  const [newer, older] = rows
    .filter((row) => chosenRuns.some((each) => row.contains(each)))
    .map((row) => row.dataset.run);
  const query = new URLSearchParams({ base: older, new: newer });
  bar.replaceChildren(element("a", { href: `${serviceRoot}/compare?${query}` }, `Compare ${older} and ${newer}`));
}

document.documentElement.classList.add("scripted");
showForms();
showJob();
showSchedule();
showChannels();
for (const box of document.querySelectorAll("#run-table .tick")) box.addEventListener("change", () => tickRun(box));
document.documentElement.dataset.ready = "true";
