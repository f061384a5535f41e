// Tables whose rows stay the same elements while what they show changes: focus and selection survive.

import { h, say } from "./dom.js";

// columns: [{name, title, value(row) for sorting, cell(row) -> text or node, kind: "number" | "text", hide}].
export function makeTable({ columns, key, open, sorted, caption }) {
  const order = { ...sorted };
  const head = h("tr");
  const body = h("tbody");
  const rows = new Map();
  let shown = [];
  const element = h("div", { class: "table-box" }, h("table", null, h("caption", { class: "visually-hidden" }, caption), h("thead", null, head), body));

  for (const column of columns) {
    const button = h("button", { type: "button", onclick: () => {
      if (order.by === column.name) order.down = !order.down;
      else { order.by = column.name; order.down = column.kind === "number"; }
      draw(shown);
    } }, column.title, h("span", { class: "arrow", "aria-hidden": "true" }));
    head.append(h("th", { scope: "col", class: `${column.kind === "number" ? "number" : "text"} ${column.hide ?? ""}`, "data-name": column.name }, button));
  }

  function make(row) {
    const cells = columns.map((column) => h("td", { class: `${column.kind ?? "text"} ${column.hide ?? ""}`, "data-title": column.title }));
    const line = h("tr", { tabindex: "0", onclick: () => open(key(line.row)), onkeydown: (event) => {
      if (event.key === "Enter" || event.key === " ") { event.preventDefault(); open(key(line.row)); }
    } }, cells);
    line.row = row;
    return line;
  }

  function draw(list, current) {
    shown = list;
    const column = columns.find((each) => each.name === order.by);
    const value = column.value;
    const sign = order.down ? -1 : 1;
    const sortedRows = [...list].sort((a, b) => {
      const [x, y] = [value(a), value(b)];
      return x < y ? -sign : x > y ? sign : 0;
    });
    for (const each of head.children) {
      const mine = each.dataset.name === order.by;
      each.setAttribute("aria-sort", mine ? (order.down ? "descending" : "ascending") : "none");
    }
    const seen = new Set();
    sortedRows.forEach((row, at) => {
      const name = String(key(row));
      seen.add(name);
      let line = rows.get(name);
      if (!line) { line = make(row); rows.set(name, line); }
      line.row = row;
      columns.forEach((each, index) => {
        const content = each.cell(row);
        const cell = line.children[index];
        if (content instanceof Node) { if (cell.dataset.shown !== content.textContent) { cell.dataset.shown = content.textContent; cell.replaceChildren(content); } }
        else { say(cell, String(content)); cell.classList.toggle("nothing", content === "–"); }
      });
      if (current !== undefined) line.setAttribute("aria-selected", String(name === String(current)));
      if (body.children[at] !== line) body.insertBefore(line, body.children[at] ?? null);
    });
    for (const [name, line] of rows) if (!seen.has(name)) { line.remove(); rows.delete(name); }
  }

  return { element, draw, focus: (name) => rows.get(String(name))?.focus() };
}
