// The clip room: wires player, stage, time line, panels and keys to what the console knows.
import { button, byId, el, say } from "../dom.js";
import { needle, label, ruler, scales, trail, trackColour } from "../drawing.js";
import { banner, tell } from "../notices.js";
import { Stage } from "../stage.js";
import { Timeline } from "../timeline.js";
import { Panels } from "./panels.js";
import { Player } from "./player.js";
import { ClipState } from "./state.js";

const TRAIL = 45; // frames
const NUDGE_MS = 350; // arrow keys: one label, and one step of undo, when they rest
const USUAL_RATE = 20;

export class ClipRoom {
  constructor(element, socket) {
    this.socket = socket;
    this.state = new ClipState();
    this.mode = "look";
    this.overlays = true;
    this.start = null;
    this.saving = Promise.resolve();
    this.build(element);
    this.player = new Player(socket, this.stage, () => this.refresh());
    this.refresh();
  }

  build(element) {
    element.className = "clip";
    const badge = (side) => el("p", { className: `badge ${side}` });
    this.left = badge("left");
    this.right = badge("right");
    this.modeBar = el("div", { className: "mode", hidden: true });
    const stage = el("section", { className: "stage", "aria-label": "picture" }, this.left, this.right, this.modeBar);
    const time = el("section", { className: "time", "aria-label": "time" });
    const aside = el("aside", { "aria-label": "tools", tabIndex: -1 });
    this.spoken = el("p", { className: "unseen", role: "status", "aria-live": "polite" });
    element.replaceChildren(stage, time, aside, this.spoken);
    this.stage = new Stage(stage, { draw: (pane, view) => this.draw(pane, view), painted: (view) => this.zoomWords(view), press: (at, view, near) => this.press(at, view, near) });
    this.transport = this.buildTransport();
    const line = el("div", { className: "line" });
    time.append(this.transport, line);
    this.timeline = new Timeline(line, { seek: (frame) => this.go(frame) }, () => this.lineState());
    this.panels = new Panels(aside, this);
  }

  buildTransport() {
    this.playButton = button("Play", { key: "P" }, () => this.togglePlay());
    this.speed = el("select", { "aria-label": "speed", onchange: () => this.player.setSpeed(Number(this.speed.value)) },
      ...[0.1, 0.25, 0.5, 1, 2, 4].map((s) => el("option", { value: s, selected: s === 1 }, `${s} ×`)));
    this.countWords = el("span", { className: "hint" });
    this.frameWords = el("span", { className: "num" });
    return el("div", { className: "transport" }, this.playButton,
      button("Back", { key: "," }, () => this.step(-1)), button("On", { key: "." }, () => this.step(1)),
      this.speed, this.countWords, this.frameWords);
  }

  // -- what the console says ----------------------------------------------------------------------------------------

  opened() { this.stage.element.classList.remove("stale"); }

  closed() { this.stage.element.classList.add("stale"); }

  picture(header, bytes) { this.player.took(header, bytes); }

  /** Whether something would be lost if the page were left now. */
  leaving() {
    this.flushNudge();
    return this.state.unsaved.size > 0;
  }

  hear(word) {
    const state = this.state;
    const hears = {
      hello: () => this.hello(word),
      labels: () => { state.labels = new Map(word.labels.map(([frame, tip, revision]) => [frame, { tip, revision }])); },
      label: () => state.labels.set(word.frame, { tip: word.tip, revision: word.revision }),
      scale: () => { state.scale = word; },
      can: () => { state.can = word; },
      track: () => { state.putTrack(word); state.primary ??= word.name; },
      rows: () => state.putRows(word.track, word.rows),
      forgot: () => { state.tracks.delete(word.track); if (state.primary === word.track) state.primary = null; },
      job: () => this.hearJob(word),
      formats: () => { state.formats = word.formats; this.panels.nameFormats(); },
      doubtful: () => { state.doubtful = word.frames; },
      screen: () => { state.screen = word.found; },
      trouble: () => this.hearTrouble(word),
      said: () => tell(word.reason),
    };
    hears[word.t]?.();
    this.refresh();
  }

