// The tools at the side, in the order of the work: scale, start, track, compare, label, export.
import { button, el, say } from "../dom.js";
import { tell } from "../notices.js";

const digits = (v, n = 4) => Number(v.toPrecision(n)).toString();

export class Panels {
  constructor(aside, room) {
    this.room = room;
    this.drawn = new Map();
    aside.append(this.scale(), this.startPanel(), this.trackPanel(), this.tracksPanel(), this.label(), this.exports());
  }

  section(title, ...children) {
    const note = el("span");
    return { element: el("section", { "aria-label": title }, el("h2", {}, title, note), ...children), note };
  }

  /** Build a list anew only if what it shows has changed, so that focus stays where it is. */
  list(element, key, entries, build) {
    const now = JSON.stringify(entries);
    if (this.drawn.get(key) === now) return;
    this.drawn.set(key, now);
    const focused = element.contains(document.activeElement) ? [...element.querySelectorAll("button, input, a")].indexOf(document.activeElement) : -1;
    element.replaceChildren(...entries.map(build));
    if (focused >= 0) element.querySelectorAll("button, input, a")[focused]?.focus();
    element.hidden = !entries.length;
  }

  // -- scale --------------------------------------------------------------------------------------------------------

  scale() {
    const { room } = this;
    this.scaleHow = el("p", { className: "hint" });
    this.typed = el("input", { type: "text", inputMode: "decimal", placeholder: "0.1 or 0.1,0.12", "aria-label": "mm per pixel" });
    const use = () => {
      const values = this.typed.value.split(",").map(Number);
      if (values.length > 2 || values.some((v) => !(v > 0))) { tell("give millimetres per pixel, such as 0.1 or 0.1,0.12"); return; }
      room.send("scale", { spacing: [values[0], values.at(-1)], how: "typed" });
    };
    this.typed.addEventListener("keydown", (event) => { if (event.key === "Enter") use(); });
    this.typing = el("div", { className: "row", hidden: true }, this.typed, button("Use", { className: "narrow" }, use));
    this.back = button("As the file says", { className: "small", hidden: true }, () => room.send("scale", { spacing: null }));
    this.screenWords = el("p", { className: "hint", hidden: true });
    this.candidates = el("ul", { className: "candidates", hidden: true });
    this.cropBox = el("input", { type: "checkbox" });
    this.cropWords = el("span");
    this.cropLine = el("label", { className: "row hint", hidden: true }, el("span", { className: "narrow" }, this.cropBox), this.cropWords);
    const made = this.section("1 · Scale",
      el("div", { className: "row" },
        button("Ruler", { key: "M" }, () => room.setMode("ruler")),
        button("Type it", {}, () => { this.typing.hidden = !this.typing.hidden; if (!this.typing.hidden) this.typed.focus(); }),
        button("Read the screen", {}, () => room.send("screen"))),
      this.scaleHow, this.typing, this.screenWords, this.candidates, this.cropLine, this.back);
    this.scaleWords = made.note;
    return made.element;
  }

  updateScale() {
    const { scale, screen } = this.room.state, mm = scale.spacing_mm;
    say(this.scaleWords, mm ? `${digits(mm[0])}${mm[0] === mm[1] ? "" : ` × ${digits(mm[1])}`} mm per pixel` : "unknown: in pixels");
    say(this.scaleHow, mm || scale.given ? scale.how : "Some methods need it. Lay the ruler over the depth marks.");
    this.back.hidden = !scale.given;
    this.screenWords.hidden = !screen;
    if (!screen) return;
    const { ruler, area, crop } = screen;
    const found = ruler ? `A ruler was found ${ruler.axis}: ${ruler.ticks} ticks, ${ruler.tick_px.toFixed(2)} px apart.` : "No ruler was found on the screen.";
    say(this.screenWords, `${found}${ruler ? " It does not say how many mm a tick is: compare the depth with the scanner's." : ""}`);
    this.list(this.candidates, "candidates", screen.scales, (s) => el("li", {},
      el("span", {}, `tick ${digits(s.tick_mm)} mm: ${digits(s.spacing_mm)} mm per pixel, ${s.depth_mm.toFixed(0)} mm deep`),
      button("Use", { className: "small", "aria-label": `use a tick of ${s.tick_mm} mm` }, () =>
        this.room.send("scale", { spacing: [s.spacing_mm, s.spacing_mm], how: `screen's ruler, a tick of ${digits(s.tick_mm)} mm` }))));
    this.cropLine.hidden = !crop;
    if (crop) say(this.cropWords, `Track only inside the picture that was found (${crop}, ${Math.round(100 * area.confidence)} % of its boundary seen)`);
  }

