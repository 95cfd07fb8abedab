// Curves below the picture: how far the tip is from the target, how sure the tracker is, and when the gate refused.
import { el } from "../dom.js";

const TALL_PX = 52, AXIS_PX = 18, GAP_PX = 6, LEFT_PX = 46, RIGHT_PX = 12, MOST = 4000;

export class Strips {
  /** limit: largest deviation, mm. aimed: whether there is a target. */
  constructor(element, limit, aimed) {
    this.limit = limit;
    this.aimed = aimed;
    this.canvas = el("canvas", { role: "img", "aria-label": "distance to the target and deviation of the tip over time" });
    element.append(this.canvas);
    this.element = element;
    this.clear();
    new ResizeObserver(() => this.paint()).observe(element);
  }

  colour(name) { return this.style.getPropertyValue(name).trim(); }

  clear() { this.rows = []; this.refused = []; }

  /** A control period: time in s, distance and deviation in mm or null, whether the gate refused. */
  put(at, away, sd, refused) {
    this.rows.push([at, away, sd]);
    if (refused) this.refused.push(at);
    if (this.rows.length > MOST) this.rows.shift();
    if (this.refused.length > MOST) this.refused.shift();
  }

  paint() {
    const width = this.element.clientWidth, ratio = devicePixelRatio, low = (this.aimed ? 2 : 1) * (TALL_PX + GAP_PX), height = low + AXIS_PX;
    this.canvas.width = Math.round(width * ratio);
    this.canvas.height = Math.round(height * ratio);
    this.canvas.style.height = `${height}px`;
    this.style = getComputedStyle(document.documentElement);
    const pen = this.canvas.getContext("2d");
    pen.scale(ratio, ratio);
    const from = this.rows[0]?.[0] ?? 0, last = this.rows.at(-1)?.[0] ?? 0, to = Math.max(from + 4, last * 1.02);
    const x = (t) => LEFT_PX + ((t - from) / (to - from)) * (width - LEFT_PX - RIGHT_PX);
    if (this.aimed) this.curve(pen, { place: 1, top: 0, x, width, name: "to target mm", tint: "--track-4" });
    this.curve(pen, { place: 2, top: low - TALL_PX - GAP_PX, x, width, name: this.limit ? `tip sd mm (limit ${this.limit})` : "tip sd mm", tint: "--tracking", limit: this.limit });
    this.axis(pen, { from, to, x, y: low });
    if (this.rows.length) { pen.fillStyle = this.colour("--now"); pen.fillRect(x(last) - 0.75, 0, 1.5, low - GAP_PX); }
  }

  curve(pen, { place, top, x, width, name, tint, limit }) {
    const most = this.rows.reduce((most, row) => Math.max(most, row[place] ?? 0), limit ? limit * 1.2 : 1);
    const y = (v) => top + TALL_PX - 2 - (v / most) * (TALL_PX - 6);
    pen.strokeStyle = this.colour("--line");
    pen.strokeRect(LEFT_PX + 0.5, top + 0.5, width - LEFT_PX - RIGHT_PX, TALL_PX - 1);
    pen.fillStyle = this.colour("--coasting");
    pen.globalAlpha = 0.35;
    for (const t of this.refused) pen.fillRect(x(t) - 0.75, top, 1.5, TALL_PX);
    pen.globalAlpha = 1;
    if (limit) {
      pen.strokeStyle = this.colour("--lost");
      pen.setLineDash([5, 4]);
      pen.beginPath(); pen.moveTo(LEFT_PX, y(limit)); pen.lineTo(width - RIGHT_PX, y(limit)); pen.stroke();
      pen.setLineDash([]);
    }
    pen.strokeStyle = this.colour(tint);
    pen.lineWidth = 1.6;
    pen.beginPath();
    let before = false;
    for (const row of this.rows) {
      if (row[place] === null) { before = false; continue; }
      if (before) pen.lineTo(x(row[0]), y(row[place])); else pen.moveTo(x(row[0]), y(row[place]));
      before = true;
    }
    pen.stroke();
    pen.lineWidth = 1;
    this.word(pen, name, LEFT_PX + 6, top + 13, "left", "--ink");
    this.word(pen, String(Math.round(most)), LEFT_PX - 6, top + 11, "right");
    this.word(pen, "0", LEFT_PX - 6, top + TALL_PX, "right");
  }

  axis(pen, { from, to, x, y }) {
    const step = [0.5, 1, 2, 5, 10, 20, 30, 60].find((s) => (to - from) / s <= 9) || 120;
    for (let t = Math.ceil(from / step) * step; t <= to; t += step) this.word(pen, `${Number(t.toFixed(1))} s`, x(t), y + 11, "center");
  }

  word(pen, text, x, y, align, tint = "--soft") {
    pen.fillStyle = this.colour(tint);
    pen.font = `11px ${this.colour("--mono")}`;
    pen.textAlign = align;
    pen.fillText(text, x, y);
  }
}
