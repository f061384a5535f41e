// The overview: are the replicas protected, how much passes, what waits, what happened.

import { h, s, say } from "./dom.js";
import * as format from "./format.js";
import { elsewhere, on, store } from "./live.js";
import { makePlot } from "./plots.js";

export const STATES = {
  protected: "Protected", waiting: "Checkpoint needed", alone: "One replica alone", open: "Not protected",
  idle: "Nothing compared", loading: "Connecting", lost: "Connection lost",
};

const SPANS = [[60, "1 min"], [180, "3 min"], [600, "10 min"]];
let span = 180;

export const titleOf = (told) => told.protection.title || STATES[told.protection.state];

// Who is there: the two replicas and the client's side, and what the replicas are called.
function present(told) {
  const gates = new Map(told.picture.gates.map((gate) => [gate.name, gate]));
  const is = (...names) => names.map((name) => gates.get(name)).find(Boolean)?.connected ?? true;
  const { guest } = told.picture;
  if (guest) {
    const primary = guest.role === "secondary" ? guest.other : guest.host;
    const secondary = guest.role === "secondary" ? guest.host : guest.other;
    const both = guest.looks === "protected";
    return { primary: guest.role === "primary" || both, secondary: guest.role === "secondary" || both, out: guest.role !== "none", names: [`primary: ${primary}`, `secondary: ${secondary}`] };
  }
  const survivor = Object.values(told.picture.panes).find((pane) => pane.survivor)?.survivor;
  return {
    primary: is("primary_in", "primary") && survivor !== "secondary", secondary: is("secondary_in", "secondary") && survivor !== "primary",
    out: is("outdev", "client"), names: ["primary", "secondary"],
  };
}

// The two replicas, the proxy and the client, as they are connected.
function diagram(told) {
  const { primary, secondary, out, names } = present(told);
  const [one, two] = names.map((name) => (name.length > 14 ? `${name.slice(0, 13)}…` : name));
  const node = (x, y, width, name, kind, on) => s("g", { class: `node ${kind}${on ? "" : " off"}` },
    s("rect", { x, y, width, height: 34, rx: 8 }), s("text", { x: x + width / 2, y: y + 21.5, "text-anchor": "middle" }, name));
  const wire = (path, on, kind) => s("path", { d: path, class: `wire ${kind}${on ? "" : " off"}` });
  const words = `Primary ${primary ? "connected" : "not connected"}, secondary ${secondary ? "connected" : "not connected"}, client side ${out ? "connected" : "not connected"}.`;
  return s("svg", { viewBox: "0 0 380 124", class: "diagram", role: "img", "aria-label": words },
    wire("M112 23 C150 23 140 54 166 54", primary, "primary"), wire("M112 101 C150 101 140 70 166 70", secondary, "secondary"),
    wire("M262 62 H306", out, "out"),
    node(2, 6, 110, one, "primary", primary), node(2, 84, 110, two, "secondary", secondary),
    node(166, 45, 96, "compared", "middle", true), node(306, 45, 72, "clients", "client", out),
    primary ? null : s("text", { x: 140, y: 34, class: "cut" }, "✕"), secondary ? null : s("text", { x: 140, y: 100, class: "cut" }, "✕"),
    out ? null : s("text", { x: 284, y: 67, class: "cut" }, "✕"));
}

function tile(title) {
  const value = h("p", { class: "value" }, "–");
  const more = h("p", { class: "more" });
  return { element: h("section", { class: "card tile" }, h("h3", null, title), value, more), value, more };
}

const GOOD = new Set(["protected", "standby", "alone", "copying", "pairing", "receiving", "starting", "waiting"]); // of an agent's states
const WHO = { guest: "QEMU", peer: "The other agent", network: "The network" }; // of an agent's ports
const SAID = {
  checkpoint_requested: (mark) => [`Checkpoint asked for${mark.attempt > 1 ? `, attempt ${mark.attempt}` : ""}: ${mark.reason}`, "asked"],
  checkpoint_completed: (mark) => [`Checkpoint made${mark.took === null ? "" : ` after ${format.seconds(mark.took)}`}; ${format.counted(mark.released_frames, "frame")} released`, "made"],
  checkpoint_failed: () => ["Checkpoint failed; nothing was released", "failed"],
  failed_over: (mark) => [`The ${mark.survivor} goes on alone`, "failed"],
  peer_connected: (mark) => [`${WHO[mark.role] ?? mark.role} is connected`, "peer"],
  peer_lost: (mark) => [`${WHO[mark.role] ?? mark.role} is no longer connected: ${mark.reason}`, "failed"],
  warning: (mark) => [mark.text, "failed"],
  guest_checkpoint: (mark) => [`${mark.count > 1 ? `${mark.count} checkpoints` : "Checkpoint"} made, ${mark.count > 1 ? "the longest " : ""}after ${format.seconds(mark.took)}, the guest stood still ${format.seconds(mark.paused)}: ${Object.keys(mark.asked).join(", ")}`, "made"],
  agent_changed: (mark) => [`${mark.before} → ${mark.after}: ${mark.happened}${mark.detail && mark.detail !== mark.happened ? `, ${mark.detail}` : ""}`, GOOD.has(mark.after) ? "peer" : "failed"],
  taken_over: (mark) => [`The guest goes on here alone, ${format.seconds(Math.max(0, ...Object.values(mark.steps)))} after: ${mark.why}`, "peer"],
};

