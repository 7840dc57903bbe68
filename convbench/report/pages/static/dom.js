// Elements from script: text is always text, never markup.

/** An element with properties (`class`, `dataset`, `on...` and attributes by name) and children; null children are left out. */
export function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (name === "dataset") Object.assign(made.dataset, value);
    else made.setAttribute(name, value);
  }
  made.append(...children.flat().flatMap((child) => (typeof child === "string" ? unbroken(child) : (child ?? []))));
  return made;
}

/** The parts of a text, each arrow `->` in an element that is not broken across lines. */
function unbroken(text) {
  return text.split("->").flatMap((part, i) => {
    if (!i) return [part];
    const arrow = document.createElement("span");
    arrow.className = "arrow";
    arrow.textContent = "->";
    return [arrow, part];
  });
}

/** A button that copies a text and confirms it. */
export function copyButton(text) {
  const button = element("button", { type: "button", class: "copy" }, "Copy");
  button.addEventListener("click", () => confirmCopy(button, text()));
  return button;
}

/** Copy a text, and say so on the button for two seconds. */
export async function confirmCopy(button, text) {
  button.textContent = (await copied(text)) ? "Copied" : "Select it and press Ctrl+C";
  setTimeout(() => {
    button.textContent = "Copy";
  }, 2000);
}

/** Copy by the browser's clipboard, or by a selection where a page from disk may not use the clipboard. */
async function copied(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = element("textarea", { class: "hidden", readonly: "" });
    area.value = text;
    (document.querySelector("dialog[open]") ?? document.body).append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  }
}
