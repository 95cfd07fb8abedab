// Light or dark: as the system wants, until a person chooses.
import { byId } from "./dom.js";

const system = matchMedia("(prefers-color-scheme: dark)");
const heard = [];
let chosen = localStorage.getItem("theme");

const isDark = () => (chosen ? chosen === "dark" : system.matches);

function show() {
  if (chosen) document.documentElement.dataset.theme = chosen;
  byId("theme").textContent = isDark() ? "Light" : "Dark";
  for (const each of heard) each();
}

/** Begin, and call back whenever the colours change. */
export function startTheme(changed) {
  heard.push(changed);
  system.addEventListener("change", show);
  byId("theme").addEventListener("click", () => {
    chosen = isDark() ? "light" : "dark";
    localStorage.setItem("theme", chosen);
    show();
  });
  show();
}