  // -- start and track ----------------------------------------------------------------------------------------------

  startPanel() {
    const { room } = this;
    this.clickStart = button("Click the tip", { key: "T" }, () => room.setMode("tip"));
    this.alone = button("Find it alone", {}, () => { room.start = null; room.refresh(); });
    this.enters = el("select", {}, ...["not known", "left", "right", "top"].map((side) => el("option", { value: side === "not known" ? "" : side }, side)));
    this.angle = el("input", { type: "text", placeholder: "30:40", "aria-label": "angle in degrees, low:high" });
    this.speed = el("input", { type: "text", inputMode: "decimal", placeholder: "for kfv, pfv", "aria-label": "speed in mm per second" });
    const more = el("details", {}, el("summary", {}, "What you know of the needle"), el("div", {},
      el("label", { className: "field" }, "it enters from the", this.enters),
      el("label", { className: "field" }, "its angle, degrees (30:40 from the left, 140:150 from the right)", this.angle),
      el("label", { className: "field" }, "its speed, mm/s", this.speed)));
    const made = this.section("2 · Start", el("div", { className: "row" }, this.clickStart, this.alone), more);
    this.startWords = made.note;
    return made.element;
  }

  trackPanel() {
    const { room } = this;
    this.methodBox = el("select", { "aria-label": "method", onchange: () => room.refresh() });
    this.trackButton = button("Track", { key: "G", className: "primary" }, () => room.track());
    this.methodWords = el("p", { className: "hint" });
    this.jobs = el("ul", { className: "jobs", hidden: true });
    return this.section("3 · Track", el("div", { className: "row" }, this.trackButton, this.methodBox), this.methodWords, this.jobs).element;
  }

  opened() {
    const names = this.room.state.methods.map((m) => m.name);
    if (names.join() !== [...this.methodBox.options].map((o) => o.value).join()) this.methodBox.replaceChildren(...names.map((name) => el("option", { value: name }, name)));
    this.nameFormats();
  }

  nameFormats() {
    const form = this.form.value;
    this.form.replaceChildren(...["sonosteer", ...this.room.state.formats].map((f) => el("option", { value: f === "sonosteer" ? "" : f }, f)));
    this.form.value = form;
  }

  get method() { return this.methodBox.value; }

  /** What a person knows of the needle, as `track` takes it. */
  hints() {
    const angle = this.angle.value.trim().split(":").map(Number), speed = Number(this.speed.value);
    return {
      enters: this.enters.value || null,
      angle_deg: this.angle.value.trim() && angle.length === 2 && angle.every(Number.isFinite) ? angle : null,
      velocity_mm_s: this.speed.value.trim() && Number.isFinite(speed) ? speed : null,
      crop: this.cropBox.checked && this.room.state.screen?.crop ? this.room.state.screen.crop.split(",").map(Number) : null,
    };
  }

