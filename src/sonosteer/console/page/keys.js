// Keys. One table says what each does: the dialog shows it, and a press looks it up.
import { button, byId, el } from "./dom.js";

/** How a press is written in the table: Ctrl+z, Shift+G, ArrowLeft, comma as itself. */
function written(event) {
  const control = event.ctrlKey || event.metaKey ? "Ctrl+" : "";
  const alt = event.altKey ? "Alt+" : "";
  const named = event.key.length > 1;
  return control + alt + (event.shiftKey && (named || control) ? "Shift+" : "") + (control && !named ? event.key.toLowerCase() : event.key);
}

const typing = (target) => target.closest("input:not([type=checkbox]):not([type=radio]):not([type=range]), textarea, select") !== null;
const presses = (event) => ["Enter", " "].includes(event.key) && event.target.closest("button, a, summary, input") !== null;

/** Listen. table: [keys, shown, words, what to do][]. Keys of one line do the same. */
export function listen(table) {
  const acts = new Map(table.flatMap(([keys, , , act]) => keys.map((key) => [key, act])));
  document.addEventListener("keydown", (event) => {
    const act = acts.get(written(event));
    if (!act || event.isComposing || event.target.closest("dialog") || (typing(event.target) && event.key !== "Escape") || presses(event)) return;
    event.preventDefault();
    act(event);
  });
  const dialog = byId("keys");
  dialog.replaceChildren(
    el("h2", { id: "keys-title" }, "Keys"),
    el("ul", { className: "keys" }, ...table.filter(([, shown]) => shown).map(([, shown, words]) =>
      el("li", {}, words, el("span", {}, ...shown.split(" ").map((each) => el("kbd", {}, each)))))),
    button("Close", { className: "primary" }, () => dialog.close()),
  );
  byId("help").addEventListener("click", () => dialog.showModal());
}
