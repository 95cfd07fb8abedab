// Which frame is wanted, which is shown, and what brings one to the other: asks for the newest, acknowledges what is drawn.
const EXACT_AFTER_MS = 220; // a picture that stays is fetched again without loss

export class Player {
  constructor(socket, stage, changed) {
    this.socket = socket;
    this.stage = stage;
    this.changed = changed;
    this.reset(1, 20);
  }

  reset(frames, rate) {
    this.pause();
    this.frames = frames;
    this.rate = rate;
    this.wanted = 0;
    this.shown = null;
    this.speed = this.speed || 1;
  }

  /** Go to a frame. */
  seek(frame) {
    const to = Math.min(Math.max(Math.round(frame), 0), this.frames - 1);
    if (this.playing) this.began = { at: performance.now(), frame: to };
    this.ask(to);
  }

  ask(frame, exact = false) {
    const again = frame === this.asked?.frame && exact === this.asked.exact;
    this.wanted = frame;
    if (!again) {
      this.asked = { frame, exact };
      this.socket.send("seek", { index: frame, exact });
    }
    clearTimeout(this.later);
    if (!exact && !this.playing) this.later = setTimeout(() => this.ask(frame, true), EXACT_AFTER_MS);
    this.changed();
  }

  /** Ask again after the connection was lost. */
  again() {
    this.asked = null;
    this.ask(this.wanted);
  }

  async took(header, bytes) {
    const done = () => this.socket.send("drawn", { serial: header.serial });
    if (header.kind === "") {
      this.shown = header;
      done();
      this.changed();
      return;
    }
    let bitmap;
    try {
      bitmap = await createImageBitmap(new Blob([bytes], { type: `image/${header.kind}` }));
    } catch {
      this.shown = { ...header, wrong: "the browser cannot read this picture" };
      done();
      this.changed();
      return;
    }
    if (this.shown && header.serial < this.shown.serial) { bitmap.close(); done(); return; } // decoded out of order
    this.shown = header;
    this.stage.show(bitmap, header.size, done);
    this.changed();
  }

  get playing() { return Boolean(this.began); }

  play() {
    if (this.wanted >= this.frames - 1) this.wanted = 0;
    this.began = { at: performance.now(), frame: this.wanted };
    const tick = () => {
      if (!this.began) return;
      const frame = this.began.frame + Math.floor(((performance.now() - this.began.at) / 1000) * this.rate * this.speed);
      if (frame >= this.frames) { this.pause(); this.seek(this.frames - 1); return; }
      if (frame !== this.wanted) this.ask(frame);
      requestAnimationFrame(tick);
    };
    this.ask(this.wanted);
    requestAnimationFrame(tick);
  }

  /** Stop at the frame that is seen, so that what is said of it is said of the right one. */
  pause() {
    if (!this.began) return;
    this.began = null;
    this.ask(this.shown ? this.shown.index : this.wanted);
  }

  /** Changes the speed without a jump. */
  setSpeed(speed) {
    if (this.began) this.began = { at: performance.now(), frame: this.wanted };
    this.speed = speed;
  }
}
