// What the reader looks at, kept in the URL's hash so that a link shows the same: `#case=abc&x=in_channels&y=tflops`.
// A hash without `=` is a place in the page, as in any other.

const listeners = new Map();
let current = parsed();

function parsed() {
  const text = location.hash.slice(1);
  return new URLSearchParams(text.includes("=") ? text : "");
}

/** The value of a key, or `otherwise` where the link says nothing of it. */
export function viewed(key, otherwise = null) {
  return current.get(key) ?? otherwise;
}

/** Remember a value; null and what is the default anyway are left out of the link. */
export function remember(key, value, usual = null) {
  if (value === null || value === usual) current.delete(key);
  else current.set(key, value);
  const text = current.toString();
  // The state of the browser's history stays one entry: going back leaves the report.
  history.replaceState(null, "", text ? `#${text}` : location.pathname + location.search);
}

/** Call `listener` with the new value when a link changes the value of a key. */
export function whenViewed(key, listener) {
  listeners.set(key, listener);
}

/** Follow links: a key with a listener is told; any other change opens the page anew, as the link would. */
export function followLinks() {
  globalThis.addEventListener("hashchange", () => {
    if (!location.hash.includes("=") && location.hash !== "") {
      // A place in the page: keep what was viewed in the link that the reader may copy.
      return;
    }
    const before = current;
    current = parsed();
    const keys = new Set([...before.keys(), ...current.keys()]);
    const changed = [...keys].filter((key) => before.get(key) !== current.get(key));
    if (changed.some((key) => !listeners.has(key))) location.reload();
    else for (const key of changed) listeners.get(key)(current.get(key));
  });
}
