// The live room: the newest picture with its age, what the gate says, and STOP. It holds no history: the recording does.
import { byId, el, say } from "../dom.js";
import { namedRow } from "../clip/state.js";
import { needle, scales, trackColour, trail } from "../drawing.js";
import { banner, tell } from "../notices.js";
import { Stage } from "../stage.js";
import { HeldKey } from "./held_key.js";
import { cross, cursor, hatch, region, target } from "./marks.js";
import { Panels, ms } from "./panels.js";
import { RunClock } from "./run_clock.js";
import { StopPress } from "./stop.js";
import { Strips } from "./strips.js";

const OLD_MS = 300; // a picture, or a word of the loop, that is older must not be taken for now
const REFRESH_MS = 100; // numbers that change more often cannot be read. A stop, a hold and a picture are shown at once
const CURVES_EVERY = 4;
const PING_MS = 250;
const TRAIL = 30, KEPT_PICTURES = 12;

export class LiveRoom {
  constructor(element, socket) {
    this.element = element;
    this.socket = socket;
    this.gone = "The console does not answer. STOP on this page does not work now: use the hardware stop, or the terminal's keys. The run goes on without this page. It tries to come back by itself, and releases or starts nothing then.";
    this.clock = new RunClock();
    this.state = null;
    this.over = null;
    this.overlays = true;
    this.aligned = false;
    this.kept = new Map(); // index -> {header, bytes}, for the picture of the tip
    this.tips = [];
    this.drawn = 0;
    this.drawnAt = [];
    this.pictures = 0;
    this.stateAt = this.pictureAt = performance.now();
    this.draw = "target";
    this.at = null;
  }

  // -- what the console says ----------------------------------------------------------------------------------------

  opened() { this.connected = true; this.stop?.again(); }

  closed() { this.connected = false; this.held?.letGo(); }

  hear(word) {
    const hears = {
      hello: () => this.hello(word),
      state: () => this.took(word),
      pong: () => this.clock.heard(word.at, word.now),
      pressed: () => { if (word.by !== this.me) tell(`STOP was pressed: ${word.by}`); },
      over: () => this.end(word),
      said: () => { if (!word.ok) tell(word.reason); },
    };
    hears[word.t]?.();
  }

  hello(word) {
    if (this.run && this.run !== word.run) { location.reload(); return; } // another run: nothing of the old one holds
    this.connected = true;
    this.me = `tab ${this.socket.tab}`;
    if (this.run) return;
    this.run = word.run;
    this.about = word.about;
    this.stop = new StopPress(this.socket, this.clock, () => this.refresh());
    this.held = new HeldKey(this.socket, () => this.run, (what, part) => this.panels.gripped(what, part));
    this.build();
    this.listen();
    say(byId("notice"), word.notice);
    say(byId("source"), `${word.about.name}${word.about.recording ? ` · recorded in ${word.about.recording}` : " · not recorded"}${word.about.dry_run ? " · dry run: nothing is sent" : ""}`);
    document.title = "live – sonosteer";
    setInterval(() => this.socket.send("ping", { at: performance.now() }), PING_MS);
    this.socket.send("ping", { at: performance.now() });
    setInterval(() => this.refresh(), REFRESH_MS);
  }

  took(state) {
    if (this.state && (state.phase !== this.state.phase || state.at < this.state.at)) { this.clock.forget(); this.strips.clear(); this.tips = []; }
    if (state.phase === "before" && this.at === null) this.at = state.target ?? this.about.size_px.map((v) => v / 2);
    state.row = state.estimate ? namedRow("live", state.estimate.row) : null;
    this.state = state;
    this.stateAt = performance.now();
    const { row } = state;
    if (row?.tip && this.tips.at(-1)?.frame !== row.frame) { this.tips.push({ frame: row.frame, tip: row.tip }); if (this.tips.length > TRAIL) this.tips.shift(); }
    if (state.phase === "running") this.strips.put(state.at, state.estimate?.away ?? null, row?.inMm ? row.along : null, state.verdict && !state.verdict.cleared);
    this.stop.heard(state);
    const key = JSON.stringify([state.stop, state.held, state.phase, state.target, state.regions, this.stop.words?.[1]]);
    if (key !== this.shownKey) { this.shownKey = key; this.refresh(); this.stage.redraw(); }
  }