  hello(word) {
    const known = this.run === word.run, state = this.state;
    this.run = word.run;
    Object.assign(state, { clip: word.clip, methods: word.methods, formats: word.formats, out: word.out });
    state.tracks.clear();
    state.jobs.clear();
    const [w, h] = word.clip.size_px, rate = word.clip.rate_hz;
    const name = word.clip.name.split("/").filter(Boolean).pop() || word.clip.name;
    say(byId("source"), `${name} · ${w} × ${h} · ${word.clip.frames} frames${rate ? ` · ${Number(rate.toFixed(2))} /s` : ""}`);
    byId("source").title = word.clip.name;
    say(byId("notice"), word.notice);
    document.title = `${name} · sonosteer`;
    for (const link of document.querySelectorAll("#rooms a[data-beside]")) link.remove();
    byId("rooms").append(...word.beside.map(([room, href]) => el("a", { href, "data-beside": "" }, room)));
    this.panels.opened();
    if (known) { this.player.again(); this.saveAgain(); return; }
    this.player.reset(word.clip.frames, rate || USUAL_RATE);
    for (const note of word.clip.notes) tell(note);
    this.player.ask(0);
  }

  hearJob(word) {
    const over = ["done", "failed", "left off"].includes(word.state);
    if (!over) { this.state.jobs.set(word.id, { ...this.state.jobs.get(word.id), ...word }); return; }
    this.state.jobs.delete(word.id);
    if (word.state === "failed") banner(`job ${word.id}`, `${word.name}: ${word.says}`, [["Close", () => banner(`job ${word.id}`)]]);
    else if (word.state === "left off") tell(`${word.name}: stopped. What was done is kept.`);
    else if (word.says) { this.state.files.push({ file: word.says }); tell(`${word.name}: ${word.says}`); }
    else tell(`${word.name}: done`);
  }

  hearTrouble(word) {
    banner("table", word.table);
    const settle = (take) => async () => {
      const said = await this.socket.ask("outside", { take });
      if (!said.ok) banner("settle", said.reason, [["Close", () => banner("settle")]]);
    };
    banner("outside", word.outside && `${word.outside}. Until you choose, it is left alone. Your labels are safe in labels.jsonl.`,
      [["Take theirs in", settle(true)], ["Keep mine", settle(false)]]);
  }

  // -- frames -------------------------------------------------------------------------------------------------------

  /** Where a key acts: at the frame that was asked for last. While it plays, at the one that is seen. */
  keyFrame() { this.player.pause(); return this.player.wanted; }

  get frame() { return this.player.shown ? this.player.shown.index : this.player.wanted; }

  go(frame) { this.flushNudge(); this.player.seek(frame); this.speak(); }

  step(by) { this.flushNudge(); this.player.pause(); this.player.seek(this.player.wanted + by); this.speak(); }

  togglePlay() { this.flushNudge(); if (this.player.playing) this.player.pause(); else this.player.play(); this.refresh(); }

  nextDoubtful(way = 1) {
    const frames = this.state.doubtful, now = this.player.wanted;
    if (!frames.length) { tell(this.state.tracks.size ? "nothing is left to look at" : "track the clip first"); return; }
    const ahead = way > 0 ? frames.find(([f]) => f > now) || frames[0] : frames.findLast(([f]) => f < now) || frames.at(-1);
    this.player.pause();
    this.go(ahead[0]);
    tell(`frame ${ahead[0]}: ${ahead[1]}`);
  }

  /** What a screen reader says of the frame, once it rests. */
  speak() {
    clearTimeout(this.speaking);
    this.speaking = setTimeout(() => say(this.spoken, this.words()), 500);
  }

  words() {
    const frame = this.player.wanted, row = this.state.rowOf(frame), tip = this.state.labelOf(frame);
    const track = row ? `${row.state}${row.confidence == null ? "" : `, confidence ${row.confidence.toFixed(2)}`}` : "not tracked";
    const own = tip === undefined ? "no label" : tip === "hidden" ? "labelled: not visible" : `labelled at ${tip.map((v) => v.toFixed(1)).join(", ")}`;
    return `frame ${frame} of ${(this.state.clip?.frames ?? 1) - 1}, ${(frame / this.player.rate).toFixed(2)} seconds, ${track}, ${own}`;
  }

