// Elements from JavaScript. Text goes in as text, never as markup: what replicas send is shown here.

const SVG = "http://www.w3.org/2000/svg";

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    element.append(child instanceof Node ? child : String(child));
  }
  return element;
}

export const h = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);
export const s = (tag, attributes, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);

// Text in which what stands in backquotes is code.
export function prose(text) {
  return text.split("`").map((part, at) => (at % 2 ? h("code", null, part) : part));
}

// Where there is nothing to list: what is so, and under it what that means.
export function tell(box, what, meaning) {
  if (box.dataset.told === `${what}${meaning}`) return;
  box.dataset.told = `${what}${meaning}`;
  box.replaceChildren(h("p", { class: "big" }, what), ...(meaning ? [h("p", null, meaning)] : []));
}

// Set a text only if it is another: the reader's selection stays, and nothing is announced twice.
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
