// The replay room: one recorded run, or two beside each other on one clock, with every decision and every refusal.
import { button, byId, el, say, svg } from "../dom.js";
import { needle, scales, trackColour } from "../drawing.js";
import { banner, tell } from "../notices.js";
import { Stage } from "../stage.js";
import { RecordedRun } from "./run.js";
import { ReplayTimeline } from "./timeline.js";

const EXACT_AFTER_MS = 220; // a picture that stays is fetched again without loss
const HIT_MM = 5; // within it a stop is a success: the circle round the target
const MOST_MOMENTS = 200;
const GATE_WORDS = { cleared: "cleared", bounded: "cleared, less than was wanted", held: "HELD", stopped: "STOPPED" };
const GATE_TINT = { cleared: "tracking", bounded: "tracking", held: "coasting", stopped: "lost" };
const mm = (value, digits = 1) => (value == null ? "–" : `${value.toFixed(digits)} mm`);
const ms = (seconds) => `${Math.round(1000 * seconds)} ms`;

/** One run's picture, and how far it is fetched. */
class Seat {
  constructor(room, run, way) {
    this.room = room;
    this.run = run;
    this.way = way;
    this.element = el("section", { className: "seat", "aria-label": `picture of run ${run.number}` });
    this.left = el("p", { className: "badge left" });
    this.right = el("p", { className: "badge right" });
    this.element.append(this.left, this.right);
    this.stage = new Stage(this.element, { draw: (pane, view) => room.draw(this, view, pane), painted: () => {}, press: () => null });
  }

  ask(exact = false) {
    if (!this.run.frames.length) return;
    const index = this.run.frameAt(this.room.now);
    if (index !== this.asked?.index || exact !== this.asked.exact) {
      this.asked = { index, exact };
      this.room.socket.send("seek", { index, exact, way: this.way });
    }
  }

  async took(header, bytes) {
    const done = () => this.room.socket.send("drawn", { serial: header.serial, way: this.way });
    const pane = this.stage.panes[0];
    let wrong = header.wrong;
    if (header.kind) {
      try {
        const bitmap = await createImageBitmap(new Blob([bytes], { type: `image/${header.kind}` }));
        if (this.shown && header.serial < this.shown.serial) { bitmap.close(); done(); return; }
        this.stage.show(bitmap, header.size, done);
      } catch {
        wrong = "the browser cannot read this picture";
      }
    }
    if (wrong || !header.kind) done();
    pane.wrong.hidden = !wrong;
    say(pane.wrong, wrong || "");
    this.shown = header;
    this.room.refresh();
  }
}

export class ReplayRoom {
  constructor(element, socket) {
    this.element = element;
    this.socket = socket;
    this.runs = [];
    this.seats = [];
    this.now = 0;
    this.until = 1;
    this.overlays = true;
    this.aligned = false;
    this.speed = 1;
  }

  // -- what the console says ----------------------------------------------------------------------------------------

  opened() { this.element.classList.remove("stale"); for (const seat of this.seats) seat.asked = null; if (this.ready) this.go(this.now); }

  closed() { this.element.classList.add("stale"); }

  picture(header, bytes) { this.seats[header.way]?.took(header, bytes); }

  hear(word) {
    const hears = {
      hello: () => this.hello(word),
      recorded: () => this.runs[word.way]?.put(word.part, word.rows),
      read: () => { this.ready = true; this.listMoments(); this.go(this.now); },
      said: () => { if (!word.ok) tell(word.reason); },
    };
    hears[word.t]?.();
  }

  hello(word) {
    this.runs = word.runs.map((about, i) => new RecordedRun(about, i + 1));
    this.until = Math.max(...this.runs.map((run) => run.until_s), 0.1);
    this.build();
    say(byId("notice"), word.notice);
    say(byId("source"), this.runs.map((run) => run.name).join("   |   "));
    document.title = `${this.runs[0].name} – sonosteer`;
    for (const run of this.runs) {
      if (run.cut) banner(`cut ${run.number}`, `${run.name} was ${run.cut}. What is shown is what counts. Do not take it for the run.`);
      if (!run.pictures) banner(`pictures ${run.number}`, `${run.name} holds no pictures.`);
    }
  }