  end(word) {
    this.over = word.killed ? `the loop's process has ended without a word` : word.why || "the run has ended";
    this.socket.ended = true;
    banner("gone");
    banner("over", word.killed ? "THE LOOP IS GONE: its process has ended without a word. Nothing on this page moves or stops anything. If the robot still moves, use the hardware stop." : `The run is over: ${this.over}. The command writes its results. This page shows the last picture.`);
    this.refresh();
    this.stage?.redraw();
  }

  async picture(header, bytes) {
    const done = () => {
      this.drawn += 1;
      this.drawnAt.push(performance.now());
      this.pictureAt = performance.now();
      this.socket.send("drawn", { serial: header.serial });
      this.panels?.showSeen(header, this.drawn);
    };
    try {
      const bitmap = await createImageBitmap(new Blob([bytes], { type: `image/${header.kind}` }));
      if (this.newest && header.serial < this.newest.serial) { bitmap.close(); done(); return; }
      this.newest = header;
      this.pictures += 1;
      this.kept.set(header.index, { header, bytes });
      while (this.kept.size > KEPT_PICTURES) this.kept.delete(this.kept.keys().next().value);
      if (this.aligned) { bitmap.close(); await this.showTipsPicture(done); return; }
      this.shown = header;
      this.stage.show(bitmap, header.size, done);
    } catch { done(); tell("the browser cannot read a picture"); }
  }

  /** Show the picture that the tip was seen in, or the newest where that is not kept. */
  async showTipsPicture(done) {
    const found = this.kept.get(this.state?.row?.frame) ?? this.kept.get(this.newest.index);
    if (found.header === this.shown) { done(); return; }
    this.shown = found.header;
    this.stage.show(await createImageBitmap(new Blob([found.bytes], { type: `image/${found.header.kind}` })), found.header.size, done);
  }

  // -- the page -----------------------------------------------------------------------------------------------------

  build() {
    const { about } = this;
    this.element.className = "live";
    this.left = el("p", { className: "badge left" });
    this.right = el("p", { className: "badge right" });
    this.headline = el("p", { className: "headline", role: "alert", hidden: true });
    const stage = el("div", { className: "stage", role: "img", "aria-label": "the newest picture with tip, target and regions" }, this.left, this.right, this.headline);
    this.stage = new Stage(stage, { draw: (pane, view) => this.paint(pane, view), painted: () => {}, press: (at, view) => this.press(at, view) });
    this.panels = new Panels(about, {
      stop: () => this.stop.now(),
      grip: (what) => this.held.grip(what),
      letGo: () => this.held.letGo(),
      hold: () => this.ask("hold"),
      setOverlays: (on) => this.setOverlays(on),
      setAligned: (on) => this.setAligned(on),
      draws: (what) => { this.draw = what; this.refresh(); },
      placeTarget: () => this.placeTarget(this.at),
      placeRegion: () => this.placeRegion(this.at, Number(this.panels.radius.value)),
      clearRegions: () => this.ask("clear regions"),
    });
    this.timeWords = el("span", { className: "num" });
    const curves = el("div", { className: "curves" });
    const time = el("section", { className: "time", "aria-label": "time" }, el("div", { className: "transport" }, el("span", { className: "live-mark" }, "● live"), el("span", { className: "hint" }, !about.moves ? "nothing moves here: it is only looked at" : about.recording ? "the whole run is in its recording" : "this run is not recorded"), this.timeWords), curves);
    this.spoken = el("p", { className: "unseen", role: "status", "aria-live": "polite" });
    this.element.replaceChildren(this.panels.stopBox, stage, time, this.panels.aside, this.spoken);
    this.strips = new Strips(curves, about.tip_sd_mm, about.moves);
  }

  /** STOP stands before every other use of its keys, in a field, on a button, in a dialog. */
  listen() {
    if (!this.about.moves) return;
    addEventListener("keydown", (event) => {
      if (event.key === " " || event.code === "Space" || event.key === "Escape") {
        event.preventDefault();
        event.stopImmediatePropagation();
        if (!event.repeat) this.stop.now();
        document.querySelector("dialog[open]")?.close();
        return;
      }
      const on = event.target.closest?.("button, a, summary, select, textarea, input:not([type=radio]):not([type=checkbox])"), held = on?.dataset?.what;
      const field = on?.matches("input[type=number], input[type=text], textarea, select");
      const plain = !event.ctrlKey && !event.metaKey && !event.altKey;
      let what = null;
      if (event.key === "Enter" && (!on || held)) what = held ?? "start";
      else if ((event.key === "r" || event.key === "R") && plain && !field) what = "release";
      if (!what || event.target.closest?.("dialog")) return;
      event.preventDefault();
      if (!event.repeat) this.held.grip(what);
    }, { capture: true });
    addEventListener("keyup", (event) => {
      if (event.key === " " || event.code === "Space") event.preventDefault(); // a button would be clicked by it
      if (["Enter", "r", "R"].includes(event.key)) this.held.letGo();
    }, { capture: true });
  }

