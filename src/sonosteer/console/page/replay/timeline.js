// The time line of recorded runs: what the gate said, what the tracker said, and curves, in seconds. One run above the other.
import { colour, el } from "../dom.js";

const EVENT_PX = 12, BAND_PX = 13, CURVE_PX = 50, AXIS_PX = 18, GAP_PX = 6, LEFT_PX = 62, RIGHT_PX = 12;
const GATE = { cleared: [1, "--tracking"], bounded: [0.75, "--tracking"], held: [0.5, "--coasting"], stopped: [0.3, "--lost"] };
const STATE = { tracking: [1, "--tracking"], coasting: [0.6, "--coasting"], lost: [0.3, "--lost"] };

export class ReplayTimeline {
  /** on: {seek(time in s)}. read: () -> {now, until, runs, words}. */
  constructor(element, on, read) {
    this.element = element;
    this.on = on;
    this.read = read;
    this.canvas = el("canvas", { "aria-hidden": "true" });
    element.append(this.canvas);
    element.tabIndex = 0;
    element.setAttribute("role", "slider");
    element.setAttribute("aria-label", "time, seconds");
    element.addEventListener("pointerdown", (event) => { element.setPointerCapture(event.pointerId); this.held = true; this.seek(event); });
    element.addEventListener("pointermove", (event) => this.held && this.seek(event));
    for (const end of ["pointerup", "pointercancel"]) element.addEventListener(end, () => { this.held = false; });
    new ResizeObserver(() => this.redraw()).observe(element);
  }

  seek(event) {
    const { until } = this.read(), box = this.element.getBoundingClientRect();
    this.on.seek(((event.clientX - box.left - LEFT_PX) / (box.width - LEFT_PX - RIGHT_PX)) * until);
  }

  redraw() {
    if (this.due) return;
    this.due = true;
    requestAnimationFrame(() => { this.due = false; this.paint(); });
  }

  paint() {
    const { now, until, runs, words } = this.read();
    const width = this.element.clientWidth, ratio = devicePixelRatio;
    const each = EVENT_PX + 2 * (BAND_PX + 2) + CURVE_PX + GAP_PX, height = runs.length * each + AXIS_PX;
    this.canvas.width = Math.round(width * ratio);
    this.canvas.height = Math.round(height * ratio);
    this.canvas.style.height = `${height}px`;
    for (const [name, value] of [["min", 0], ["max", until.toFixed(2)], ["now", now.toFixed(2)], ["text", words]]) this.element.setAttribute(`aria-value${name}`, String(value));
    const pen = this.canvas.getContext("2d");
    pen.scale(ratio, ratio);
    const x = (t) => LEFT_PX + (t / until) * (width - LEFT_PX - RIGHT_PX);
    runs.forEach((run, i) => this.run(pen, run, { x, y: i * each, width, several: runs.length > 1 }));
    this.axis(pen, until, x, runs.length * each, width);
    pen.fillStyle = colour("--now");
    pen.fillRect(x(now) - 0.75, 0, 1.5, height - AXIS_PX + 3);
  }

  run(pen, run, { x, y, width, several }) {
    pen.fillStyle = colour("--label");
    for (const [t] of run.events) pen.fillRect(x(t) - 1, y + 2, 2.5, 8);
    if (several) this.word(pen, `run ${run.number}`, LEFT_PX + 4, y + 10, "left");
    let at = y + EVENT_PX;
    this.word(pen, "gate", LEFT_PX - 6, at + 10, "right");
    for (const [from, to, word] of run.spans) this.bar(pen, GATE[word], x(from), x(to), at);
    at += BAND_PX + 2;
    this.word(pen, "tip", LEFT_PX - 6, at + 10, "right");
    run.estimates.forEach(([done, , row], i) => this.bar(pen, STATE[row[1]], x(done), x(run.estimates[i + 1]?.[0] ?? run.until_s), at));
    at += BAND_PX + 2;
    this.curves(pen, run, { x, y: at, width });
  }

  bar(pen, [tall, tint], from, to, y) {
    pen.fillStyle = colour(tint);
    const left = Math.floor(from); // whole pixels, so that one joins the next
    pen.fillRect(left, y + BAND_PX * (1 - tall), Math.max(Math.ceil(to) - left, 1), BAND_PX * tall);
  }

  /** Cleared speed as an area, distance to the target as a line: each with its own largest value at the left. */
  curves(pen, run, { x, y, width }) {
    const top = (place) => Math.max(1e-6, ...run.curve.map((row) => Math.abs(row[place] ?? 0)));
    const speed = top(1), away = top(4), low = y + CURVE_PX - 3, tall = CURVE_PX - 8;
    pen.strokeStyle = colour("--line");
    pen.beginPath(); pen.moveTo(LEFT_PX, low + 0.5); pen.lineTo(width - RIGHT_PX, low + 0.5); pen.stroke();
    pen.fillStyle = colour("--track-3");
    pen.globalAlpha = 0.45;
    run.curve.forEach(([t, v], i) => {
      const to = run.curve[i + 1]?.[0] ?? t;
      pen.fillRect(x(t), low - (Math.abs(v) / speed) * tall, Math.max(x(to) - x(t), 0.7), (Math.abs(v) / speed) * tall);
    });
    pen.globalAlpha = 1;
    pen.strokeStyle = colour("--track-2");
    pen.lineWidth = 1.6;
    pen.beginPath();
    let before = false;
    for (const [t, , , , d] of run.curve) {
      if (d === null) { before = false; continue; }
      const at = [x(t), low - (d / away) * tall];
      if (before) pen.lineTo(...at); else pen.moveTo(...at);
      before = true;
    }
    pen.stroke();
    pen.lineWidth = 1;
    this.word(pen, `${speed.toFixed(0)} mm/s`, LEFT_PX - 6, y + 12, "right", "--track-3");
    this.word(pen, `${away.toFixed(0)} mm`, LEFT_PX - 6, y + 25, "right", "--track-2");
  }

  axis(pen, seconds, x, y, width) {
    const room = Math.max(2, Math.floor((width - LEFT_PX) / 80));
    const step = [0.1, 0.2, 0.25, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600].find((s) => seconds / s <= room) || 1800;
    for (let t = 0; t <= seconds; t += step) {
      if (x(t) > width - 24) break;
      this.word(pen, `${Number(t.toFixed(2))} s`, x(t), y + 13, t === 0 ? "left" : "center");
    }
  }

  word(pen, text, x, y, align, tint = "--soft") {
    pen.fillStyle = colour(tint);
    pen.font = `11px ${colour("--mono")}`;
    pen.textAlign = align;
    pen.fillText(text, x, y);
  }
}