  updateTrack() {
    const { room } = this, { state } = room;
    const tip = room.start === null ? undefined : state.labelOf(room.start), clicked = Array.isArray(tip);
    this.alone.setAttribute("aria-pressed", String(!clicked));
    this.clickStart.setAttribute("aria-pressed", String(clicked || room.mode === "tip"));
    say(this.startWords, clicked ? `frame ${room.start}, your click` : "first frame, no click");
    const needs = state.methods.find((m) => m.name === this.method)?.needs;
    this.methodWords.hidden = !needs;
    say(this.methodWords, needs ? `${this.method} needs ${needs}.` : "");
    const jobs = [...state.jobs.values()].map(({ id, name, state: how, stage, done, of }) => ({ id, name, how, stage, done, of }));
    this.list(this.jobs, "jobs", jobs, (job) => {
      const count = job.of ? `${job.done} of ${job.of}` : job.how === "waits" ? "waits" : job.stage || "begins";
      const bar = el("progress", { "aria-label": job.name });
      if (job.of) { bar.max = job.of; bar.value = job.done; }
      return el("li", {}, el("span", {}, `${job.name} · `, el("span", { className: "num" }, count)),
        button("Stop", { className: "small", "aria-label": `stop ${job.name}` }, () => room.send("cancel", { job: job.id })), bar);
    });
  }

  // -- compare ------------------------------------------------------------------------------------------------------

  tracksPanel() {
    const { room } = this;
    this.tracks = el("ul", { className: "tracks", hidden: true });
    this.noTracks = el("p", { className: "hint" }, "Tracks appear here. Track by two methods to compare them.");
    this.besideButton = button("Beside each other", { key: "B", className: "small" }, () => room.setBeside(!room.beside));
    const made = this.section("Tracks", this.noTracks, this.tracks, this.besideButton);
    this.tracksNote = made.note;
    return made.element;
  }

  updateTracks() {
    const { room } = this, { state } = room, all = [...state.tracks.values()].sort((a, b) => a.number - b.number);
    this.noTracks.hidden = all.length > 0;
    this.besideButton.hidden = all.length < 2;
    this.besideButton.setAttribute("aria-pressed", String(Boolean(room.beside)));
    const primary = state.primaryTrack()?.name, labelled = [...state.labels.values()].some((l) => Array.isArray(l.tip));
    say(this.tracksNote, all.length && labelled ? "distance to your labels" : "");
    const entries = all.map((track) => ({ ...track, rows: undefined, numbers: this.numbers(track), primary: track.name === primary }));
    this.list(this.tracks, "tracks", entries, (track) => {
      const box = el("input", { type: "checkbox", checked: track.shown, "aria-keyshortcuts": String(track.number), onchange: () => room.toggleTrack(track.number) });
      const swatch = el("span", { className: "swatch" });
      swatch.style.background = `var(--track-${track.number})`;
      const make = all.length > 1 && !track.primary ? button("Edit", { className: "small", "aria-label": `correct ${track.name}` }, () => { state.primary = track.name; state.tracks.get(track.name).shown = true; room.refresh(); }) : null;
      const away = button("×", { className: "small quiet", "aria-label": `take ${track.name} away` }, () => room.send("forget", { track: track.name }));
      return el("li", {}, el("label", {}, box, swatch, el("span", {}, track.name)), el("span", {}, ...(make ? [make] : []), away),
        el("span", { className: "num" }, track.numbers));
    });
  }

  /** What a track came to, in one line. */
  numbers(track) {
    const { state } = this.room, away = state.distance(track), mm = state.scale.spacing_mm;
    const said = [`${track.rows.size - state.count(track, "lost")} of ${track.rows.size} found`];
    if (away?.px !== null && away) said.push(mm && mm[0] === mm[1] ? `${(away.px * mm[0]).toFixed(2)} mm of ${away.count}` : `${away.px.toFixed(1)} px of ${away.count}`);
    if (away?.lost) said.push(`${away.lost} labelled lost`);
    if (track.median_ms) said.push(`${track.median_ms.toFixed(1)} ms`);
    if (String(track.spacing_mm) !== String(mm)) said.push("other scale: track again");
    if (track.state.startsWith("failed") || track.state === "left off") said.push(track.state);
    return said.join(" · ");
  }

