// Why a case is as fast as it is: the nearest case of the run that is faster per FLOP, and what differs.

/** Settings of the work and of its precision: a case that differs in one of them is no example of a faster layer. */
const SAME = new Set(["direction", "dtype", "autocast"]);

/** FLOP/s of a case at its leading time. */
const rateOf = (cases, row) => cases.value("flops", row) / cases.value(cases.time, row);

/** The distance of two cases: 1 for each setting that differs, plus the distance of its numbers. */
function distanceOf(axes, one, other) {
  let sum = 0;
  for (const { codes, scale, places } of axes) {
    if (codes[one] === codes[other]) continue;
    const [a, b] = [places[codes[one]], places[codes[other]]];
    sum += 1 + (scale === "words" ? 1 : Math.abs(Math.log((a + 1) / (b + 1))));
  }
  return sum;
}

/**
 * {row, ratio, differs} of the nearest case that is faster per FLOP by more than both spreads; null where there is none.
 * It has the same direction and dtype. Of equally near ones it is the fastest. `differs` has a text for each setting.
 */
export function nearestFaster(cases, row) {
  if (!(cases.value("flops", row) > 0) || !cases.ranked.includes(row) || !cases.isComparable(row)) return null;
  const [fixed, free] = [
    cases.axes.filter(({ name }) => SAME.has(name)),
    cases.axes.filter(({ name }) => !SAME.has(name)),
  ];
  const spread = (each) => cases.value("spread", each) ?? 0;
  let found = null;
  for (const other of cases.ranked) {
    if (!cases.isComparable(other) || !fixed.every(({ codes }) => codes[other] === codes[row])) continue;
    const ratio = rateOf(cases, other) / rateOf(cases, row);
    if (!(ratio > 1 + Math.max(spread(row), spread(other)))) continue;
    const far = distanceOf(free, row, other);
    if (!found || far < found.far || (far === found.far && ratio > found.ratio)) found = { row: other, ratio, far };
  }
  if (!found) return null;
  const differing = free.filter(({ codes }) => codes[found.row] !== codes[row]);
  const text = (axis) =>
    `${axis.title.toLowerCase()} ${cases.axisText(axis, found.row)} instead of ${cases.axisText(axis, row)}`;
  return { row: found.row, ratio: found.ratio, differs: differing.map(text) };
}
