// Small helpers to build a page. No string of a clip or a server ever becomes HTML: text stays text.
const SVG = "http://www.w3.org/2000/svg";

/** The element with an id. */
export const byId = (id) => document.getElementById(id);

/** An element with properties (`on...` are listeners, `aria-...`, `role` and `data-...` attributes) and children. */
export function el(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [key, value] of Object.entries(properties)) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (key.includes("-") || key === "role" || key === "for" || key === "list") made.setAttribute(key, value);
    else made[key] = value;
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

/** An SVG element with attributes. */
export function svg(tag, attributes = {}, text) {
  const made = document.createElementNS(SVG, tag);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

/** A button with a key on it. `key` is what a person sees, `shortcut` what a screen reader is told. */
export function button(text, { key, shortcut, ...properties } = {}, onclick) {
  const made = el("button", { type: "button", ...properties }, text);
  if (key) made.append(el("kbd", { "aria-hidden": "true" }, key));
  if (shortcut || key) made.setAttribute("aria-keyshortcuts", shortcut || key);
  made.addEventListener("click", onclick);
  return made;
}

/** Set text only if it has changed, so that a screen reader is not told twice. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** A number of a style variable, as the theme has it now. */
export const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