  async ask(word, fields = {}) {
    const answer = await this.socket.ask(word, { run: this.run, ...fields });
    if (!answer.ok) tell(answer.reason);
    return answer.ok;
  }

  // -- before the start ---------------------------------------------------------------------------------------------

  get before() { return this.state?.phase === "before" && this.about.drawn_before; }

  /** A press on the picture: before the start it places what is chosen. */
  press(at, view) {
    if (!this.before) return null;
    const from = view.toImage(at), mm = this.about.spacing_mm;
    this.at = from;
    if (this.draw === "target") return { move: (to) => { this.at = view.toImage(to); }, end: () => this.placeTarget(this.at) };
    this.circle = { center: from, radius: Number(this.panels.radius.value) };
    return {
      move: (to) => {
        const [x, y] = view.toImage(to), radius = mm ? Math.hypot((x - from[0]) * mm[0], (y - from[1]) * mm[1]) : 0;
        if (radius >= 0.5) this.circle.radius = radius;
      },
      end: () => { this.placeRegion(from, this.circle.radius); this.circle = null; },
      cancel: () => { this.circle = null; },
    };
  }

  placeTarget(at) { if (this.before) this.ask("target", { place: at.map(Number) }); }

  placeRegion(at, radius) { if (this.before) this.ask("keep out", { center: at.map(Number), radius_mm: Math.round(radius * 100) / 100 }); }

  moveCursor(x, y) {
    if (!this.before) return;
    const mm = this.about.spacing_mm ?? [1, 1];
    this.at = [this.at[0] + x / mm[0], this.at[1] + y / mm[1]].map((v, i) => Math.min(Math.max(v, 0), this.about.size_px[i] - 1));
    this.refresh();
  }

  // -- what is shown ------------------------------------------------------------------------------------------------

  /** How long nothing was heard of the loop, s. null while all is well. */
  get silent() {
    const passed = performance.now() - this.stateAt;
    return this.over === null && this.about.live && passed > OLD_MS ? passed / 1000 : null;
  }

  /** How long no picture came, s. null while all is well, and before time has begun. */
  get noPicture() {
    if (this.over !== null || !this.about.live || (this.state?.phase === "before" && this.pictures <= 1)) return null;
    const passed = performance.now() - this.pictureAt;
    return passed > OLD_MS ? passed / 1000 : null;
  }

  paint(pane, view) {
    const { about, state } = this, mm = about.spacing_mm, old = this.noPicture ?? this.silent;
    const aspect = mm ? mm[0] / mm[1] : 1;
    if (view.aspect !== aspect) { view.aspect = aspect; view.fit(); }
    pane.element.classList.toggle("placing", Boolean(this.before));
    this.element.classList.toggle("stale", old !== null || this.over !== null);
    const over = pane.over;
    over.append(hatch());
    if (mm) over.append(scales(view, mm));
    if (state && this.overlays) {
      const shift = this.shown?.shift ?? [0, 0];
      if (mm) for (const each of state.regions) over.append(region(view, each, { mm, shift, clearance: about.clearance }));
      if (mm && this.circle) over.append(region(view, { name: `${this.circle.radius.toFixed(1)} mm`, center: [this.circle.center[0] * mm[0], this.circle.center[1] * mm[1]], radius: this.circle.radius }, { mm, shift: [0, 0] }));
      if (state.target) over.append(target(view, [state.target[0] - shift[0], state.target[1] - shift[1]], mm));
      if (this.before && this.at) over.append(cursor(view, this.at));
      over.append(trail(view, this.tips.slice(0, -1).map((t) => t.tip), trackColour(1)));
      if (state.row?.tip) over.append(needle(view, { ...state.row, track: "live" }, mm, trackColour(1)));
    }
    if (old !== null) over.append(cross(view, this.noPicture !== null ? `NO PICTURE FOR ${old.toFixed(1)} s` : `NOTHING HEARD FOR ${old.toFixed(1)} s`));
  }