  lineState() {
    const { clip, labels, doubtful } = this.state;
    return {
      frames: clip?.frames ?? 1, rate: this.player?.rate ?? USUAL_RATE, now: this.player?.wanted ?? 0,
      tracks: this.state.shownTracks(), labels: [...labels].filter(([, l]) => l.tip !== null).map(([f, l]) => [f, l.tip]),
      doubtful: doubtful.map(([f]) => f), words: this.player ? this.words() : "",
    };
  }

  // -- labels -------------------------------------------------------------------------------------------------------

  /** Label a frame: a place, "hidden", or null to take it away. It counts once the console has it on its disk. */
  place(frame, tip) {
    this.state.unsaved.set(frame, { tip });
    this.refresh();
    this.saving = this.saving.then(() => this.save(frame, tip));
    return this.saving;
  }

  async save(frame, tip) {
    const mine = this.state.unsaved.get(frame);
    if (!mine || mine.tip !== tip) return; // a newer one is behind it
    const said = await this.socket.ask("label", { frame, tip, base: this.state.revisionOf(frame) });
    if (said.ok || said.conflict) {
      if (this.state.unsaved.get(frame) === mine) this.state.unsaved.delete(frame);
      banner(`unsaved ${frame}`);
      if (said.conflict) {
        const again = () => { banner(`conflict ${frame}`); this.place(frame, tip); };
        banner(`conflict ${frame}`, `Frame ${frame}: another tab moved this tip meanwhile. Theirs is shown.`, [["Use mine", again], ["Keep theirs", () => banner(`conflict ${frame}`)]]);
      }
    } else {
      mine.reason = said.reason;
      banner(`unsaved ${frame}`, `Frame ${frame} is NOT SAVED: ${said.reason}.`, [["Try again", () => this.place(frame, tip)]]);
    }
    this.refresh();
  }

  /** After the connection came back: what was not saved is offered again, and nothing is sent twice. */
  saveAgain() {
    for (const [frame, { tip, reason }] of this.state.unsaved) if (reason !== undefined) this.place(frame, tip);
  }

  nudge(dx, dy) {
    const frame = this.keyFrame(), row = this.state.rowOf(frame), held = this.nudged?.frame === frame ? this.nudged.tip : this.state.labelOf(frame);
    const view = this.stage.view, middle = view.toImage([view.pane[0] / 2, view.pane[1] / 2]);
    const from = Array.isArray(held) ? held : row?.tip || middle;
    this.nudged = { frame, tip: this.inside([from[0] + dx, from[1] + dy]) };
    clearTimeout(this.nudging);
    this.nudging = setTimeout(() => this.flushNudge(), NUDGE_MS);
    this.refresh();
  }

  flushNudge() {
    clearTimeout(this.nudging);
    const nudged = this.nudged;
    this.nudged = null;
    return nudged ? this.place(nudged.frame, nudged.tip) : null;
  }

  inside([x, y]) {
    const [w, h] = this.state.clip.size_px;
    const round = (v) => Math.round(v * 1000) / 1000;
    return [round(Math.min(Math.max(x, -0.5), w - 0.5)), round(Math.min(Math.max(y, -0.5), h - 0.5))];
  }

  accept() {
    if (this.nudged) { this.flushNudge(); this.setMode("look"); return; }
    const frame = this.keyFrame(), row = this.state.rowOf(frame);
    if (this.state.labelOf(frame) !== undefined) tell("this frame has your label already");
    else if (row?.tip) this.place(frame, this.inside(row.tip));
    else tell("there is no tip to accept: press T and place it");
    this.setMode("look");
  }

  hide() { this.nudged = null; this.place(this.keyFrame(), "hidden"); }

  remove() {
    const frame = this.keyFrame();
    this.nudged = null;
    if (this.state.labelOf(frame) !== undefined) this.place(frame, null);
  }

  async undo(word) {
    await this.flushNudge();
    const said = await this.socket.ask(word);
    if (!said.ok) tell(said.reason);
    else if (said.frame !== null && said.frame !== undefined) this.go(said.frame);
  }

  // -- tracks -------------------------------------------------------------------------------------------------------

