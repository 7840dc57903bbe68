// Commands and a sweep to measure a case again.

/** A sweep of this case alone, with the run's measure settings. report/pages/rerun.py writes the mapping. */
export function sweepOf(cases, row) {
  const { measure } = cases.head;
  return [
    `name: case-${cases.value("case_id", row)}`,
    `seed: ${cases.head.seed}`,
    "cases:",
    `  - ${cases.value("yaml", row)}`,
    `measure: ${measure}`,
    "",
  ].join("\n");
}

/** Commands for the case: [command, what it does]. */
export function commandsOf(cases, row) {
  const id = cases.value("case_id", row);
  return [
    [`convbench run case-${id}.yaml`, "measures it again, from the file below"],
    [`convbench repro ${id}`, "prints a script that needs torch alone, to run under perf or a profiler"],
    [`convbench explain ${id}`, "explains its shapes, parameters and work"],
  ];
}
