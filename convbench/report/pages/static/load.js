// Reads the libraries and payloads in the page, gzipped in base64. convbench/report/pages/payload.py writes the payloads.

const ARRAYS = {
  int8: Int8Array,
  int16: Int16Array,
  int32: Int32Array,
  int64: BigInt64Array,
  uint8: Uint8Array,
  uint16: Uint16Array,
  float32: Float32Array,
  float64: Float64Array,
};

/** Bytes of base64 text; the loop is for browsers without the built-in. */
function bytesOf(text) {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text);
  const characters = atob(text);
  const bytes = new Uint8Array(characters.length);
  for (let i = 0; i < bytes.length; i += 1) bytes[i] = characters.charCodeAt(i);
  return bytes;
}

/** The unpacked content of an element, as a response that gives text or bytes. */
function unpacked(id) {
  const element = document.getElementById(id);
  const stream = new Blob([bytesOf(element.textContent)]).stream().pipeThrough(new DecompressionStream("gzip"));
  element.remove(); // it is read once, and would take memory twice
  return new Response(stream);
}

/** {head, array(entry)} of a payload; an entry of the head has the place of its array. */
export async function readPayload(id) {
  const buffer = await unpacked(id).arrayBuffer();
  const size = new DataView(buffer).getUint32(0, true);
  const head = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, size)));
  const array = ({ type, start, length }) => new ARRAYS[type](buffer, 4 + size + start, length);
  return { head, array };
}

const running = new Map();

/** Run a packed script once; the content security policy allows the hash of its text. */
export function runPacked(id) {
  if (!running.has(id)) running.set(id, runNow(id));
  return running.get(id);
}

async function runNow(id) {
  const script = document.createElement("script");
  script.textContent = await unpacked(id).text();
  document.head.append(script);
}

/** Add a packed style sheet before the page's own, which takes precedence. */
export async function stylePacked(id) {
  const style = document.createElement("style");
  style.textContent = await unpacked(id).text();
  document.head.prepend(style);
}
