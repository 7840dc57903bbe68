// Requests to the API of the service, and what is said of their answers.

import { element } from "./dom.js";

/** Where the service begins: "" or the path that a proxy gives it. */
export const serviceRoot = document.documentElement.dataset.root ?? "";

/** Ask the API; returns its answer, or throws its problem: {title, detail, hint, mistakes}. */
export async function ask(method, path, body, headers = {}) {
  let response;
  try {
    response = await fetch(`${serviceRoot}/api/v1${path}`, {
      method,
      headers: body === undefined ? headers : { "Content-Type": "application/json", ...headers },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch {
    throw { detail: "The service does not answer.", hint: "Is it running?" };
  }
  if (response.status === 204) return undefined;
  const answer = await response
    .json()
    .catch(() => ({ detail: `The service answered with status ${response.status}.` }));
  if (!response.ok) throw answer;
  return answer;
}

/** Show a problem where a form says what came of it; mistakes in a sweep with their lines. */
export function showProblem(place, problem) {
  const mistakes = problem.mistakes ?? [];
  place.replaceChildren(
    ...(mistakes.length
      ? [
          element("p", { class: "wrong" }, `${mistakes.length} ${mistakes.length === 1 ? "mistake" : "mistakes"}:`),
          element(
            "ul",
            {},
            mistakes.map(({ line, where, message, hint }) =>
              element(
                "li",
                {},
                lineButton(place, line),
                `${where ? `, ${where}` : ""}: ${message}`,
                hint ? element("span", { class: "more" }, hint) : null,
              ),
            ),
          ),
        ]
      : [element("p", { class: "wrong" }, problem.detail ?? String(problem)), hintOf(problem)]
    ).filter(Boolean),
  );
}

/** The number of a line of a sweep. Where the sweep is in a field of the same form, it is a button that leads there. */
function lineButton(place, line) {
  const field = place.closest("form")?.elements.sweep;
  if (!field || field.readOnly) return `line ${line}`;
  const button = element("button", { type: "button", class: "to-line" }, `line ${line}`);
  button.addEventListener("click", () => showLine(field, line));
  return button;
}

/** Select a line of a field, and scroll the field to it. */
function showLine(field, line) {
  const lines = field.value.split("\n");
  const begin = lines.slice(0, line - 1).join("\n").length + (line > 1 ? 1 : 0);
  field.focus();
  field.setSelectionRange(begin, begin + (lines[line - 1] ?? "").length);
  field.scrollTop = (field.scrollHeight * (line - 4)) / lines.length;
}

function hintOf(problem) {
  return problem.hint ? element("p", { class: "more" }, problem.hint) : null;
}
