// What the page knows of one recorded run, and what was so at a moment of it.
import { namedRow } from "../clip/state.js";

const KEPT = ["frames", "estimates", "decisions", "spans", "events", "curve"];

/** Index of the last row whose time is at most t. -1: none. */
function lastAt(rows, t, timeOf) {
  let low = 0, high = rows.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (timeOf(rows[middle]) <= t + 1e-6) low = middle + 1; else high = middle;
  }
  return low - 1;
}

const first = (row) => row[0];

export class RecordedRun {
  constructor(about, number) {
    Object.assign(this, about);
    this.number = number;
    for (const part of KEPT) this[part] = [];
    this.byFrame = new Map();
  }

  put(part, rows) {
    this[part].push(...rows);
    if (part !== "estimates") return;
    for (const [, , row] of rows) this.byFrame.set(row[0], namedRow(this.name, row));
  }

  /** Place in `frames` of the newest picture that had arrived. */
  frameAt(t) {
    let at = lastAt(this.frames, t, (row) => row[1]);
    while (at > 0 && !this.frames[at][3]) at--;
    return Math.max(at, 0);
  }

  /** The newest estimate that was known, with its age in s. null before the first. */
  estimateAt(t) {
    const at = lastAt(this.estimates, t, first);
    if (at < 0) return null;
    const [, captured, row] = this.estimates[at];
    return { ...namedRow(this.name, row), age: t - captured };
  }

  decisionAt(t) {
    const at = lastAt(this.decisions, t, first);
    if (at < 0) return null;
    const [time, frame, speed, angle, stop, target] = this.decisions[at];
    return { time, frame, speed, angle, stop, target, age: t - time };
  }

  spanAt(t) {
    const at = lastAt(this.spans, t, first);
    if (at < 0) return null;
    const [from, to, word, rule, reason] = this.spans[at];
    return { from, to, word, rule, reason };
  }

  curveAt(t) {
    const at = lastAt(this.curve, t, first);
    if (at < 0) return null;
    const [, speed, depth, sd, away] = this.curve[at];
    return { speed, depth, sd, away };
  }

  /** Moments to jump to: refusals and stops, and what happened, in the order of time. */
  moments() {
    const held = this.spans.filter(([, , word]) => word === "held" || word === "stopped").map(([from, to, word, rule, reason]) =>
      ({ time: from, lasts: to - from, word, says: word === "stopped" ? `stopped: ${reason}` : reason || rule }));
    const events = this.events.map(([time, says]) => ({ time, lasts: 0, word: "event", says }));
    return [...held, ...events].sort((a, b) => a.time - b.time);
  }
}
