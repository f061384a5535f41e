// The divergences: a list by reason, and one of them with its bytes, its frames, and what can be done about it.

import { dump, sideBySide } from "./bytes.js";
import { ignore } from "./control.js";
import { h, prose, say, tell } from "./dom.js";
import * as format from "./format.js";
import { ask, elsewhere, NO_ANSWER, on, store } from "./live.js";
import { makeTable } from "./table.js";

export function divergences(main, which, params) {
  let current = which;
  let unshown = null; // the one that could not be had; it is asked for again when the proxy is back
  let reason = params.get("reason");
  const filter = h("input", { type: "search", placeholder: "Address, port, reason …", "aria-label": "Filter the divergences", autocomplete: "off", spellcheck: "false", oninput: () => draw() });
  const chips = h("div", { class: "choices wrap", role: "group", "aria-label": "By reason" });
  const told = h("p", { class: "told", "aria-live": "polite" });
  const empty = h("div", { class: "empty" });
  const detail = h("div", { class: "detail" });
  const table = makeTable({
    caption: "Divergences, the latest first", key: (row) => row.number, sorted: { by: "number", down: true },
    open: (key) => { location.hash = `#/divergences/${key}`; },
    columns: [
      { name: "number", title: "No.", value: (row) => row.number, cell: (row) => format.number(row.number), kind: "number" },
      { name: "wall", title: "Time", value: (row) => row.wall, cell: (row) => format.clock(row.wall) },
      { name: "reason", title: "Reason", value: (row) => row.reason, cell: (row) => row.reason, kind: "mono" },
      { name: "connection", title: "Connection", value: (row) => row.connection, cell: (row) => row.connection || "none in particular", kind: "mono" },
      { name: "offset", title: "Byte", value: (row) => row.offset ?? -1, cell: (row) => (row.offset === null ? "–" : format.number(row.offset)), kind: "number", hide: "narrow-hide" },
      { name: "rule", title: "Rule", value: (row) => row.rule, cell: (row) => row.rule, hide: "narrow-hide" },
    ],
  });
  main.replaceChildren(h("div", { class: "section-head" }, h("h1", null, "Divergences"), h("div", { class: "filter" }, filter)), chips, told,
    h("div", { class: "split" }, h("section", { class: "card list" }, table.element, empty), detail));

  function draw() {
    const all = [...store.divergences.values()];
    const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    const found = all.filter((row) => (!reason || row.reason === reason) && words.every((word) => `${row.reason} ${row.connection} ${row.rule} ${row.detail}`.toLowerCase().includes(word)));
    table.draw(found, current ?? "");
    table.element.hidden = !found.length;
    empty.hidden = found.length > 0;
    const panes = store.now ? Object.values(store.now.picture.panes) : [];
    const total = panes.reduce((sum, pane) => sum + Object.values(pane.accounting.divergences).reduce((a, b) => a + b, 0), 0);
    if (!found.length) tell(empty, ...nothing(all, total));
    say(told, total > all.length ? `The last ${format.number(all.length)} of ${format.number(total)}; ${format.number(found.length)} shown.` : all.length ? `${format.counted(all.length, "divergence")}${found.length < all.length ? `, ${format.number(found.length)} shown` : ""}.` : "");
    const counts = new Map();
    for (const row of all) counts.set(row.reason, (counts.get(row.reason) ?? 0) + 1);
    const text = JSON.stringify([[...counts], reason]);
    if (chips.dataset.shown !== text) {
      chips.dataset.shown = text;
      const chip = (name, label, count) => h("button", { type: "button", "aria-pressed": String(reason === name), onclick: () => { reason = reason === name ? null : name; draw(); } }, label, " ", h("b", null, format.number(count)));
      chips.replaceChildren(...(counts.size > 1 || reason ? [chip(null, "all", all.length), ...[...counts].sort((a, b) => b[1] - a[1]).map(([name, count]) => chip(name, name, count))] : []));
    }
  }

  function nothing(all, total) {
    if (!store.caughtUp) return store.state === "lost" ? NO_ANSWER : ["Loading …"];
    if (all.length) return ["None of them is like this."];
    if (elsewhere()) return ["Not on this host.", elsewhere()];
    if (total) return ["Only their number is known.", "What serves this page began after them, or was not told of them. The overview has them by reason."];
    return ["No divergence.", "Wherever both replicas have spoken so far, both said the same. When they do not, it is here within a second: the bytes, the frames, the reason, and what to do about it."];
  }

  async function open(number) {
    unshown = null;
    if (!number) { detail.replaceChildren(); return; }
    const close = h("button", { type: "button", class: "close", "aria-label": "Close", onclick: () => { location.hash = "#/divergences"; } }, "✕");
    detail.replaceChildren(h("section", { class: "card" }, h("header", { class: "detail-head" }, h("h2", null, `No. ${number}`), close), h("p", { class: "empty" }, "Loading …")));
    try {
      const one = await ask(`api/divergences/${encodeURIComponent(number)}`);
      const why = await ask(`api/reasons/${encodeURIComponent(one.reason)}`);
      if (current === number) detail.replaceChildren(card(one, why, close));
    } catch (problem) {
      unshown = number;
      if (current === number) detail.firstChild.lastChild.replaceWith(h("p", { class: "empty" }, `It cannot be shown: ${problem.message}.`));
    }
  }

  function card(one, why, close) {
    const { divergence } = one;
    const facts = [
      ["When", `${format.date(one.wall)}, epoch ${one.epoch}`],
      ["Connection", h("a", { class: "mono", href: `#/connections/${encodeURIComponent(`${store.now ? Object.keys(store.now.picture.panes)[0] : "compare"} ${one.connection}`)}` }, one.connection)],
      divergence.stream_offset !== null && ["Where", `byte ${format.number(divergence.stream_offset)} of the stream, sequence number ${divergence.seq}`],
      ["What", divergence.detail],
      ["Decided by rule", divergence.rule],
      ["Held then", `primary ${held(divergence.held_primary)}; secondary ${held(divergence.held_secondary)}`],
    ].filter((row) => row && (row[0] !== "Connection" || one.connection));
    return h("section", { class: "card divergence" },
      h("header", { class: "detail-head" }, h("h2", null, h("span", { class: "reason-name" }, one.reason), ` No. ${format.number(one.number)}`), close),
      h("p", { class: "why" }, prose(why.short)),
      sideBySide(divergence),
      h("dl", { class: "facts" }, facts.flatMap(([name, value]) => [h("dt", null, name), h("dd", null, value)])),
      h("div", { class: "buttons" },
        one.frames.length ? h("a", { class: "button", href: `api/divergences/${one.number}/evidence.pcapng`, download: "" }, "Evidence as pcapng") : null,
        one.rule_to_ignore ? h("button", { type: "button", onclick: () => ignore(one) }, "Ignore this kind from now on …") : null),
      framesOf(one), explained(why));
  }

  const off = [on("divergences", draw), on("picture", draw), on("state", () => { draw(); if (store.state === "live" && unshown === current && current) open(current); }), on("evidence", ({ number }) => { if (String(number) === current) open(current); })];
  function show(next, given) {
    const before = current;
    current = next;
    if (given?.has("reason")) reason = given.get("reason");
    main.dataset.open = String(Boolean(next));
    if (next !== before || next) open(next);
    if (next && next !== before && matchMedia("(max-width: 900px)").matches) detail.scrollIntoView();
    if (!next && before) table.focus(before);
    draw();
  }
  show(which);
  return {
    show, wanted: {}, escape() { if (current) location.hash = "#/divergences"; },
    leave() { off.forEach((call) => call()); delete main.dataset.open; },
  };
}

