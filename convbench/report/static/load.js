// Data and libraries that travel in the page: JSON as text, the large rest gzipped in base64.

/** The page's data: {columns, values, figures, ranking}. */
function readData() {
  return JSON.parse(document.getElementById("data").textContent);
}

/** The text of a packed element. */
async function unpack(id) {
  const packed = Uint8Array.from(atob(document.getElementById(id).textContent), (character) => character.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).text();
}

/** Run a packed script; the content security policy lets it run because it knows the hash of its text. */
async function runPacked(id) {
  const script = document.createElement("script");
  script.textContent = await unpack(id);
  document.head.append(script);
}

/** Apply a packed style sheet, before the page's own so that the page's own wins. */
async function stylePacked(id) {
  const style = document.createElement("style");
  style.textContent = await unpack(id);
  document.head.prepend(style);
}
