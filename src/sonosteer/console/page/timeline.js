// The time line: what a track says of every frame as a band and a curve, labels and frames to look at above, the frame now.
import { colour, el } from "./dom.js";

const MARKS_PX = 16, BAND_PX = 14, CURVE_PX = 46, AXIS_PX = 18, LEFT_PX = 46, RIGHT_PX = 8;
const HEIGHT = { tracking: 1, coasting: 0.6, lost: 0.3 };

export class Timeline {
  /** on: {seek(frame)}. read: () -> {frames, rate, now, tracks, labels, doubtful}. */
  constructor(element, on, read) {
    this.element = element;
    this.on = on;
    this.read = read;
    this.canvas = el("canvas", { "aria-hidden": "true" });
    element.append(this.canvas);
    element.tabIndex = 0;
    element.setAttribute("role", "slider");
    element.setAttribute("aria-label", "frame");
    element.addEventListener("pointerdown", (event) => { element.setPointerCapture(event.pointerId); this.held = true; this.seek(event); });
    element.addEventListener("pointermove", (event) => this.held && this.seek(event));
    for (const end of ["pointerup", "pointercancel"]) element.addEventListener(end, () => { this.held = false; });
    element.addEventListener("keydown", (event) => this.key(event));
    new ResizeObserver(() => this.redraw()).observe(element);
  }

  key(event) {
    const { now, frames } = this.read();
    const to = { ArrowRight: now + 1, ArrowLeft: now - 1, ArrowUp: now + 1, ArrowDown: now - 1, PageUp: now + 10, PageDown: now - 10, Home: 0, End: frames - 1 }[event.key];
    if (to === undefined || event.ctrlKey || event.altKey) return;
    event.preventDefault();
    event.stopPropagation(); // elsewhere arrows move the tip
    this.on.seek(to);
  }

  seek(event) {
    const { frames } = this.read(), box = this.element.getBoundingClientRect();
    const part = (event.clientX - box.left - LEFT_PX) / (box.width - LEFT_PX - RIGHT_PX);
    this.on.seek(Math.floor(part * frames));
  }

  redraw() {
    if (this.due) return;
    this.due = true;
    requestAnimationFrame(() => { this.due = false; this.paint(); });
  }

  paint() {
    const state = this.read(), { frames, now, tracks } = state;
    const width = this.element.clientWidth, ratio = devicePixelRatio;
    const height = MARKS_PX + Math.max(1, tracks.length) * (BAND_PX + 2) + CURVE_PX + AXIS_PX;
    this.canvas.width = Math.round(width * ratio);
    this.canvas.height = Math.round(height * ratio);
    this.canvas.style.height = `${height}px`;
    this.element.setAttribute("aria-valuemin", "0");
    this.element.setAttribute("aria-valuemax", String(frames - 1));
    this.element.setAttribute("aria-valuenow", String(now));
    this.element.setAttribute("aria-valuetext", state.words);
    const pen = this.canvas.getContext("2d");
    pen.scale(ratio, ratio);
    const x = (frame) => LEFT_PX + (frame / frames) * (width - LEFT_PX - RIGHT_PX);
    const wide = Math.max((width - LEFT_PX - RIGHT_PX) / frames, 1);
    this.marks(pen, state, x, wide);
    let y = MARKS_PX;
    for (const track of tracks) { this.band(pen, track, { x, wide, y }); y += BAND_PX + 2; }
    if (!tracks.length) { this.word(pen, "not tracked yet", LEFT_PX, y + 11, "left"); y += BAND_PX + 2; }
    this.curves(pen, tracks, { x, y, width });
    this.axis(pen, state, { x, y: y + CURVE_PX, width });
    pen.fillStyle = colour("--now");
    pen.fillRect(x(now + 0.5) - 0.75, 0, 1.5, height - AXIS_PX + 3);
  }

  word(pen, text, x, y, align) {
    pen.fillStyle = colour("--soft");
    pen.font = `11px ${colour("--mono")}`;
    pen.textAlign = align;
    pen.fillText(text, x, y);
  }

  /** Labels as bars, frames to look at as triangles. */
  marks(pen, { labels, doubtful }, x, wide) {
    pen.fillStyle = colour("--lost");
    for (const frame of doubtful) {
      const at = x(frame + 0.5);
      pen.beginPath();
      pen.moveTo(at - 4, 3); pen.lineTo(at + 4, 3); pen.lineTo(at, 10); pen.fill();
    }
    pen.fillStyle = colour("--label");
    for (const [frame, tip] of labels) {
      if (tip === "hidden") pen.fillRect(x(frame), 12, Math.max(wide, 3), 3);
      else pen.fillRect(x(frame), 2, Math.max(wide, 3), 13);
    }
  }

  /** State by colour and by height. Where many frames share a pixel the worst one is shown. */
  band(pen, track, { x, wide, y }) {
    pen.fillStyle = colour(`--track-${track.number}`);
    pen.fillRect(8, y + 4, 14, 5);
    this.word(pen, String(track.number), 36, y + 11, "right");
    let last = null;
    for (const row of track.rows.values()) {
      const at = Math.round(x(row.frame));
      if (last && at === last.at && HEIGHT[row.state] >= HEIGHT[last.state]) continue;
      pen.fillStyle = colour(`--${row.state}`);
      if (last && at === last.at) pen.clearRect(at, y, wide + 0.6, BAND_PX);
      const tall = BAND_PX * HEIGHT[row.state];
      pen.fillRect(at, y + BAND_PX - tall, wide + 0.6, tall);
      last = { at, state: row.state };
    }
  }

  curves(pen, tracks, { x, y, width }) {
    pen.strokeStyle = colour("--line");
    pen.lineWidth = 1;
    for (const part of [0, 0.5, 1]) {
      const at = Math.round(y + 4 + (CURVE_PX - 8) * part) + 0.5;
      pen.beginPath(); pen.moveTo(LEFT_PX, at); pen.lineTo(width - RIGHT_PX, at); pen.stroke();
    }
    this.word(pen, "1", LEFT_PX - 6, y + 10, "right");
    this.word(pen, "0", LEFT_PX - 6, y + CURVE_PX - 1, "right");
    if (tracks.length) this.word(pen, "confidence", LEFT_PX + 4, y + 14, "left");
    for (const track of tracks) {
      pen.strokeStyle = colour(`--track-${track.number}`);
      pen.lineWidth = 1.6;
      pen.setLineDash(track.number === 1 ? [] : [6, 3]);
      pen.beginPath();
      let before = -2;
      for (const row of track.rows.values()) {
        if (row.confidence == null) continue;
        const at = [x(row.frame + 0.5), y + 4 + (CURVE_PX - 8) * (1 - row.confidence)];
        if (row.frame === before + 1) pen.lineTo(...at); else pen.moveTo(...at);
        before = row.frame;
      }
      pen.stroke();
    }
    pen.setLineDash([]);
  }

  axis(pen, { frames, rate }, { x, y, width }) {
    const seconds = frames / rate, room = Math.max(2, Math.floor((width - LEFT_PX) / 90));
    const step = [0.1, 0.2, 0.25, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800].find((s) => seconds / s <= room) || 3600;
    for (let t = 0; t <= seconds; t += step) {
      const at = x(t * rate + 0.5);
      if (at > width - 24) break;
      this.word(pen, `${Number(t.toFixed(2))} s`, at, y + 14, t === 0 ? "left" : "center");
    }
  }
}
