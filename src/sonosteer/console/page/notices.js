// What is said to a person: a short word that goes away, or a banner that stays until it is settled.
import { button, byId, el } from "./dom.js";

const STAYS_MS = 5000;
const banners = new Map();

/** Say something for a few seconds. */
export function tell(text) {
  const p = el("p", {}, text);
  byId("told").append(p);
  setTimeout(() => p.remove(), STAYS_MS + 40 * text.length);
}

/** Show a banner, or take it away if there is no text. `acts` are [text, what to do]. */
export function banner(name, text, acts = []) {
  const before = banners.get(name);
  if (before?.said === text) return;
  before?.element.remove();
  banners.delete(name);
  if (!text) return;
  const element = el("div", { className: "banner" }, el("p", {}, text));
  for (const [word, act] of acts) element.append(button(word, {}, act));
  byId("banners").append(element);
  banners.set(name, { said: text, element });
}