  // -- the page -----------------------------------------------------------------------------------------------------

  build() {
    this.element.className = "clip replay";
    this.seats = this.runs.map((run, i) => new Seat(this, run, i));
    const stage = el("div", { className: `stage ${this.runs.length > 1 ? "two" : ""}` }, ...this.seats.map((seat) => seat.element));
    this.playButton = button("Play", { key: "P" }, () => this.togglePlay());
    const speeds = el("select", { "aria-label": "speed", onchange: () => this.setSpeed(Number(speeds.value)) },
      ...[0.1, 0.25, 0.5, 1, 2, 4].map((s) => el("option", { value: s, selected: s === 1 }, `${s} ×`)));
    this.timeWords = el("span", { className: "num" });
    const transport = el("div", { className: "transport" }, this.playButton,
      button("Back", { key: "," }, () => this.step(-1)), button("On", { key: "." }, () => this.step(1)), speeds,
      button("Next refusal", { key: "N" }, () => this.nextMoment(1)), this.timeWords);
    const line = el("div", { className: "line" });
    this.spoken = el("p", { className: "unseen", role: "status", "aria-live": "polite" });
    this.panels = el("aside", { "aria-label": "what was decided", tabIndex: -1 });
    this.element.replaceChildren(stage, el("section", { className: "time", "aria-label": "time" }, transport, line), this.panels, this.spoken);
    this.timeline = new ReplayTimeline(line, { seek: (t) => this.go(t) }, () => ({ now: this.now, until: this.until, runs: this.runs, words: this.words() }));
    this.facts = this.runs.map((run) => this.buildFacts(run));
    this.alignBox = el("input", { type: "checkbox", onchange: () => this.setAligned(this.alignBox.checked) });
    this.overlayBox = el("input", { type: "checkbox", checked: true, onchange: () => this.setOverlays(this.overlayBox.checked) });
    this.momentList = el("ol", { className: "moments" });
    this.panels.append(...this.facts.map((f) => f.element),
      el("section", {}, el("h2", {}, "Shown"),
        el("label", { className: "check" }, this.overlayBox, "needle and target"),
        el("label", { className: "check" }, this.alignBox, "tip of this very picture, not as it was known then")),
      el("section", {}, el("h2", {}, "Moments", this.momentCount = el("span", {})), this.momentList));
  }

  buildFacts(run) {
    const made = {}, list = el("dl", { className: "facts" });
    for (const [name, words] of [["gate", "Gate"], ["tip", "Tip"], ["order", "Wanted"], ["robot", "Robot"], ["away", "To target"], ["picture", "Picture"]]) {
      made[name] = el("dd", { className: "num" });
      list.append(el("dt", {}, words), made[name]);
    }
    const about = ["policy", "controller", "mode", "method", "scene", "seed"].filter((k) => run.command[k] !== undefined).map((k) => `${k} ${run.command[k]}`).join(", ");
    made.element = el("section", {},
      el("h2", {}, this.runs.length > 1 ? `Run ${run.number}` : "At this moment", el("span", {}, run.cut ? "altered or cut" : "whole")),
      list, el("p", { className: "hint" }, `${about}. Ended after ${run.until_s.toFixed(1)} s: ${run.ended ?? "not recorded"}.`),
      el("details", {}, el("summary", {}, "Digest"), el("div", { className: "num wrap" }, run.digest)));
    return made;
  }

