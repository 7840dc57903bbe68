// Colours that colour-blind readers can distinguish, on light and on dark backgrounds.

/**
 * Okabe and Ito's palette for values without an order; the lighter of each pair on a dark background. Their orange is
 * darker here, so that text in it has enough contrast.
 */
const DISTINCT = {
  light: ["#0072b2", "#bf5200", "#009e73", "#a8478a", "#8a6d00", "#3a9bd6", "#5b5f67", "#7a3b00"],
  dark: ["#56b4e9", "#f08a4b", "#2fc79b", "#dd9bc0", "#f0e442", "#3a8fd6", "#a4abb6", "#c98a5a"],
};
/** Viridis for values with an order, without the end that is invisible on the background. */
const ORDERED = {
  light: ["#440154", "#46327e", "#365c8d", "#277f8e", "#1fa187", "#4ac16d", "#9fbf00"],
  dark: ["#6d4bb0", "#5b6bc4", "#3f8fbf", "#2ab0ab", "#4ac16d", "#a0da39", "#fde725"],
};
/** For the heat map: cividis, readable with any colour vision. */
export const HEAT = [
  [0, "#00224e"],
  [0.25, "#434e6c"],
  [0.5, "#7d7c78"],
  [0.75, "#bbaf71"],
  [1, "#fee838"],
];
const PAPER = {
  light: { ink: "#1d1f23", muted: "#5f6570", grid: "#e7e4de", hover: "#ffffff", good: "#00775a", bad: "#b24a00" },
  dark: { ink: "#eceae5", muted: "#a4abb6", grid: "#2d323a", hover: "#22262d", good: "#3fd0a4", bad: "#ff9a5c" },
};

/** The reader's theme: the chosen one, or the system's. */
export function theme() {
  const chosen = document.documentElement.dataset.theme;
  if (chosen === "light" || chosen === "dark") return chosen;
  return matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
}

/** Ink, muted, grid, hover, good and bad of a theme. */
export function paper(name) {
  return PAPER[name];
}

/** A colour for each of `count` values of an axis, `ordered` where they have an order. */
export function palette(name, count, ordered) {
  if (!ordered && count <= DISTINCT[name].length) return DISTINCT[name].slice(0, count);
  const stops = ORDERED[name];
  return Array.from({ length: count }, (_, i) => between(stops, count === 1 ? 0.5 : i / (count - 1)));
}

/** The colour at `share` of a row of stops. */
function between(stops, share) {
  const place = share * (stops.length - 1);
  const [low, high] = [Math.floor(place), Math.ceil(place)];
  const [from, to] = [stops[low], stops[high]].map((stop) => Number.parseInt(stop.slice(1), 16));
  const mix = (shift) => {
    const [a, b] = [(from >> shift) & 255, (to >> shift) & 255];
    return Math.round(a + (b - a) * (place - low));
  };
  return `rgb(${mix(16)},${mix(8)},${mix(0)})`;
}
