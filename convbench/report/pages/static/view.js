// The reader's view in the URL's hash, so that a link shows the same: `#case=abc&x=in_channels&y=tflops`.
// A hash without `=` is a place in the page, as usual.

const listeners = new Map();
const current = parsed();

function parsed() {
  const text = location.hash.slice(1);
  return new URLSearchParams(text.includes("=") ? text : "");
}

/** The value of a key, or `otherwise` where the link does not have it. */
export function viewed(key, otherwise = null) {
  return current.get(key) ?? otherwise;
}

/** Marks history entries of this page; entries of followed links do not have it. */
const OWN = { own: true };

/** Set a value in the link, without null and defaults. With `entry` the browser can go back from it. */
export function remember(key, value, { usual = null, entry = false } = {}) {
  if (value === null || value === usual) current.delete(key);
  else current.set(key, value);
  const text = current.toString();
  const url = text ? `#${text}` : location.pathname + location.search;
  history[entry ? "pushState" : "replaceState"](OWN, "", url);
}

/**
 * A link to a view of this page, for the dialog. It has the file's name, because axe-core takes links to places in the
 * page for skip links where a dialog has scrolled them out of sight.
 */
export function linkTo(view) {
  return `${location.pathname.split("/").pop()}#${view}`;
}

/** Call `listener` with the new value when a link, or going back, changes the value of a key. */
export function whenViewed(key, listener) {
  listeners.set(key, listener);
}

/** Follow links: back and forward call the listeners; a link with other keys reloads the page. */
export function followLinks() {
  globalThis.addEventListener("hashchange", () => {
    const wanted = parsed();
    const own = history.state?.own;
    const keys = new Set([...current.keys(), ...wanted.keys()]);
    const changed = [...keys].filter((key) => current.get(key) !== wanted.get(key));
    if (!own && changed.some((key) => !listeners.has(key))) {
      location.reload();
      return;
    }
    for (const key of changed.filter((each) => listeners.has(each))) {
      remember(key, wanted.get(key));
      listeners.get(key)(wanted.get(key));
    }
  });
}