  listMoments() {
    this.moments = this.runs.flatMap((run) => run.moments().map((m) => ({ ...m, run }))).sort((a, b) => a.time - b.time);
    say(this.momentCount, String(this.moments.length));
    const shown = this.moments.slice(0, MOST_MOMENTS);
    this.momentList.replaceChildren(...shown.map((moment) => {
      const lasts = moment.lasts >= 0.05 ? ` for ${moment.lasts.toFixed(2)} s` : "";
      const who = this.runs.length > 1 ? `run ${moment.run.number}, ` : "";
      moment.button = button(`${moment.time.toFixed(2)} s`, { className: "small" }, () => this.jump(moment));
      return el("li", {}, moment.button, el("span", { className: moment.word === "event" ? "" : GATE_TINT[moment.word] }, `${who}${moment.says}${lasts}`));
    }));
    if (this.moments.length > MOST_MOMENTS) this.momentList.append(el("li", {}, el("span", { className: "hint" }, `and ${this.moments.length - MOST_MOMENTS} more: N goes to each`)));
  }

  // -- time ---------------------------------------------------------------------------------------------------------

  go(t) {
    this.now = Math.min(Math.max(t, 0), this.until);
    if (this.playing) this.playing = { at: performance.now(), from: this.now };
    this.show();
  }

  show(exact = false) {
    for (const seat of this.seats) seat.ask(exact);
    clearTimeout(this.later);
    if (!exact && !this.playing) this.later = setTimeout(() => this.show(true), EXACT_AFTER_MS);
    this.refresh();
  }

  step(by) {
    this.pause();
    const run = this.runs[0], at = Math.min(Math.max(run.frameAt(this.now) + by, 0), run.frames.length - 1);
    if (run.frames[at]) this.go(run.frames[at][1]);
  }

  togglePlay() { if (this.playing) this.pause(); else this.play(); }

  play() {
    if (this.now >= this.until - 1e-3) this.now = 0;
    this.playing = { at: performance.now(), from: this.now };
    const tick = () => {
      if (!this.playing) return;
      this.now = this.playing.from + ((performance.now() - this.playing.at) / 1000) * this.speed;
      if (this.now >= this.until) { this.now = this.until; this.pause(); return; }
      this.show();
      requestAnimationFrame(tick);
    };
    requestAnimationFrame(tick);
  }

  pause() { this.playing = null; this.show(); }

  setSpeed(speed) { this.speed = speed; if (this.playing) this.playing = { at: performance.now(), from: this.now }; }

  nextMoment(way) {
    const all = this.moments || [];
    if (!all.length) { tell("nothing was refused, and nothing happened"); return; }
    const at = way > 0 ? all.find((m) => m.time > this.now + 1e-3) || all[0] : all.findLast((m) => m.time < this.now - 1e-3) || all.at(-1);
    this.jump(at);
  }

  jump(moment) { this.playing = null; this.go(moment.time); }

  // -- looking ------------------------------------------------------------------------------------------------------

  setAligned(on) { this.aligned = on; this.alignBox.checked = on; this.refresh(); }

  setOverlays(on) { this.overlays = on; this.overlayBox.checked = on; this.refresh(); }

  zoom(factor) { for (const { stage } of this.seats) stage.view.zoom(factor, stage.view.pane.map((v) => v / 2)); this.refresh(); }

  pan(x, y) { for (const { stage: { view } } of this.seats) view.move(view.toImage([0, 0]), [-40 * x, -40 * y]); this.refresh(); }

  fit() { for (const { stage } of this.seats) stage.view.fit(); this.refresh(); }

  tipOf(run) {
    if (!this.aligned) return run.estimateAt(this.now);
    const row = run.byFrame.get(run.frames[run.frameAt(this.now)]?.[0]);
    return row ? { ...row, age: null } : null;
  }

  draw({ run }, view, pane) {
    if (!this.overlays) return;
    const tip = this.tipOf(run), decision = run.decisionAt(this.now), target = decision?.target ?? run.target_px, over = pane.over;
    if (run.spacing_mm) over.append(scales(view, run.spacing_mm));
    // of a steered needle no such circle is agreed on
    if (target) over.append(...targetMark(view, target, run.command.controller ? null : run.spacing_mm));
    if (tip && tip.state !== "lost") over.append(needle(view, tip, run.spacing_mm, trackColour(run.number)));
  }

