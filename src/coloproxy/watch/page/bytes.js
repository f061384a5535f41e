// Bytes, in hexadecimal and as text. Whatever they are, they are shown as text nodes.

import { h } from "./dom.js";

const COLUMNS = 8;

export const unhex = (text) => Uint8Array.from(text.match(/../g) ?? [], (pair) => parseInt(pair, 16));
const hex = (byte) => byte.toString(16).padStart(2, "0");
const character = (byte) => (byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : "·");

function half(ours, theirs, at, first, side) {
  const codes = h("span", { class: "codes" });
  const text = h("span", { class: "chars" });
  for (let place = at; place < at + COLUMNS; place += 1) {
    const here = place < ours.length;
    const other = here && ours[place] !== theirs[place];
    const kind = place === first ? "first" : other ? "other" : "";
    codes.append(h("span", { class: kind || null }, here ? hex(ours[place]) : "  "), " ");
    text.append(h("span", { class: kind || null }, here ? character(ours[place]) : " "));
  }
  return h("div", { class: `half ${side}` }, h("span", { class: "side-name" }, side), codes, text);
}

// Both sides' bytes beside each other; what differs is marked, and the first place that does most of all.
export function sideBySide(divergence) {
  const [primary, secondary] = [unhex(divergence.primary), unhex(divergence.secondary)];
  const size = Math.max(primary.length, secondary.length);
  const base = (divergence.stream_offset ?? 0) - divergence.context_offset;
  if (!size) return h("p", { class: "empty" }, "There are no bytes to show: it is something that is missing, or a frame without payload.");
  const lines = [h("div", { class: "hex-head" }, h("span", { class: "place" }, divergence.stream_offset === null ? "offset" : "byte"), h("span", { class: "primary" }, "primary"), h("span", { class: "secondary" }, "secondary"))];
  for (let at = 0; at < size; at += COLUMNS) {
    const first = divergence.context_offset;
    const here = first >= at && first < at + COLUMNS;
    lines.push(h("div", { class: `hex-line${here ? " here" : ""}` }, h("span", { class: "place" }, here ? "▸ " : "", String(base + at)),
      half(primary, secondary, at, first, "primary"), half(secondary, primary, at, first, "secondary")));
  }
  const [ours, theirs] = [primary, secondary].map((bytes) => (divergence.context_offset < bytes.length ? hex(bytes[divergence.context_offset]) : "nothing"));
  return h("div", { class: "hex-box" }, h("div", { class: "hex", role: "img", "aria-label": `The first difference: the primary has ${ours}, the secondary ${theirs}.` }, lines));
}

// A whole frame.
export function dump(data) {
  const bytes = unhex(data);
  const lines = [];
  for (let at = 0; at < bytes.length; at += 16) {
    const part = bytes.slice(at, at + 16);
    lines.push(`${at.toString(16).padStart(4, "0")}  ${[...part].map(hex).join(" ").padEnd(47)}  ${[...part].map(character).join("")}`);
  }
  return h("pre", { class: "dump", tabindex: "0", "aria-label": "The frame's bytes" }, lines.join("\n"));
}
