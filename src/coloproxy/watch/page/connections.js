// The connections: a list that is live, and one of them looked into.

import { h, say, tell } from "./dom.js";
import * as format from "./format.js";
import { elsewhere, NO_ANSWER, on, store } from "./live.js";
import { streamView } from "./streams.js";
import { makeTable } from "./table.js";

export function called({ protocol, source, destination, source_port, destination_port, identifier, vlan }) {
  const end = (host, port) => (port ? `${host.includes(":") ? `[${host}]` : host}:${port}` : host);
  return `${protocol} ${end(source, source_port)} > ${end(destination, destination_port)}${identifier ? ` id ${identifier}` : ""}${(vlan ?? []).map((tag) => ` vlan ${tag}`).join("")}`;
}

function state(row) {
  if (row.diverged) return ["differs", `differs: ${row.diverged}`, 3];
  if (row.unprotected) return ["unprotected", "passes uncompared", 2];
  if (row.held_primary.frames || row.held_secondary.frames) return ["waits", "waits", 1];
  return ["quiet", "nothing waits", 0];
}

export function connections(main, which) {
  let current = which;
  const filter = h("input", { type: "search", placeholder: "Address, port, protocol, state …", "aria-label": "Filter the connections", autocomplete: "off", spellcheck: "false", oninput: () => draw() });
  const told = h("p", { class: "told", "aria-live": "polite" });
  const empty = h("div", { class: "empty" });
  const detail = h("div", { class: "detail" });
  const stream = streamView(() => { location.hash = "#/connections"; });
  const age = (row) => Math.max(row.held_primary.oldest_age, row.held_secondary.oldest_age);
  const table = makeTable({
    caption: "Connections, live", key: (row) => row.key, sorted: { by: "age", down: true },
    open: (key) => { location.hash = `#/connections/${encodeURIComponent(key)}`; },
    columns: [
      { name: "connection", title: "Connection", value: (row) => row.name, cell: (row) => row.name, kind: "mono" },
      { name: "state", title: "State", value: (row) => state(row)[2], cell: (row) => h("span", { class: `pill ${state(row)[0]}` }, state(row)[1]) },
      { name: "verified", title: "Verified", value: (row) => row.verified_bytes, cell: (row) => format.bytes(row.verified_bytes), kind: "number", hide: "split-hide" },
      { name: "primary", title: "Primary holds", value: (row) => row.held_primary.bytes, cell: (row) => (row.held_primary.frames ? format.bytes(row.held_primary.bytes) : "–"), kind: "number", hide: "narrow-hide middle-hide" },
      { name: "secondary", title: "Secondary holds", value: (row) => row.held_secondary.bytes, cell: (row) => (row.held_secondary.frames ? format.bytes(row.held_secondary.bytes) : "–"), kind: "number", hide: "narrow-hide middle-hide" },
      { name: "age", title: "Waits for", value: age, cell: (row) => (age(row) ? format.seconds(age(row)) : "–"), kind: "number" },
      { name: "idle", title: "Idle", value: (row) => row.idle, cell: (row) => format.seconds(row.idle), kind: "number", hide: "narrow-hide middle-hide" },
    ],
  });
  main.replaceChildren(h("div", { class: "section-head" }, h("h1", null, "Connections"), h("div", { class: "filter" }, filter)), told,
    h("div", { class: "split" }, h("section", { class: "card list" }, table.element, empty), detail));

  function draw() {
    const listed = store.connections?.listed ?? [];
    for (const row of listed) row.name = called(row.connection);
    const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    const found = listed.filter((row) => { const text = `${row.name} ${state(row)[1]}`.toLowerCase(); return words.every((word) => text.includes(word)); });
    table.draw(found, current ?? "");
    table.element.hidden = !found.length;
    empty.hidden = found.length > 0;
    if (!found.length) tell(empty, ...nothing(listed));
    const total = store.connections?.total ?? 0;
    say(told, !total ? "" : total > listed.length ? `${format.number(listed.length)} of ${format.counted(total, "connection")}: those that hold frames, then the newest. ${format.number(found.length)} shown.` : `${format.counted(total, "connection")}${words.length ? `, ${format.number(found.length)} shown` : ""}.`);
  }

  function nothing(listed) {
    if (listed.length) return [`None of ${format.counted(listed.length, "connection")} has “${filter.value}”.`];
    if (elsewhere()) return ["Not on this host.", elsewhere()];
    if (!store.connections) return store.state === "lost" ? NO_ANSWER : ["Loading …"];
    return ["No connection yet.", "As soon as a replica sends something that is compared, it is here."];
  }

  function show(next) {
    const before = current;
    current = next;
    main.dataset.open = String(Boolean(next));
    detail.replaceChildren(...(next ? [stream.element] : []));
    if (next) { stream.show(next); if (next !== before && matchMedia("(max-width: 900px)").matches) detail.scrollIntoView(); }
    else if (before) table.focus(before);
    draw();
  }

  const off = [on("connections", draw), on("state", () => { draw(); stream.wait(); }), on("streams", (said) => { if (said.key === current) stream.draw(said); })];
  show(which);
  return {
    show, wanted: () => ({ connections: true, streams: current }),
    escape() { if (current) location.hash = "#/connections"; },
    leave() { off.forEach((call) => call()); delete main.dataset.open; },
  };
}