  refresh() {
    if (!this.timeline) return;
    for (const seat of this.seats) { seat.stage.redraw(); this.badges(seat); }
    this.runs.forEach((run, i) => this.fill(this.facts[i], run));
    say(this.timeWords, `${this.now.toFixed(2)} of ${this.until.toFixed(2)} s`);
    this.playButton.firstChild.textContent = this.playing ? "Pause" : "Play";
    this.timeline.redraw();
    clearTimeout(this.speaking);
    this.speaking = setTimeout(() => say(this.spoken, this.words()), 500);
  }

  badges({ run, left, right }) {
    const tip = this.tipOf(run), span = run.spanAt(this.now);
    const lines = [`gate ${span ? GATE_WORDS[span.word] : "not yet asked"}`];
    if (span?.word === "held" || span?.word === "stopped") lines.push(span.reason);
    left.replaceChildren(...(this.runs.length > 1 ? [el("span", {}, `run ${run.number}`)] : []), ...lines.map((line) => el("span", { className: span ? GATE_TINT[span.word] : "" }, line)));
    right.replaceChildren(el("span", { className: tip?.state ?? "" }, tip ? tip.state : "no tip yet"),
      el("span", {}, tip?.age == null ? (tip ? "of this picture" : "") : `tip ${ms(tip.age)} old`));
  }

  fill(made, run) {
    const tip = this.tipOf(run), span = run.spanAt(this.now), decision = run.decisionAt(this.now), curve = run.curveAt(this.now), frame = run.frames[run.frameAt(this.now)];
    const speed = curve && span && (span.word === "cleared" || span.word === "bounded") ? `, ${curve.speed.toFixed(1)} mm/s` : "";
    say(made.gate, span ? `${GATE_WORDS[span.word]}${speed}${span.reason ? `: ${span.reason}` : ""}` : "not yet asked");
    made.gate.className = `num ${span ? GATE_TINT[span.word] : ""}`;
    say(made.tip, !tip ? "none yet" : tip.state === "lost" ? `lost: ${tip.reason}` : `${tip.state}${tip.confidence == null ? "" : ` ${tip.confidence.toFixed(2)}`}, ± ${tip.along == null ? "–" : tip.along.toFixed(1)} ${tip.inMm ? "mm" : "px"}${tip.age == null ? "" : `, ${ms(tip.age)} old`}`);
    made.tip.className = `num ${tip?.state ?? ""}`;
    say(made.order, !decision ? "nothing yet" : decision.stop ? `stop, ${ms(decision.age)} ago` : `${decision.speed.toFixed(1)} mm/s, ${((decision.angle * 180) / Math.PI).toFixed(1)}°, ${ms(decision.age)} ago`);
    say(made.robot, `depth ${mm(curve?.depth)}`);
    say(made.away, mm(curve?.away));
    say(made.picture, frame ? `${frame[0]} of ${run.frames.length - 1}, ${ms(Math.max(this.now - frame[1], 0))} old${frame[2] && frame[2] !== "used" ? `, ${frame[2]}` : ""}` : "none yet");
  }

  words() {
    return `${this.now.toFixed(2)} seconds. ${this.runs.map((run) => {
      const span = run.spanAt(this.now), tip = this.tipOf(run);
      return `${this.runs.length > 1 ? `run ${run.number}: ` : ""}gate ${span ? GATE_WORDS[span.word] : "not asked"}${span?.reason ? `, ${span.reason}` : ""}, tip ${tip?.state ?? "not known"}`;
    }).join(". ")}`;
  }
}

/** A cross at the target, and the circle within which a stop is a success. */
function targetMark(view, target, spacing) {
  const [x, y] = view.toPane(target), tint = "#f0e442", made = [];
  made.push(svg("path", { d: `M${x - 8} ${y}h16M${x} ${y - 8}v16`, stroke: tint, "stroke-width": 1.75, fill: "none" }));
  if (spacing) made.push(svg("ellipse", { cx: x, cy: y, rx: (HIT_MM / spacing[0]) * view.k[0], ry: (HIT_MM / spacing[1]) * view.k[1], fill: "none", stroke: tint, "stroke-width": 1.25, "stroke-dasharray": "2 4" }));
  return made;
}
