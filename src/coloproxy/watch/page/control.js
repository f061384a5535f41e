// What changes something: a rule is shown before it is added, and adding it needs the token.

import { h } from "./dom.js";
import { ask, store } from "./live.js";

const KEPT = "coloproxy-token"; // for as long as this tab is open

export function ignore(one) {
  const allowed = store.hello?.control;
  const token = h("input", { type: "password", id: "token", autocomplete: "off", spellcheck: "false", value: sessionStorage.getItem(KEPT) ?? "" });
  const problem = h("p", { class: "problem", role: "alert", hidden: true });
  const add = h("button", { type: "submit", class: "primary-action", disabled: !allowed }, "Add this rule");
  const cancel = h("button", { type: "button", onclick: () => dialog.close() }, "Cancel");
  const form = h("form", { method: "dialog", onsubmit: send },
    h("h2", { id: "ignore-title" }, "Ignore this kind from now on"),
    h("p", null, "This rule is put in front of all others. What it matches is no longer compared: the primary's frames leave at once, the secondary's are dropped. What waits for a checkpoint already goes on waiting for it."),
    h("pre", { class: "rule" }, one.rule_to_ignore),
    h("p", { class: "muted" }, "It holds until the proxy ends. To keep it, put it in the rules file."),
    allowed ? [h("label", { for: "token" }, "Token, from the file that ", h("code", null, "--control"), " names"), token]
            : h("p", { class: "problem" }, "Control is off: the proxy was started without ", h("code", null, "--control FILE"), ". The rule can still be copied from here."),
    problem, h("div", { class: "buttons" }, cancel, add));
  const dialog = h("dialog", { class: "dialog", "aria-labelledby": "ignore-title" }, form);

  async function send(event) {
    event.preventDefault();
    add.disabled = true;
    problem.hidden = true;
    try {
      await ask(`api/divergences/${one.number}/ignore`, { method: "POST", headers: { Authorization: `Bearer ${token.value}` } });
      sessionStorage.setItem(KEPT, token.value);
      form.replaceChildren(h("h2", { id: "ignore-title" }, "The rule is in force"), h("p", null, "From now on this kind is not compared."),
        h("pre", { class: "rule" }, one.rule_to_ignore), h("div", { class: "buttons" }, h("button", { type: "button", autofocus: true, onclick: () => dialog.close() }, "Close")));
    } catch (error) {
      problem.textContent = `It was not added: ${error.message}.`;
      problem.hidden = false;
      add.disabled = false;
    }
  }

  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
  (allowed ? token : cancel).focus();
}
