// One connection: both replicas' streams as bars along the sequence axis, so that one sees why something waits.

import { h, s, say } from "./dom.js";
import * as format from "./format.js";
import { store } from "./live.js";

let WIDTH = 640; // as many pixels as there are, so that its text is as large as any other
const LEFT = 84; // names of the rows
const BEFORE = 0.28; // the share of the axis for what has left already, when something waits

const KEY = [
  ["released", "released: both have said it, it has left"],
  ["agreed", "equal, but not released yet"],
  ["both", "said by both, not compared yet"],
  ["one", "said by this side only"],
];

export function streamView(close) {
  const title = h("h2", { class: "mono wrap" });
  const why = h("p", { class: "why" });
  const bars = h("div", { class: "bars" });
  const facts = h("dl", { class: "facts" });
  const key = h("ul", { class: "bars-key" },
    KEY.map(([kind, text]) => h("li", null, s("svg", { viewBox: "0 0 28 14", "aria-hidden": "true" }, patterns(`k${kind}`), rect(1, 1, 26, 12, kind, "primary", `k${kind}`)), text)),
    h("li", null, s("svg", { viewBox: "0 0 28 14", "aria-hidden": "true" }, s("path", { d: "M14 0 V14", class: "difference-line" })), "the first difference"));
  const element = h("section", { class: "card stream", "aria-label": "The connection's streams" },
    h("header", { class: "detail-head" }, title, h("button", { type: "button", class: "close", "aria-label": "Close", onclick: close }, "✕")),
    why, bars, key, facts);
  let asked = false; // and not answered yet

  function clear(text) {
    say(why, text);
    bars.replaceChildren();
    facts.replaceChildren();
    key.hidden = true;
  }

  function wait() {
    if (asked) clear(store.state === "lost" ? "The proxy does not answer: its streams cannot be looked into." : "Looking …");
  }

  function draw(told) {
    asked = false;
    if (told.gone) { clear("This connection is no longer known: it has closed, or was forgotten to make room."); return; }
    say(why, told.why);
    key.hidden = false;
    WIDTH = Math.min(900, Math.max(280, bars.clientWidth || WIDTH));
    bars.replaceChildren(told.ordered ? sequence(told) : datagrams(told));
    const { state } = told;
    const rows = [
      ["Verified", `${format.bytes(state.verified_bytes)} in all`],
      told.offset !== null && ["Equal up to", `byte ${format.number(told.offset)}, number ${told.seq}`],
      ["Primary holds", holds(state.held_primary)], ["Secondary holds", holds(state.held_secondary)],
      told.acknowledged !== null && ["Acknowledged", ahead(told.acknowledged)],
      ["Rule", told.rule || "default"], ["Idle", format.seconds(state.idle)],
    ].filter(Boolean);
    facts.replaceChildren(...rows.flatMap(([name, value]) => [h("dt", null, name), h("dd", null, value)]));
  }

  return {
    element, draw, wait,
    show(name) { say(title, name.replace(/^\S+ /, "")); asked = true; wait(); },
  };
}

const holds = (held) => (held.frames ? `${format.counted(held.frames, "frame")}, ${format.bytes(held.bytes)}, the oldest for ${format.seconds(held.oldest_age)}` : "nothing");
const ahead = (count) => (count === 0 ? "by both alike" : count > 0 ? `by the primary ${format.counted(count, "byte")} further` : `by the secondary ${format.counted(-count, "byte")} further`);