  async track() {
    await this.flushNudge();
    const tip = this.start === null ? undefined : this.state.labelOf(this.start);
    const from = Array.isArray(tip) ? { first: this.start, start: tip } : {};
    this.send("track", { method: this.panels.method, ...this.panels.hints(), ...from });
  }

  async trackFromHere() {
    await this.flushNudge();
    await this.saving;
    const frame = this.keyFrame(), tip = this.state.labelOf(frame), track = this.state.primaryTrack();
    if (!Array.isArray(tip)) { tell("place the tip in this frame first: drag it, or press T"); return; }
    const what = track ? { method: track.method, into: track.name } : { method: this.panels.method };
    this.send("track", { ...this.panels.hints(), ...what, first: frame, start: tip });
  }

  async send(word, fields = {}) {
    const said = await this.socket.ask(word, fields);
    if (!said.ok) banner(word, said.reason, [["Close", () => banner(word)]]);
    else banner(word);
    return said;
  }

  toggleTrack(number) {
    const track = [...this.state.tracks.values()].find((t) => t.number === number);
    if (track) { track.shown = !track.shown; this.refresh(); }
  }

  setBeside(on) {
    this.beside = on;
    this.stage.setPanes(on ? 2 : 1);
    this.refresh();
  }

  async exportFile(what, fields = {}) {
    const said = await this.send("export", { what, ...fields });
    if (said.file) { this.state.files.push({ file: said.file, get: said.get }); tell(`written: ${said.file}`); this.refresh(); }
  }

  // -- the picture --------------------------------------------------------------------------------------------------

  setMode(mode) {
    this.mode = mode;
    this.rulerLine = null;
    for (const pane of this.stage.panes) {
      pane.element.classList.toggle("placing", mode === "tip");
      pane.element.classList.toggle("ruling", mode === "ruler");
    }
    const cancel = button("Cancel", {}, () => this.setMode("look"));
    const words = { tip: "Click the needle's tip, or move the ring with the arrow keys and press Enter.", ruler: "Drag along a length that you know, such as the depth marks." };
    this.modeBar.hidden = mode === "look";
    this.modeBar.replaceChildren(...(mode === "look" ? [] : [el("span", {}, words[mode]), cancel]));
    if (mode !== "look") this.player.pause();
    this.refresh();
  }

  askLength() {
    const [start, end] = this.rulerLine.map((p) => p.map((v) => Math.round(v * 100) / 100));
    const mm = el("input", { type: "number", min: 0.1, step: "any", "aria-label": "length in mm", required: true });
    const use = async () => {
      const said = await this.socket.ask("ruler", { start, end, mm: Number(mm.value) });
      if (said.ok) this.setMode("look");
      else tell(said.reason);
    };
    mm.addEventListener("keydown", (event) => { if (event.key === "Enter") use(); });
    this.modeBar.replaceChildren(el("span", {}, "It is"), mm, el("span", {}, "mm long"), button("Use", {}, use), button("Cancel", {}, () => this.setMode("look")));
    mm.focus();
  }

  press(at, view, near) {
    if (!this.state.clip || !this.player.shown) return null;
    const point = view.toImage(at);
    if (this.mode === "ruler") return this.pressRuler(point, view);
    if (this.mode === "tip") { this.player.pause(); return this.dragTip(this.frame, point, [0, 0], view, true); }
    const held = this.nudged?.frame === this.frame ? this.nudged.tip : this.state.labelOf(this.frame);
    const tip = Array.isArray(held) ? held : this.overlays ? this.state.rowOf(this.frame)?.tip : null;
    if (!tip) return null;
    const ring = view.toPane(tip);
    if (Math.hypot(ring[0] - at[0], ring[1] - at[1]) > near) return null;
    this.player.pause();
    return this.dragTip(this.frame, tip, [tip[0] - point[0], tip[1] - point[1]], view, false);
  }

