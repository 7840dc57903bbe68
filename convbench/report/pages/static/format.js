// Numbers and text as the reader sees them. convbench/units.py writes the same: `number`, `seconds` and `change`.

/** A cell of a column as text; numbers have the column's unit, digits and thousands separators. */
export function formatCell(value, column) {
  if (value === null || typeof value === "string") return value ?? "";
  const text = formatNumber(value * column.factor, column.significant, column.decimals);
  return column.signed && value >= 0 ? `+${text}` : text;
}

export function formatNumber(value, significant, decimals) {
  if (significant !== null) {
    const exponent = value ? Math.floor(Math.log10(Math.abs(value))) : significant - 1;
    decimals = Math.min(8, Math.max(0, significant - 1 - exponent));
  }
  const [whole, fraction] = value.toFixed(decimals).split(".");
  const grouped = whole.replace(/\B(?=(\d{3})+$)/g, ",");
  return fraction ? `${grouped}.${fraction}` : grouped;
}

/** An integer with thousands separated: `100,000`. */
export function formatCount(value) {
  return formatNumber(value, null, 0);
}

const TIME_UNITS = [
  [1, "s"],
  [1e-3, "ms"],
  [1e-6, "us"],
  [1e-9, "ns"],
];

/** A time with its own unit: `4.31 ms`. */
export function formatSeconds(value, significant = 3) {
  if (value === null || value === undefined) return "-";
  const [unit, name] = TIME_UNITS.find(([size]) => value >= size * 0.9995) ?? TIME_UNITS.at(-1);
  return `${formatNumber(value / unit, significant, 0)} ${name}`;
}

/** A factor as a change: `+41.2 %`, `-10.0 %`, and from twice on as a factor: `6.20x`. */
export function formatChange(factor) {
  if (factor === null || factor === undefined) return "-";
  if (factor >= 1.9995) return `${formatNumber(factor, 3, 0)}x`;
  return `${factor >= 1 ? "+" : ""}${formatNumber((factor - 1) * 100, null, 1)} %`;
}

const PREFIXES = [
  [1e12, "T"],
  [1e9, "G"],
  [1e6, "M"],
  [1e3, "k"],
];

/** A large number with its prefix, without its unit: `105 G`. */
export function formatSi(value, significant = 3) {
  const [factor, prefix] = PREFIXES.find(([size]) => value >= size * 0.9995) ?? [1, ""];
  return `${formatNumber(value / factor, significant, 0)} ${prefix}`;
}

/** Text as HTML that shows every character. */
export function escapeHtml(text) {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}

/** Text as HTML whose arrows `->` are not broken across lines, as element() in dom.js makes them. */
export function unbrokenHtml(text) {
  return escapeHtml(text).replaceAll("-&#62;", '<span class="arrow">-&#62;</span>');
}

/** Text for plotly, which interprets tags and named entities; broken into lines. */
export function escapePlotly(text, width = 46) {
  const lines = [];
  let line = "";
  for (const word of text.replace(/\s+/g, " ").split(" ")) {
    if (line && line.length + word.length >= width) {
      lines.push(line);
      line = "";
    }
    line += (line && " ") + word;
  }
  lines.push(line);
  return lines.map((part) => part.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;")).join("<br>");
}

/** A text of plotly for screen readers, without tags. */
export function unescapePlotly(text) {
  return text
    .replace(/<[^>]*>/g, "")
    .replace(/&lt;/g, "<")
    .replace(/&gt;/g, ">")
    .replace(/&amp;/g, "&");
}

/** The text with a capital at its begin. */
export function capitalised(text) {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