  refresh() {
    if (!this.panels) return;
    const { state } = this, now = this.clock.now();
    this.panels.show(state, { over: this.over, silent: this.silent, stop: this.stop.words, now });
    this.badges(state, now);
    this.headlines(state);
    say(this.timeWords, state?.phase === "before" ? "before the start" : state ? `${state.at.toFixed(2)} s${this.about.longest_s ? ` of at most ${this.about.longest_s} s` : ""}` : "");
    this.refreshed = (this.refreshed ?? 0) + 1;
    if (this.refreshed % CURVES_EVERY === 1) this.strips.paint();
    if (this.noPicture !== null || this.silent !== null || this.before || this.wasOld) this.stage.redraw();
    this.wasOld = this.noPicture !== null || this.silent !== null;
    if (this.refreshed % 10 === 1) say(this.spoken, this.words());
  }

  badges(state, now) {
    const still = this.over !== null || !this.about.live || (state?.phase === "before" && this.pictures <= 1); // time stands
    const since = (time) => (time == null || now === null || still ? null : now - time);
    const line = (name, value) => el("span", {}, `${name} `, el("b", {}, value));
    const left = [el("span", {}, "age of"), line("picture", ms(since(this.shown?.captured))), line("tip", ms(since(state?.estimate?.time)))];
    if (this.about.moves) {
      const ends = state?.verdict?.cleared && state.verdict.expires != null && now !== null ? state.verdict.expires - now : null;
      left.push(line("order", ms(since(state?.action?.captured))), line("ends in", ends === null ? "–" : ms(Math.max(ends, 0))));
    }
    this.left.replaceChildren(...left);
    const recent = performance.now() - 2000;
    this.drawnAt = this.drawnAt.filter((t) => t > recent);
    const rate = (value) => (value == null ? "– /s" : `${value.toFixed(1)} /s`), rates = state?.rates;
    this.right.replaceChildren(...(this.about.moves ? [line("camera", rate(rates?.camera))] : []), line("tracker", rate(rates?.tracker)),
      ...(this.about.moves ? [line("policy", rate(rates?.policy)), line("control", rate(rates?.control))] : []), line("screen", rate(this.drawnAt.length / 2)));
  }

  headlines(state) {
    const stop = state?.stop, words = this.stop.words;
    let text = "";
    if (this.over !== null || !this.about.moves) text = "";
    else if (words?.[1] === "unconfirmed") text = "STOP NOT CONFIRMED · use the hardware stop";
    else if (stop) text = stop.kind === "ended" ? `OVER · ${stop.reason}` : `STOPPED ${stop.kind === "operator" ? "by the operator" : `(${stop.kind})`} at ${stop.at.toFixed(2)} s · latched · the needle is held`;
    else if (words) text = "STOP pressed";
    else if (state?.held) text = `HELD · ${state.held}`;
    else if (state?.phase === "before") text = "BEFORE THE START · nothing moves · hold Start for 1\u00a0s";
    this.headline.hidden = !text;
    this.headline.className = `headline ${stop || words ? "stopped" : "waits"}`;
    say(this.headline, text);
  }

  words() {
    const { state } = this;
    if (this.over !== null) return `over: ${this.over}`;
    if (!state) return "nothing heard yet";
    const gate = state.stop ? `stopped, ${state.stop.reason}` : state.phase === "before" ? "waiting for the start" : state.verdict?.cleared ? "gate cleared" : `gate refused, ${state.verdict?.rule ?? "nothing asked"}`;
    return `${gate}, tip ${state.row?.state ?? "not known"}`;
  }

  setOverlays(on) { this.overlays = on; this.panels.overlayBox.checked = on; this.stage.redraw(); }

  setAligned(on) { this.aligned = on; this.panels.alignBox.checked = on; }

  zoom(factor) { const { view } = this.stage; view.zoom(factor, view.pane.map((v) => v / 2)); this.stage.redraw(); }

  pan(x, y) { const { view } = this.stage; view.move(view.toImage([0, 0]), [-40 * x, -40 * y]); this.stage.redraw(); }

  fit() { this.stage.view.fit(); this.stage.redraw(); }
}
