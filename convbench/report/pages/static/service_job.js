// The page of a job: what happens to it is added as it comes. Nothing that is there moves but the line of progress.

import { element } from "./dom.js";
import { formatCount, formatSeconds } from "./format.js";
import { ask, serviceRoot, showProblem } from "./service_api.js";

/** The page of a job, if it is one: its events, and its buttons. */
export function showJob() {
  const page = document.querySelector("[data-page='job']");
  if (!page) return;
  const { job } = page.dataset;
  follow(page, job);
  const said = page.querySelector(".ways .said");
  for (const button of page.querySelectorAll("[data-act]")) {
    button.addEventListener("click", async () => {
      try {
        const answer = await ask("POST", `/jobs/${job}/${button.dataset.act}`);
        if (button.dataset.act === "again") location.assign(`${serviceRoot}/jobs/${answer.id}`);
        else said.textContent = answer.state === "cancelled" ? "" : "It is being cancelled.";
      } catch (problem) {
        showProblem(said, problem);
      }
    });
  }
}

/** Follow the events of a job. The browser comes back by itself after a break, with the id of the last event. */
function follow(page, job) {
  const source = new EventSource(`${serviceRoot}/api/v1/jobs/${job}/events`);
  const handlers = {
    // A page that is made when all is over shows the last state; the earlier ones come again with the cases and the log.
    state: (data) => page.dataset.over === "true" || showState(page, job, data),
    case: (data) => showCase(page, data),
    progress: (data) => showProgress(page, data),
    log: ({ line }) => showLog(page, line),
  };
  for (const [kind, handler] of Object.entries(handlers)) {
    source.addEventListener(kind, (event) => handler(JSON.parse(event.data)));
  }
  source.addEventListener("end", () => {
    source.close();
    for (const row of page.querySelectorAll("#arrived .free")) row.remove(); // of cases that were not measured
    page.dataset.over = "true";
  });
}

async function showState(page, job, { state, reason }) {
  const shown = page.querySelector("#state");
  shown.textContent = state;
  shown.dataset.state = state;
  page.querySelector("#meaning").textContent =
    page.querySelector(`#meanings [data-state="${state}"]`)?.textContent ?? "";
  const why = page.querySelector("#reason");
  why.textContent = reason ?? "";
  const ended = ["reported", "failed", "cancelled"].includes(state) || (state === "measured" && reason);
  const [cancel, again] = ["cancel", "again"].map((act) => page.querySelector(`[data-act='${act}']`));
  if (cancel) cancel.hidden = !["queued", "running"].includes(state);
  if (again) again.hidden = !ended;
  if (["reported", "measured"].includes(state)) showFound(page, await ask("GET", `/jobs/${job}`));
}

/** Lead to the run or the campaign of a job that has been measured, or show the answer of a search for a commit. */
function showFound(page, { run_id: run, campaign_id: campaign, bisection, outcome }) {
  const why = page.querySelector("#reason");
  why.textContent ||= outcome ?? "";
  const ways = page.querySelector("#ways");
  const lead = (id, path, text) => {
    if (!page.querySelector(`#${id}`)) {
      ways.append(element("a", { class: "main", id, href: `${serviceRoot}${path}` }, text));
    }
  };
  if (run) lead("to-run", `/runs/${run}`, "Read the report");
  if (campaign) lead("to-campaign", `/campaigns/${campaign}`, "The campaign");
  if (bisection?.text) showAnswer(page.querySelector("#answer"), bisection.text);
}

function showAnswer(place, text) {
  place.replaceChildren(...text.split("\n").map((line) => element("p", {}, line)));
  place.hidden = false;
}

/** A line of the log that says how a comparison of two commits ended. */
const stepLine = /^commit [0-9a-f]+ with [0-9a-f]+: /;

function showLog(page, line) {
  const log = page.querySelector("#log");
  const isAtEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 8; // else the reader has scrolled back
  log.append(`${line}\n`);
  if (isAtEnd) log.scrollTop = log.scrollHeight;
  const steps = page.querySelector("#steps");
  if (steps && stepLine.test(line) && ![...steps.children].some((step) => step.textContent === line)) {
    steps.append(element("li", {}, line));
  }
}

/** Add a case, or show its newer time where it is there. */
function showCase(page, { id, label, status, fastest_s: fastest }) {
  const shown = fastest === null ? "" : formatSeconds(fastest);
  const known = page.querySelector(`#arrived tr[data-case="${id}"]`);
  if (known) {
    known.querySelector(".status").textContent = status;
    known.querySelector(".status").dataset.status = status;
    known.querySelector(".number").textContent = shown;
    return;
  }
  const row = element(
    "tr",
    { dataset: { case: id } },
    element("td", {}, label),
    element("td", {}, element("span", { class: "status", dataset: { status } }, status)),
    element("td", { class: "number" }, shown),
  );
  const free = page.querySelector("#arrived .free");
  if (free) free.replaceWith(row);
  else page.querySelector("#arrived tbody").append(row);
}

function plural(number, word) {
  return `${formatCount(number)} ${word}${number === 1 ? "" : "s"}`;
}

function showProgress(page, { cases, seen, visits, planned, share, text }) {
  if (text !== undefined) {
    page.querySelector("#progress").value = share;
    page.querySelector("#done").textContent = text;
    return;
  }
  page.querySelector("#progress").value = planned ? Math.min(1, visits / planned) : 0;
  page.querySelector("#done").textContent =
    `${formatCount(seen)} of ${plural(cases, "case")}, ${formatCount(visits)} of ${plural(planned, "visit")}`;
}
