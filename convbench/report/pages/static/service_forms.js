// The forms of the service: submit a sweep, check it, create and revoke tokens, keep one in the browser.

import { copyButton, element } from "./dom.js";
import { ask, serviceRoot, showProblem } from "./service_api.js";
import { changeChannel, makeChannel } from "./service_channels.js";
import { scheduleOf, showTimes } from "./service_schedules.js";

/** Let a form send its values by `send`; what came of it is said in its own line. Twice at once it sends nothing. */
function sending(form, send) {
  const said = form.querySelector(".said");
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (form.dataset.busy) return;
    form.dataset.busy = "true";
    try {
      await send(new FormData(form), said);
    } catch (problem) {
      showProblem(said, problem);
    }
    delete form.dataset.busy;
  });
}

/** The form that submits a sweep. Its key makes a submission that is sent again the same job. */
function submitForm(form) {
  let key = crypto.randomUUID?.() ?? `${Date.now()}-${Math.random()}`;
  const said = form.querySelector(".said");
  form.addEventListener("input", () => {
    key = crypto.randomUUID?.() ?? `${Date.now()}-${Math.random()}`;
  });
  sending(form, async (values) => {
    const body = { sweep: values.get("sweep"), priority: Number(values.get("priority") ?? 0) };
    for (const name of ["against", "host"]) if (values.get(name)) body[name] = values.get(name);
    if (values.get("how")) body.fleet = { how: values.get("how"), where: labelsOf(values.get("where")) };
    const job = await ask("POST", "/jobs", body, { "Idempotency-Key": key });
    location.assign(`${serviceRoot}/jobs/${job.id}`);
  });
  form.querySelector("[data-act='check']")?.addEventListener("click", async () => {
    try {
      showChecked(said, await ask("POST", "/sweeps/check", { sweep: form.elements.sweep.value }));
    } catch (problem) {
      showProblem(said, problem);
    }
  });
  fillFromFile(form);
}

/** Labels of hosts by name: `rack=2 zone=a`. */
function labelsOf(text) {
  return Object.fromEntries(wordsOf(text).map((word) => [word.split("=")[0], word.split("=").slice(1).join("=")]));
}

function wordsOf(text) {
  return (text ?? "").split(/\s+/).filter(Boolean);
}

/** The form that captures a model: its convolutions fill the field of the sweep. */
function captureForm(form) {
  sending(form, async (values, said) => {
    said.textContent = "The model is being captured.";
    const { sweep } = await ask("POST", "/sweeps/capture", {
      model: values.get("model"),
      input: wordsOf(values.get("input")),
      arguments: wordsOf(values.get("arguments")),
      budget: Number(values.get("budget")),
      train: values.has("train"),
      channels_last: values.has("channels_last"),
      real: values.has("real"),
    });
    const target = document.querySelector("[data-form='submit']");
    target.elements.sweep.value = sweep;
    target.dispatchEvent(new Event("input"));
    said.textContent = "Its convolutions are in the sweep below.";
  });
}

/** The button that has the commit between two runs found. */
function findForm(form) {
  sending(form, async (values, said) => {
    said.textContent = "The commits are looked up.";
    const cases = values.getAll("case");
    const body = { base: values.get("base"), new: values.get("new"), ...(cases.length ? { cases } : {}) };
    const { id } = await ask("POST", "/bisections", body);
    location.assign(`${serviceRoot}/jobs/${id}`);
  });
}

/** Let a field for a file fill the field of the sweep. */
function fillFromFile(form) {
  form.querySelector("[data-fills]")?.addEventListener("change", async ({ target }) => {
    const file = target.files[0];
    if (file) form.elements.sweep.value = await file.text();
    form.dispatchEvent(new Event("input"));
  });
}

/** The form that makes a schedule. */
function scheduleForm(form) {
  fillFromFile(form);
  showTimes(form);
  sending(form, async (values) => {
    const { id } = await ask("POST", "/schedules", scheduleOf(values));
    location.assign(`${serviceRoot}/schedules/${id}`);
  });
}

/** The form that changes a schedule, if nobody else has changed it since the page was made. */
function changeForm(form) {
  fillFromFile(form);
  showTimes(form);
  sending(form, async (values) => {
    await ask("PATCH", `/schedules/${form.dataset.scheduleId}`, scheduleOf(values));
    location.reload();
  });
}

/** The form that accepts a change: the new run becomes the baseline that the reader has compared it with. */
function acceptForm(form) {
  sending(form, async (values) => {
    const { run_id: run } = await ask("POST", "/acceptances", Object.fromEntries(values));
    location.assign(`${serviceRoot}/runs/${run}`);
  });
}

function showChecked(place, found) {
  if (found.mistakes.length || !found.cases) {
    showProblem(place, { detail: found.refused, mistakes: found.mistakes });
    return;
  }
  const left = found.cases - found.labels.length;
  place.replaceChildren(
    element(
      "p",
      {},
      `${found.name}: ${found.cases} cases on ${found.devices.join(", ")}; torch refuses ${found.rejections} points.`,
    ),
    ...(found.refused ? [element("p", { class: "wrong" }, found.refused)] : []),
    element(
      "ul",
      {},
      found.labels.map((label) => element("li", {}, label)),
      left ? element("li", {}, `and ${left} more`) : null,
    ),
  );
}

/** The form that creates a token; its text is shown this once. */
function tokenForm(form) {
  sending(form, async (values, said) => {
    const body = { name: values.get("name"), scopes: values.getAll("scope"), days: Number(values.get("days")) };
    const { token } = await ask("POST", "/tokens", body);
    said.replaceChildren(
      "Copy it now, it is not shown again: ",
      element("code", {}, token),
      " ",
      copyButton(() => token),
    );
  });
  for (const button of document.querySelectorAll("[data-revoke]")) {
    button.addEventListener("click", async () => {
      try {
        await ask("POST", `/tokens/${button.dataset.revoke}/revoke`);
        button.replaceWith("revoked");
      } catch (problem) {
        showProblem(form.querySelector(".said"), problem);
      }
    });
  }
}

/** The field for a token that the browser keeps as a cookie. */
function sessionForm(form) {
  const said = form.querySelector(".said");
  sending(form, async (values) => {
    await ask("POST", "/session", { token: values.get("token") });
    form.reset();
    location.reload();
  });
  form.querySelector("[data-act='forget']").addEventListener("click", async () => {
    try {
      await ask("POST", "/session/end");
      said.textContent = "The browser has no token any more.";
    } catch (problem) {
      showProblem(said, problem);
    }
  });
}

/** Every form of the page, by what it is for. */
export function showForms() {
  const kinds = {
    submit: submitForm,
    capture: captureForm,
    find: findForm,
    schedule: scheduleForm,
    change: changeForm,
    accept: acceptForm,
    channel: (form) => sending(form, makeChannel),
    changeChannel: (form) => sending(form, (values) => changeChannel(form, values)),
    token: tokenForm,
    session: sessionForm,
  };
  for (const form of document.querySelectorAll("[data-form]")) kinds[form.dataset.form](form);
}
