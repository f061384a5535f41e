// The page: its views, its keys, and what is at the top of it whatever the view.

import { connections } from "./connections.js";
import { divergences } from "./divergences.js";
import { h, say } from "./dom.js";
import * as format from "./format.js";
import { listen, on, store } from "./live.js";
import { overview, STATES, titleOf } from "./overview.js";

const VIEWS = { overview, connections, divergences };
const main = document.getElementById("main");
const chip = document.getElementById("chip");
const banner = document.getElementById("banner");
let view = null;

// An address is #/VIEW/WHICH?name=value.
function address() {
  const [path, params = ""] = location.hash.replace(/^#\/?/, "").split("?");
  const [name, ...rest] = path.split("/");
  return { name: name in VIEWS ? name : "overview", which: rest.length ? decodeURIComponent(rest.join("/")) : null, params: new URLSearchParams(params) };
}

function go() {
  const { name, which, params } = address();
  for (const tab of document.querySelectorAll(".tabs a")) {
    if (tab.dataset.view === name) tab.setAttribute("aria-current", "page");
    else tab.removeAttribute("aria-current");
  }
  document.title = `${name[0].toUpperCase()}${name.slice(1)} · coloproxy`;
  if (view?.name === name && view.show) {
    view.show(which, params);
  } else {
    view?.leave();
    main.dataset.view = name;
    view = { name, ...VIEWS[name](main, which, params) };
    scrollTo(0, 0);
  }
  listen(typeof view.wanted === "function" ? view.wanted() : view.wanted);
}

function top() {
  const state = store.state === "live" ? store.now.protection.state : store.state;
  chip.dataset.state = state;
  say(chip.querySelector(".word"), store.state === "live" ? titleOf(store.now) : STATES[state]);
  banner.hidden = store.state !== "lost";
  if (store.state === "lost") say(banner, store.now ? `No connection to the proxy since ${format.clock(store.now.picture.wall)}. What is shown is from then. Trying again.`
    : `The proxy has not answered since this page was opened, at ${format.clock(store.opened)}. Trying again.`);
  document.body.dataset.live = store.state;
}

function count() {
  const panes = store.now ? Object.values(store.now.picture.panes) : [];
  const total = panes.reduce((sum, pane) => sum + Object.values(pane.accounting.divergences).reduce((a, b) => a + b, 0), 0);
  const badge = document.getElementById("divergence-count");
  badge.hidden = total === 0;
  say(badge, format.number(total));
}

function help() {
  const rows = [["1 2 3", "Overview, connections, divergences"], ["/", "Filter"], ["↑ ↓", "From row to row"], ["Enter", "Open a row"], ["Esc", "Close what is open"], ["?", "This"]];
  const dialog = h("dialog", { class: "dialog", "aria-labelledby": "help-title" }, h("h2", { id: "help-title" }, "Keys"),
    h("dl", { class: "keys-list" }, rows.map(([key, text]) => [h("dt", null, key.split(" ").map((each) => [h("kbd", null, each), " "])), h("dd", null, text)])),
    h("div", { class: "buttons" }, h("button", { type: "button", onclick: () => dialog.close(), autofocus: true }, "Close")));
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}

document.addEventListener("keydown", (event) => {
  const typing = event.target.closest("input, textarea, select, dialog");
  if (event.ctrlKey || event.altKey || event.metaKey) return;
  if (event.key === "Escape" && view?.escape && !event.target.closest("dialog")) { view.escape(); return; }
  if (typing) return;
  const names = Object.keys(VIEWS);
  if (event.key >= "1" && event.key <= String(names.length)) location.hash = `#/${names[event.key - 1]}`;
  else if (event.key === "/") { const field = main.querySelector("input[type=search]"); if (field) { event.preventDefault(); field.focus(); } }
  else if (event.key === "?") help();
  else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
    const rows = [...main.querySelectorAll("tr[tabindex]")];
    const at = rows.indexOf(document.activeElement);
    if (!rows.length || (at < 0 && document.activeElement !== document.body && document.activeElement !== main)) return;
    event.preventDefault();
    rows[Math.max(0, Math.min(rows.length - 1, at + (event.key === "ArrowDown" ? 1 : -1)))].focus();
  }
});

on("state", top);
on("picture", () => { top(); count(); });
on("hello", (hello) => {
  say(document.getElementById("host"), hello.name ?? "");
  say(document.getElementById("version"), hello.version ? `coloproxy ${hello.version}, ${hello.compiled ? "compiled" : "uncompiled: many times slower than it could be"}, started ${format.date(hello.started)}` : "");
});
addEventListener("hashchange", go);
go();
