// Where a picture lies in a pane. Image pixels have 0 at the centre of the first one, panes have CSS pixels from their corner.
const MOST = 64;

export class View {
  constructor() {
    this.size = [1, 1];
    this.pane = [1, 1];
    this.aspect = 1;
    this.fitted = true;
    this.scale = 1;
    this.at = [0, 0];
  }

  /** Pane pixels for each image pixel, along x and y. A pixel that is wider than high is drawn so. */
  get k() { return [this.scale * this.aspect, this.scale]; }

  toPane([x, y]) {
    const [kx, ky] = this.k;
    return [(x + 0.5) * kx + this.at[0], (y + 0.5) * ky + this.at[1]];
  }

  toImage([x, y]) {
    const [kx, ky] = this.k;
    return [(x - this.at[0]) / kx - 0.5, (y - this.at[1]) / ky - 0.5];
  }

  get fitScale() {
    const margin = Math.min(28, 0.04 * Math.min(...this.pane));
    return Math.min((this.pane[0] - 2 * margin) / (this.size[0] * this.aspect), (this.pane[1] - 2 * margin) / this.size[1]);
  }

  fit() {
    this.fitted = true;
    this.scale = Math.max(this.fitScale, 0.01);
    const [kx, ky] = this.k;
    this.at = [(this.pane[0] - this.size[0] * kx) / 2, (this.pane[1] - this.size[1] * ky) / 2];
  }

  /** The pane has another size. What was in its middle stays there. */
  resize(width, height) {
    if (width === this.pane[0] && height === this.pane[1]) return;
    const middle = this.toImage([this.pane[0] / 2, this.pane[1] / 2]);
    this.pane = [width, height];
    if (this.fitted) this.fit();
    else this.move(middle, [width / 2, height / 2]);
  }

  /** Bring a place of the image to a place of the pane. */
  move(image, pane) {
    const now = this.toPane(image);
    this.at = [this.at[0] + pane[0] - now[0], this.at[1] + pane[1] - now[1]];
    this.fitted = false;
    this.keepInSight();
  }

  zoom(factor, about) {
    const held = this.toImage(about);
    const least = Math.min(this.fitScale, 1) / 2;
    this.scale = Math.min(Math.max(this.scale * factor, least), MOST);
    this.move(held, about);
  }

  /** At least a part of the picture can be seen, wherever it was dragged. */
  keepInSight() {
    this.k.forEach((k, i) => {
      const length = this.size[i] * k, seen = Math.min(40, length);
      this.at[i] = Math.min(Math.max(this.at[i], seen - length), this.pane[i] - seen);
    });
  }
}
