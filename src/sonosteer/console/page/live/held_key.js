// A key or a button that must be held. The page only says that it is held: the console takes the time.
import { tell } from "../notices.js";

const EVERY_MS = 100;

export class HeldKey {
  /** run: () -> name of the run. shown: (what or null, part of the way from 0 to 1). */
  constructor(socket, run, shown) {
    this.socket = socket;
    this.run = run;
    this.shown = shown;
    this.what = null;
    for (const gone of ["blur", "pagehide"]) addEventListener(gone, () => this.letGo());
    document.addEventListener("visibilitychange", () => document.hidden && this.letGo());
  }

  grip(what) {
    if (this.what) return;
    this.what = what;
    this.shown(what, 0);
    this.say();
    this.timer = setInterval(() => this.say(), EVERY_MS);
  }

  async say() {
    const what = this.what;
    const answer = await this.socket.ask("grip", { run: this.run(), what });
    if (this.what !== what) return;
    if (!answer.ok) { tell(answer.reason); this.letGo(); return; }
    this.shown(what, Math.min(answer.held_s, 1));
    if (!answer.done) return;
    clearInterval(this.timer); // it is done once. The key has to be let go before the next time
    tell(what === "release" ? "the stop is released" : "started");
    this.shown(null, 0);
  }

  letGo() {
    if (!this.what) return;
    clearInterval(this.timer);
    this.what = null;
    this.shown(null, 0);
    this.socket.ask("let go");
  }
}