function patterns(id) {
  const hatch = (side) => s("pattern", { id: `${id}-${side}`, width: 6, height: 6, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" },
    s("rect", { width: 6, height: 6, class: `hatch-ground ${side}` }), s("rect", { width: 2.4, height: 6, class: `hatch-line ${side}` }));
  return s("defs", null, hatch("primary"), hatch("secondary"));
}

function rect(x, y, width, height, kind, side, id) {
  return s("rect", { x, y, width: Math.max(width, 1.5), height, rx: 2, class: `span ${kind} ${side}`, ...(kind === "one" ? { fill: `url(#${id}-${side})` } : {}) });
}

// The parts of [begin, end) that the other side has too, and those that it has not.
function parts(span, others) {
  const found = [];
  let at = span.begin;
  for (const other of others) {
    if (other.end <= at || other.begin >= span.end) continue;
    if (other.begin > at) found.push([at, other.begin, "one"]);
    found.push([Math.max(at, other.begin), Math.min(span.end, other.end), "both"]);
    at = Math.min(span.end, other.end);
  }
  if (at < span.end) found.push([at, span.end, "one"]);
  return found.filter(([begin, end]) => end > begin);
}

function sequence(told) {
  const { primary, secondary, released, fins } = told;
  const ends = [...primary, ...secondary].map((span) => span.end);
  const furthest = Math.max(0, ...ends, ...fins.filter((fin) => fin !== null));
  const ahead = Math.max(furthest - Math.min(0, released), 1);
  const waiting = furthest > 0 || released < 0;
  const before = waiting ? (ahead * BEFORE) / (1 - BEFORE) : 1;
  const [from, to] = [released - before, waiting ? furthest : 0.12];
  const x = (place) => LEFT + ((Math.min(Math.max(place, from), to) - from) / (to - from)) * (WIDTH - LEFT - 14);
  const rows = [["primary", primary, secondary, 26], ["secondary", secondary, primary, 66]];
  const drawn = [patterns("b")];
  for (const [side, spans, others, y] of rows) {
    drawn.push(s("text", { x: 0, y: y + 17, class: "row-name" }, side));
    drawn.push(s("line", { x1: x(0), x2: WIDTH - 14, y1: y + 12, y2: y + 12, class: "track" }));
    drawn.push(rect(LEFT, y, x(released) - LEFT, 24, "released", side));
    if (released < 0) drawn.push(rect(x(released), y, x(0) - x(released), 24, "agreed", side));
    for (const span of spans) {
      for (const [begin, end, kind] of parts({ begin: Math.max(0, span.begin), end: span.end }, others)) {
        const bar = rect(x(begin), y, x(end) - x(begin), 24, kind, side, "b");
        bar.append(s("title", null, `${side}: ${format.counted(end - begin, "byte")} in ${format.counted(span.frames, "frame")}, for ${format.seconds(span.age)}`));
        drawn.push(bar);
      }
    }
    const fin = fins[side === "primary" ? 0 : 1];
    if (fin !== null) drawn.push(s("path", { d: `M${x(fin)} ${y - 3} V${y + 27}`, class: `fin ${side}` }), s("text", { x: x(fin) - 4, y: y - 5, "text-anchor": "end", class: "tick" }, "end"));
  }
  if (told.state.diverged) drawn.push(s("path", { d: `M${x(0)} 12 V100`, class: "difference-line" }), s("path", { d: `M${x(0) - 6} 6 h12 l-6 8 z`, class: "difference-mark" }));
  const label = (place, anchor, text) => [s("line", { x1: x(place), x2: x(place), y1: 100, y2: 105, class: "tick-line" }), s("text", { x: x(place), y: 118, "text-anchor": anchor, class: "tick" }, text)];
  if (told.offset !== null) drawn.push(label(0, "middle", `byte ${format.number(told.offset)}`));
  if (furthest > 0) drawn.push(label(furthest, "end", `+${format.bytes(furthest)}`));
  const words = `Primary: ${describe(primary)}. Secondary: ${describe(secondary)}. ${told.state.diverged ? "They differ at the first byte that is not released." : ""}`;
  return s("svg", { viewBox: `0 0 ${WIDTH} 124`, role: "img", "aria-label": words, class: "bars-picture" }, drawn);
}

const describe = (spans) => (spans.length ? spans.map((span) => `bytes ${span.begin} to ${span.end} held`).join(", ") : "nothing held");

// Datagrams have no places: each is a block, the oldest first.
function datagrams(told) {
  const drawn = [patterns("d")];
  const most = Math.max(1, ...[told.primary, told.secondary].map((spans) => spans.length));
  const width = Math.min(40, (WIDTH - LEFT - 14) / most);
  for (const [side, spans, y] of [["primary", told.primary, 26], ["secondary", told.secondary, 66]]) {
    drawn.push(s("text", { x: 0, y: y + 17, class: "row-name" }, side), s("line", { x1: LEFT, x2: WIDTH - 14, y1: y + 12, y2: y + 12, class: "track" }));
    spans.forEach((span, at) => {
      const bar = rect(LEFT + at * width + 1, y, width - 2, 24, "one", side, "d");
      bar.append(s("title", null, `${side}: ${format.counted(span.end - span.begin, "byte")}, for ${format.seconds(span.age)}`));
      drawn.push(bar);
    });
    if (!spans.length) drawn.push(s("text", { x: LEFT + 8, y: y + 16.5, class: "tick" }, "nothing unmatched"));
  }
  drawn.push(s("text", { x: LEFT, y: 112, class: "tick" }, "oldest first; each block is a datagram that the other side has not sent"));
  return s("svg", { viewBox: `0 0 ${WIDTH} 124`, role: "img", class: "bars-picture", "aria-label": `Primary: ${format.counted(told.primary.length, "datagram")} unmatched. Secondary: ${format.counted(told.secondary.length, "datagram")} unmatched.` }, drawn);
}
