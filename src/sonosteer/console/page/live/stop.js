// The operator's stop as the page shows it: pressed at once, confirmed by a control period only, and if not, said loudly.
const UNCONFIRMED_MS = 300;

export class StopPress {
  /** socket: the way to the console. clock: the run's. changed: called when what is shown changes. */
  constructor(socket, clock, changed) {
    this.socket = socket;
    this.clock = clock;
    this.changed = changed;
    this.press = null;
  }

  /** Press. It needs no leave, no focus, no answer. It goes another way if the socket is not open. */
  now() {
    this.press = { at: performance.now(), run: this.clock.now(), confirmed: null };
    this.tell();
    setTimeout(() => this.changed(), UNCONFIRMED_MS + 10);
    this.changed();
  }

  tell() {
    if (this.socket.open) this.socket.ask("stop").then((answer) => { if (answer.gone) this.post(); });
    else this.post();
  }

  post() { fetch("/stop", { method: "POST" }).catch(() => this.changed()); }

  /** The connection is back. STOP is the one word that is said again. */
  again() { if (this.press && this.press.confirmed === null) this.tell(); }

  /** A control period. Only one later than the press, with a stop in it, confirms. */
  heard(state) {
    const press = this.press;
    if (!press) return;
    if (!state.stop) { if (press.confirmed !== null) this.press = null; return; } // it was released
    if (press.confirmed === null && (press.run === null || state.at >= press.run)) press.confirmed = performance.now() - press.at;
  }

  /** [what the button says, how it looks]. */
  get words() {
    const press = this.press;
    if (!press) return null;
    if (press.confirmed !== null) return [`pressed · confirmed by the control loop, ${Math.round(press.confirmed)} ms`, "confirmed"];
    if (performance.now() - press.at > UNCONFIRMED_MS) return ["NOT CONFIRMED: use the hardware stop", "unconfirmed"];
    return ["pressed", "pressed"];
  }
}