  // -- label --------------------------------------------------------------------------------------------------------

  label() {
    const { room } = this;
    this.labelWords = el("p", { className: "where" });
    this.saved = el("p", { className: "saved" });
    this.undoButton = button("Undo", { key: "Ctrl Z", shortcut: "Control+Z", className: "small" }, () => room.undo("undo"));
    this.redoButton = button("Redo", { key: "Ctrl Y", shortcut: "Control+Y", className: "small" }, () => room.undo("redo"));
    const made = this.section("Label", this.labelWords, this.saved,
      el("div", { className: "row" },
        button("Accept", { key: "↵", shortcut: "Enter" }, () => room.accept()),
        button("Not visible", { key: "V" }, () => room.hide()),
        button("Remove", { key: "Del", shortcut: "Delete" }, () => room.remove())),
      el("div", { className: "row" },
        button("Re-run from here", { key: "⇧G", shortcut: "Shift+G", className: "primary" }, () => room.trackFromHere()),
        button("Next doubtful", { key: "N" }, () => room.nextDoubtful())),
      el("div", { className: "row" }, this.undoButton, this.redoButton));
    this.labelNote = made.note;
    return made.element;
  }

  updateLabel() {
    const { room } = this, { state } = room, frame = room.frame;
    const held = [room.dragged, room.nudged].find((one) => one?.frame === frame);
    const tip = held ? held.tip : state.labelOf(frame), row = state.rowOf(frame), unsaved = state.unsaved.get(frame);
    say(this.labelNote, `frame ${frame}${tip === undefined ? "" : " · yours"}`);
    let words = "no label";
    if (tip === "hidden") words = "the tip is not visible";
    else if (tip) {
      words = `tip at ${tip.map((v) => v.toFixed(1)).join(", ")} px`;
      if (row?.tip) words += `, ${Math.hypot(tip[0] - row.tip[0], tip[1] - row.tip[1]).toFixed(1)} px from ${state.primaryTrack().method}`;
    }
    say(this.labelWords, words);
    const waits = tip === undefined ? "Drag the tip, press T to place it, or Enter to accept the track's." : "arrow keys: a pixel, with Shift a tenth";
    say(this.saved, held ? "not saved yet" : unsaved ? (unsaved.reason ? `NOT SAVED: ${unsaved.reason}` : "saving") : tip === undefined ? waits : `saved · ${waits}`);
    this.undoButton.disabled = !state.can.undo;
    this.redoButton.disabled = !state.can.redo;
  }

  // -- export -------------------------------------------------------------------------------------------------------

  exports() {
    const { room } = this, track = () => room.state.primaryTrack()?.name ?? null;
    this.form = el("select", { "aria-label": "format of the data set" });
    this.files = el("ul", { className: "files", hidden: true });
    this.exportWords = el("p", { className: "hint" });
    const made = this.section("Export", el("div", { className: "row" },
      button("Tips", {}, () => room.exportFile("tips", { track: track() })),
      button("Labels", {}, () => room.exportFile("labels")),
      button("Overlay video", {}, () => room.exportFile("overlay", { track: track() }))),
    el("div", { className: "row" }, button("Data set", {}, () => room.exportFile("data set", { form: this.form.value || null })), this.form),
    this.exportWords, this.files);
    return made.element;
  }

  updateExports() {
    const { state } = this.room;
    say(this.exportWords, state.out ? `Files go to ${state.out}` : "");
    this.list(this.files, "files", state.files.slice(-6).map(({ file, get }) => ({ file, get: get || (file.endsWith(".mp4") ? `/export/${file.split("/").pop()}` : null) })), ({ file, get }) =>
      el("li", {}, file.split("/").pop(), " ", get ? el("a", { href: get, download: file.split("/").pop() }, "download") : "written"));
  }

  update() {
    if (!this.room.state.clip) return;
    this.updateScale();
    this.updateTrack();
    this.updateTracks();
    this.updateLabel();
    this.updateExports();
  }
}