// A checkpoint that is asked for again and again is told once, as it was asked for last.
function withoutRepeats(marks) {
  let later = null;
  return marks.toReversed().filter((mark) => {
    if (mark.event !== "checkpoint_requested") return true;
    const repeated = later !== null && later.attempt > mark.attempt && later.reason === mark.reason;
    later = mark;
    return !repeated;
  }).reverse();
}

export function overview(main) {
  const shield = s("svg", { viewBox: "0 0 24 24", class: "shield", "aria-hidden": "true" },
    s("path", { d: "M12 2 4 5v6c0 5 3.4 9.3 8 11 4.6-1.7 8-6 8-11V5z" }), s("path", { class: "inner", d: "" }));
  const INNER = { protected: "m8 12 3 3 5-6", waiting: "M12 8v4l3 2", alone: "M12 7v6M12 16.5v.1", open: "m9 9 6 6m0-6-6 6", idle: "M8 12h8", lost: "M8 12h8", loading: "M8 12h8" };
  const word = h("h1", null, "Connecting");
  const since = h("p", { class: "since" });
  const why = h("p", { class: "why" });
  const picture = h("div", { class: "diagram-box" });
  const hero = h("section", { class: "card hero", "data-state": "loading" }, h("div", { class: "hero-words" }, shield, h("div", null, word, since, why)), picture);
  const tiles = { released: tile("Released"), latency: tile("Latency"), held: tile("Held"), checkpoints: tile("Checkpoints"), divergences: tile("Divergences"), connections: tile("Connections") };
  const plots = [
    makePlot({ title: "Released to clients", series: [{ label: "bits a second", key: "released", colour: "flow", fill: true }], format: format.rate, least: 1000 / 8, span: () => span }),
    makePlot({ title: "Latency: for how long the primary's frames are held", series: [{ label: "median", key: "median", colour: "flow" }, { label: "99 %", key: "tail", colour: "tail", dash: [5, 3] }], format: format.latency, axis: format.seconds, log: true, floor: 0.00003, none: "Nothing compared has left of late.", span: () => span }),
    makePlot({ title: "Held until the other replica says the same", series: [{ label: "primary", key: "primary", colour: "primary", fill: true }, { label: "secondary", key: "secondary", colour: "secondary", fill: true, dash: [6, 3] }], format: format.bytes, least: 100, span: () => span }),
  ];
  const choose = h("div", { class: "choices", role: "group", "aria-label": "Time shown" }, SPANS.map(([length, name]) =>
    h("button", { type: "button", "aria-pressed": String(length === span), onclick: (event) => {
      span = length;
      for (const each of choose.children) each.setAttribute("aria-pressed", String(each === event.currentTarget));
      plots.forEach((plot) => plot.draw());
    } }, name)));
  const key = h("p", { class: "marks-key" }, h("span", null, h("i", { class: "diamond made" }), "checkpoint made"), h("span", null, h("i", { class: "diamond" }), "asked for"), h("span", null, h("i", { class: "triangle" }), "divergence"));
  const reasons = h("div", { class: "reasons" });
  const news = h("ol", { class: "news" });
  main.replaceChildren(hero, h("div", { class: "tiles" }, Object.values(tiles).map((each) => each.element)),
    h("div", { class: "section-head" }, h("h2", null, "The last minutes"), key, choose), h("div", { class: "plots" }, plots.map((plot) => plot.element)),
    h("div", { class: "two" }, h("section", { class: "card" }, h("h2", null, "Divergences by reason"), reasons), h("section", { class: "card" }, h("h2", null, "What happened"), news)));

  function draw() {
    const told = store.now;
    const state = store.state === "live" ? told.protection.state : store.state;
    hero.dataset.state = state;
    shield.querySelector(".inner").setAttribute("d", INNER[state] ?? "");
    say(word, store.state === "live" ? titleOf(told) : STATES[state]);
    plots.forEach((plot) => plot.draw());
    if (!told) { unknown(); return; }
    const { picture: seen, protection } = told;
    say(since, store.state === "live" ? `since ${format.clock(protection.since)}, for ${format.seconds(Math.max(0, seen.wall - protection.since))}` : `last seen ${format.clock(seen.wall)}`);
    say(why, store.state === "live" ? protection.why : "The page tries again by itself; the proxy may be gone, or the way to it.");
    picture.replaceChildren(diagram(told));
    const panes = Object.values(seen.panes);
    const sum = (value) => panes.reduce((total, pane) => total + value(pane), 0);
    const at = (name) => store.points[name]?.at(-1) ?? null;
    say(tiles.released.value, at("released") === null ? "–" : format.rate(at("released")));
    say(tiles.released.more, `${format.bytes(sum((pane) => pane.accounting.primary.released.bytes + pane.accounting.primary.passed.bytes))} so far`);
    say(tiles.latency.value, at("median") === null ? "–" : format.latency(at("median")));
    say(tiles.latency.more, at("tail") === null ? "nothing leaves now" : `99 %: ${format.latency(at("tail"))}`);
    const held = sum((pane) => pane.accounting.primary.held.bytes + pane.accounting.secondary.held.bytes);
    say(tiles.held.value, format.bytes(held));
    say(tiles.held.more, held ? `the oldest for ${format.seconds(Math.max(...panes.flatMap((pane) => [pane.primary_age, pane.secondary_age])))}` : "nothing waits");
    say(tiles.checkpoints.value, format.number(seen.guest?.checkpoints ?? sum((pane) => pane.accounting.checkpoints_completed)));
    const took = store.marks.findLast((mark) => ["checkpoint_completed", "guest_checkpoint"].includes(mark.event) && mark.took !== null)?.took;
    say(tiles.checkpoints.more, took === undefined ? `${format.number(sum((pane) => pane.accounting.checkpoints_requested))} asked for` : `the last took ${format.seconds(took)}`);
    say(tiles.divergences.value, format.number(sum((pane) => Object.values(pane.accounting.divergences).reduce((a, b) => a + b, 0))));
    say(tiles.divergences.more, sum((pane) => pane.diverged) ? `${format.counted(sum((pane) => pane.diverged), "connection")} held for it` : "none waits for a checkpoint");
    say(tiles.connections.value, format.number(sum((pane) => pane.connections)));
    const waiting = sum((pane) => pane.waiting);
    say(tiles.connections.more, waiting === 1 ? "one holds frames" : `${format.number(waiting)} hold frames`);
    byReason(panes);
  }

  // Nothing has been heard so far.
  function unknown() {
    const lost = store.state === "lost";
    say(since, lost ? `asked since ${format.clock(store.opened)}` : `asking ${location.host}`);
    say(why, lost ? "The page tries again by itself; the proxy may be gone, or the way to it." : "As soon as the proxy answers, it is shown here.");
    for (const box of [reasons, news]) box.replaceChildren(h(box === news ? "li" : "p", { class: "empty" }, lost ? "Nothing is known." : "Loading …"));
  }

  function byReason(panes) {
    const totals = new Map();
    for (const pane of panes) for (const [reason, count] of Object.entries(pane.accounting.divergences)) totals.set(reason, (totals.get(reason) ?? 0) + count);
    const sorted = [...totals].sort((a, b) => b[1] - a[1]);
    const text = JSON.stringify([sorted, elsewhere()]);
    if (reasons.dataset.shown === text) return;
    reasons.dataset.shown = text;
    const most = sorted[0]?.[1] ?? 1;
    reasons.replaceChildren(...(sorted.length ? sorted.map(([reason, count]) =>
      h("a", { class: "reason-bar", href: `#/divergences?reason=${reason}` }, h("code", null, reason),
        s("svg", { class: "meter", viewBox: "0 0 100 8", preserveAspectRatio: "none", "aria-hidden": "true" }, s("rect", { width: Math.max(1.5, (100 * count) / most), height: 8, rx: 1.5 })),
        h("b", null, format.number(count)))) : [h("p", { class: "empty" }, elsewhere() ?? "None so far: wherever both have spoken, both said the same.")]));
  }

  function tell() {
    if (!store.caughtUp) return;
    const latest = withoutRepeats(store.marks.filter((mark) => SAID[mark.event])).slice(-12).reverse();
    news.replaceChildren(...(latest.length ? latest.map((mark) => {
      const [text, kind] = SAID[mark.event](mark);
      return h("li", { class: kind }, h("time", { title: format.date(mark.wall) }, format.clock(mark.wall)), h("span", null, text));
    }) : [h("li", { class: "empty" }, "Nothing yet.")]));
  }

  const off = [on("picture", draw), on("state", draw), on("mark", tell), on("history", () => { tell(); if (store.now) draw(); })];
  draw();
  tell();
  return { wanted: {}, leave() { off.forEach((call) => call()); plots.forEach((plot) => plot.destroy()); } };
}