  dragTip(frame, from, offset, view, placing) {
    this.flushNudge();
    const show = (tip) => { this.dragged = { frame, tip: this.inside(tip) }; this.stage.lookCloser(this.dragged.tip); this.refresh(); };
    let moved = placing;
    const finish = (keep) => {
      const dragged = this.dragged;
      this.dragged = null;
      this.stage.lookCloser(null);
      if (keep && moved) {
        this.place(frame, dragged.tip);
        if (placing) { this.start = frame; this.setMode("look"); }
      }
      this.refresh();
    };
    show(from);
    return {
      move: (at) => { const p = view.toImage(at); moved = true; show([p[0] + offset[0], p[1] + offset[1]]); },
      end: () => finish(true),
      cancel: () => finish(false),
    };
  }

  pressRuler(point, view) {
    this.rulerLine = [point, point];
    return {
      move: (at) => { this.rulerLine = [point, view.toImage(at)]; },
      end: () => this.askLength(),
      cancel: () => { this.rulerLine = null; },
    };
  }

  draw(pane, view) {
    const { state, player } = this, shown = player.shown;
    pane.wrong.hidden = !shown?.wrong;
    if (shown?.wrong) say(pane.wrong, `Frame ${shown.index} cannot be shown: ${shown.wrong}`);
    if (!state.clip || !shown) return;
    const mm = state.scale.spacing_mm, tracks = state.shownTracks();
    const own = this.beside && tracks.length > 1 ? (pane.index === 0 ? [tracks[0]] : tracks.slice(1)) : tracks;
    pane.name.hidden = !(this.beside && tracks.length > 1);
    if (!pane.name.hidden) say(pane.name, own.map((t) => t.name).join(" · "));
    if (mm && this.overlays) pane.over.append(scales(view, mm));
    if (this.overlays) for (const track of own) this.drawTrack(pane, view, track, mm);
    if (this.rulerLine) {
      const [a, b] = this.rulerLine;
      pane.over.append(ruler(view, a, b, `${Math.hypot(b[0] - a[0], b[1] - a[1]).toFixed(1)} px`));
    }
    this.drawLabel(pane, view, shown.index);
  }

  drawTrack(pane, view, track, mm) {
    const frame = this.player.shown.index, row = track.rows.get(frame), tint = trackColour(track.number);
    const way = [];
    for (let i = Math.max(0, frame - TRAIL); i < frame; i++) { const tip = track.rows.get(i)?.tip; if (tip) way.push(tip); }
    if (track === this.state.primaryTrack() || this.beside) pane.over.append(trail(view, way, tint));
    if (row && row.state !== "lost") pane.over.append(needle(view, row, track.spacing_mm || mm, tint));
  }

  drawLabel(pane, view, frame) {
    const held = [this.dragged, this.nudged].find((one) => one?.frame === frame);
    const tip = held ? held.tip : this.state.labelOf(frame);
    if (!Array.isArray(tip)) return;
    pane.over.append(label(view, tip, { saved: !held && !this.state.unsaved.has(frame), grabbed: this.dragged?.frame === frame }));
  }

  refresh() {
    if (!this.player) return;
    this.stage.redraw();
    this.timeline.redraw();
    this.badges();
    this.panels.update();
  }

  zoomWords({ scale }) {
    say(this.right, `zoom ${scale < 10 ? scale.toFixed(2) : scale.toFixed(0)} ×${this.overlays ? "" : " · overlays off"}`);
  }

  badges() {
    const { state, player } = this, frame = this.frame, row = state.rowOf(frame), labelled = this.lineState().labels.length;
    const last = (state.clip?.frames ?? 1) - 1, at = player.shown ? player.shown.time_s : frame / player.rate;
    const b = (text, className = "") => el("b", { className }, text);
    const track = state.primaryTrack();
    const line = (...words) => el("span", {}, ...words);
    this.left.replaceChildren(line("frame ", b(String(frame)), ` / ${last}`), line(b(at.toFixed(3)), " s"));
    if (track) this.left.append(line(row ? b(row.state.toUpperCase(), row.state) : b("not tracked"), row?.confidence == null ? "" : ` ${row.confidence.toFixed(2)}`));
    say(this.playButton.firstChild, player.playing ? "Pause" : "Play");
    say(this.countWords, `${labelled} label${labelled === 1 ? "" : "s"} · ${state.doubtful.length} to look at`);
    say(this.frameWords, `${player.wanted} / ${last} · ${(player.wanted / player.rate).toFixed(2)} s`);
  }
}
