// The run's clock as this page knows it. The smallest of the last round trips to the console gives the offset.
const KEPT = 40; // pings, ten seconds of them

export class RunClock {
  constructor() { this.samples = []; }

  /** An answer to a ping. at: when it was asked, ms of this page. now: the run's time in between, s. */
  heard(at, now) {
    if (now === undefined) return;
    const back = performance.now(), trip = back - at;
    this.samples.push({ trip, offset: now - (at + trip / 2) / 1000 });
    if (this.samples.length > KEPT) this.samples.shift();
  }

  /** The run began anew: its clock, too. */
  forget() { this.samples = []; }

  /** The run's time now, s. null before it is known. */
  now() {
    if (!this.samples.length) return null;
    const best = this.samples.reduce((a, b) => (b.trip < a.trip ? b : a));
    return performance.now() / 1000 + best.offset;
  }
}
