// Schedules: the form that makes one and shows when it would be due, and the buttons of one.

import { element } from "./dom.js";
import { ask, serviceRoot, showProblem } from "./service_api.js";

/** Milliseconds after the last key before the times are asked for. */
const PAUSE_MS = 400;

/** Show the next times of what the form of a schedule says, once that is changed. */
export function showTimes(form) {
  const place = form.querySelector("[data-shows='times']");
  let waiting;
  let asked = 0;
  const show = async () => {
    asked += 1;
    const mine = asked;
    const query = new URLSearchParams({ cron: form.elements.cron.value, zone: form.elements.zone.value });
    let text;
    try {
      const { local, refused } = await ask("GET", `/cron?${query}`);
      text = refused ?? `Next: ${local.join("; ")}.`;
    } catch (problem) {
      text = problem.detail;
    }
    if (mine === asked) place.textContent = text;
  };
  form.addEventListener("input", ({ target }) => {
    if (!["cron", "zone"].includes(target.name)) return;
    clearTimeout(waiting);
    waiting = setTimeout(show, PAUSE_MS);
  });
}

/** The body of a request for a schedule; empty fields are left out. */
export function scheduleOf(values) {
  return Object.fromEntries(
    ["name", "cron", "zone", "host", "baseline", "sweep", "expected"]
      .map((name) => [name, values.get(name)])
      .filter(([, value]) => value),
  );
}

/** The buttons of a schedule: run it now, pause it, let it go on, delete it. A second press deletes. */
export function showSchedule() {
  const page = document.querySelector("[data-schedule]");
  if (!page) return;
  const path = `/schedules/${page.dataset.schedule}`;
  const said = page.querySelector(".said");
  const change = async (act) => {
    await ask("POST", `${path}/${act}`);
    location.reload();
  };
  const acts = {
    run: async () => location.assign(`${serviceRoot}/jobs/${(await ask("POST", `${path}/run`)).id}`),
    pause: () => change("pause"),
    resume: () => change("resume"),
    delete: async (button) => {
      if (!button.dataset.sure) {
        button.dataset.sure = "true";
        said.replaceChildren(element("span", {}, "Press again to delete it. Its runs stay."));
        return;
      }
      await ask("DELETE", path);
      location.assign(`${serviceRoot}/schedules`);
    },
  };
  for (const button of page.querySelectorAll("[data-act]")) {
    button.addEventListener("click", async () => {
      try {
        await acts[button.dataset.act](button);
      } catch (problem) {
        showProblem(said, problem);
      }
    });
  }
}