const held = (side) => (side.frames ? `${format.counted(side.frames, "frame")}, ${format.bytes(side.bytes)}, for ${format.seconds(side.oldest_age)}` : "nothing");

function framesOf(one) {
  if (!one.frames.length) return h("p", { class: "muted" }, one.more ? "Its frames were not kept: newer ones needed the room." : "It has no frames.");
  const first = one.frames[0].wall;
  return h("div", null, h("h3", null, "The frames"), h("ol", { class: "frames" }, one.frames.map((frame) => h("li", { class: frame.side }, h("details", null,
    h("summary", null, h("span", { class: "side-name" }, frame.side), h("span", null, `+${format.seconds(frame.wall - first)}`), h("span", null, format.bytes(frame.length))), dump(frame.data))))),
    one.more ? h("p", { class: "muted" }, `${format.counted(one.more, "more frame")} not kept here.`) : null);
}

function explained(why) {
  return h("details", { class: "explained", open: true }, h("summary", null, "What it means, and what to do"),
    h("p", null, prose(why.meaning)), h("h4", null, "Usual causes"), h("ul", null, why.causes.map((cause) => h("li", null, prose(cause)))),
    h("h4", null, "What to do"), h("ul", null, why.actions.map((action) => h("li", null, prose(action)))));
}
