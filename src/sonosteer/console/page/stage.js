// The panes that show a picture: one canvas and one drawing each, one view for all of them.
import { el, svg } from "./dom.js";
import { View } from "./view.js";

const GRAB_PX = 16, GRAB_TOUCH_PX = 30; // how near to the ring a pointer takes hold of it
const CRISP = 3; // from here on a pixel of the picture is shown as the square that it is
const LOUPE_PX = 152, LOUPE_ZOOM = 3;

export class Stage {
  /** on: {draw(pane, view), painted(view), press(point, view, how near) -> {move, end, cancel} or null}. */
  constructor(element, on) {
    this.element = element;
    this.on = on;
    this.view = new View();
    this.panes = [];
    this.picture = null;
    this.due = false;
    this.loupe = el("canvas", { className: "loupe", hidden: true });
    this.pointers = new Map();
    this.setPanes(1);
    this.observer = new ResizeObserver(() => this.redraw());
    this.observer.observe(element);
  }

  setPanes(count) {
    if (count === this.panes.length) return;
    for (const pane of this.panes) pane.element.remove();
    this.panes = Array.from({ length: count }, (_, index) => this.makePane(index));
    this.element.classList.toggle("two", count > 1);
    this.panes[0].element.append(this.loupe);
    this.redraw();
  }

  makePane(index) {
    const canvas = el("canvas", { className: "picture" }), over = svg("svg", { "aria-hidden": "true" });
    const name = el("p", { className: "name", hidden: true }), wrong = el("p", { className: "wrong-picture", hidden: true });
    const element = el("div", { className: "pane", "data-pane": String(index) }, canvas, over, name, wrong);
    this.element.append(element);
    const pane = { index, element, canvas, over, name, wrong, pen: canvas.getContext("2d", { alpha: false }) };
    element.addEventListener("pointerdown", (event) => this.down(pane, event));
    element.addEventListener("pointermove", (event) => this.move(pane, event));
    for (const end of ["pointerup", "pointercancel", "lostpointercapture"]) element.addEventListener(end, (event) => this.up(event));
    element.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.view.zoom(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0016)), this.place(pane, event));
      this.redraw();
    }, { passive: false });
    return pane;
  }

  /** A picture to show, as an ImageBitmap with its size. It is drawn at the next refresh. */
  show(bitmap, size, done) {
    this.picture?.close();
    this.picture = bitmap;
    if (size[0] !== this.view.size[0] || size[1] !== this.view.size[1]) {
      this.view.size = size;
      this.view.fit();
    }
    this.shown = done;
    this.redraw();
  }

  redraw() {
    if (this.due) return;
    this.due = true;
    requestAnimationFrame(() => { this.due = false; this.paint(); });
  }

  paint() {
    const box = this.panes[0].element.getBoundingClientRect();
    this.view.resize(box.width, box.height);
    for (const pane of this.panes) {
      const ratio = devicePixelRatio, width = Math.round(box.width * ratio), height = Math.round(box.height * ratio);
      if (pane.canvas.width !== width || pane.canvas.height !== height) { pane.canvas.width = width; pane.canvas.height = height; }
      pane.pen.fillStyle = "#07090b";
      pane.pen.fillRect(0, 0, width, height);
      if (this.picture) this.drawPicture(pane, ratio);
      pane.over.replaceChildren();
      this.on.draw(pane, this.view);
    }
    this.on.painted(this.view);
    this.shown?.();
    this.shown = null;
  }

  drawPicture(pane, ratio) {
    const [kx, ky] = this.view.k, [x, y] = this.view.at, [w, h] = this.view.size;
    pane.pen.imageSmoothingEnabled = this.view.scale * ratio < CRISP;
    pane.pen.imageSmoothingQuality = "high";
    pane.pen.drawImage(this.picture, x * ratio, y * ratio, w * kx * ratio, h * ky * ratio);
  }

  /** Show what a finger hides, beside it. at: place of the image. */
  lookCloser(at) {
    this.loupe.hidden = !at || !this.picture;
    if (this.loupe.hidden) return;
    const ratio = devicePixelRatio, side = LOUPE_PX * ratio, pen = this.loupe.getContext("2d", { alpha: false });
    if (this.loupe.width !== side) this.loupe.width = this.loupe.height = side;
    const [kx, ky] = this.view.k.map((k) => Math.max(k * LOUPE_ZOOM, 4) * ratio);
    pen.fillStyle = "#000";
    pen.fillRect(0, 0, side, side);
    pen.imageSmoothingEnabled = false;
    pen.drawImage(this.picture, side / 2 - (at[0] + 0.5) * kx, side / 2 - (at[1] + 0.5) * ky, this.view.size[0] * kx, this.view.size[1] * ky);
    pen.strokeStyle = "#fff";
    pen.lineWidth = ratio;
    pen.beginPath();
    for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
      pen.moveTo(side / 2 + dx * 5 * ratio, side / 2 + dy * 5 * ratio);
      pen.lineTo(side / 2 + dx * 18 * ratio, side / 2 + dy * 18 * ratio);
    }
    pen.stroke();
    const onLeft = this.view.toPane(at)[0] > this.view.pane[0] / 2;
    this.loupe.style.left = onLeft ? "14px" : "auto";
    this.loupe.style.right = onLeft ? "auto" : "14px";
    this.loupe.style.bottom = "14px";
  }

  // -- pointers: the ring is moved, a mode takes a press, two fingers zoom, everything else pans --------------------

  place(pane, event) {
    const box = pane.element.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }

  down(pane, event) {
    if (event.button > 0 && event.button !== 1) return;
    event.preventDefault();
    pane.element.setPointerCapture(event.pointerId);
    const at = this.place(pane, event);
    this.pointers.set(event.pointerId, at);
    if (this.pointers.size === 2) { this.act?.cancel?.(); this.act = this.pinch(); return; }
    if (this.pointers.size > 2) return;
    const near = event.pointerType === "touch" ? GRAB_TOUCH_PX : GRAB_PX;
    const taken = event.button === 1 ? null : this.on.press(at, this.view, near);
    this.act = taken || this.pan(pane, at);
  }

  move(pane, event) {
    const at = this.place(pane, event);
    if (!this.pointers.has(event.pointerId)) return;
    this.pointers.set(event.pointerId, at);
    this.act?.move(at);
    this.redraw();
  }

  up(event) {
    if (!this.pointers.has(event.pointerId)) return;
    this.pointers.delete(event.pointerId);
    if (this.pointers.size) return;
    const act = this.act;
    this.act = null;
    if (event.type === "pointerup") act?.end?.();
    else act?.cancel?.();
    this.redraw();
  }

  pan(pane, from) {
    const held = this.view.toImage(from);
    pane.element.classList.add("panning");
    const end = () => pane.element.classList.remove("panning");
    return { move: (at) => this.view.move(held, at), end, cancel: end };
  }

  pinch() {
    const two = () => [...this.pointers.values()];
    const middle = () => { const [a, b] = two(); return [(a[0] + b[0]) / 2, (a[1] + b[1]) / 2]; };
    const apart = () => { const [a, b] = two(); return Math.hypot(a[0] - b[0], a[1] - b[1]) || 1; };
    let held = this.view.toImage(middle()), before = apart();
    return {
      move: () => {
        if (this.pointers.size < 2) return;
        this.view.zoom(apart() / before, middle());
        this.view.move(held, middle());
        before = apart();
        held = this.view.toImage(middle());
      },
    };
  }
}
