// The panels beside a live picture: STOP and its keys, what the gate says, the tip, the target, the pictures' account.
import { button, el, say } from "../dom.js";

const mm = (value, digits = 2) => (value == null ? "–" : `${value.toFixed(digits)} mm`);
const deg = (rad) => (rad == null ? "–" : `${((rad * 180) / Math.PI).toFixed(1)}°`);
export const ms = (seconds) => (seconds == null ? "–" : `${Math.round(1000 * seconds)} ms`);

/** A list of names and numbers, two beside each other. */
function pairs(...names) {
  const made = {}, list = el("dl", { className: "pairs" });
  for (const name of names) list.append(el("dt", {}, name), made[name] = el("dd", {}, "–"));
  return [list, made];
}

export class Panels {
  /** does: {stop, grip(what), letGo, hold, setOverlays, setAligned, ...}. */
  constructor(about, does) {
    this.about = about;
    this.does = does;
    this.stopWords = el("small", {}, "Space or Esc, from anywhere on this page");
    this.stopButton = el("button", { type: "button", className: "stop", "aria-keyshortcuts": "Space Escape" }, "STOP", this.stopWords);
    this.stopButton.addEventListener("pointerdown", (event) => { event.preventDefault(); this.stopButton.focus(); does.stop(); });
    this.stopButton.addEventListener("click", (event) => { if (event.detail === 0) does.stop(); }); // by a screen reader
    this.start = this.heldButton("Start", "Enter", "start");
    this.hold = button("Hold", { key: "H" }, () => does.hold());
    this.release = this.heldButton("Release", "R", "release");
    this.keysSay = el("p", { className: "hint" }, "Start, Release: hold the key, or the button, for 1\u00a0s");
    this.stopBox = el("section", { className: "stop-box", "aria-label": "stop" }, this.stopButton, el("div", { className: "row" }, this.start, this.hold, this.release), this.keysSay);
    this.stopBox.hidden = !about.moves;
    this.buildPanels();
  }

  heldButton(text, key, what) {
    const made = button(text, { key, className: "held" }, () => {});
    made.addEventListener("pointerdown", (event) => { if (event.button === 0 && !made.disabled) { event.preventDefault(); made.setPointerCapture(event.pointerId); this.does.grip(what); } });
    for (const end of ["pointerup", "pointercancel", "lostpointercapture"]) made.addEventListener(end, () => this.does.letGo());
    made.dataset.what = what;
    return made;
  }

  buildPanels() {
    const { about, does } = this;
    this.gateTime = el("span", {});
    this.verdict = el("strong", {}, "–");
    this.verdictSays = el("span", {});
    this.gateSays = el("p", { className: "hint" });
    this.gate = el("section", { className: "gate" }, el("h2", {}, "Gate", this.gateTime), el("p", {}, this.verdict, " ", this.verdictSays), this.gateSays);
    this.gate.hidden = !about.moves;
    this.tipFrame = el("span", {});
    this.tipState = el("strong", {}, "–");
    this.tipSays = el("span", { className: "hint" });
    const [tipList, tip] = pairs("along ±", "across ±", "angle", "depth");
    this.tip = tip;
    this.away = el("div", { className: "big" }, "–");
    this.awaySays = el("p", { className: "hint" });
    this.awayBox = el("section", {}, el("h2", {}, "To target", el("span", {}, "a hit is within 5 mm")), this.away, this.awaySays);
    const [countList, counts] = pairs(...about.counts);
    const [seenList, seen] = pairs("seen here", "sent", "passed by", "drawn");
    this.counts = counts;
    this.seen = seen;
    this.countsSay = el("span", {});
    this.overlayBox = el("input", { type: "checkbox", checked: true, onchange: () => does.setOverlays(this.overlayBox.checked) });
    this.alignBox = el("input", { type: "checkbox", onchange: () => does.setAligned(this.alignBox.checked) });
    this.aside = el("aside", { "aria-label": "what is known now", tabIndex: -1 }, this.gate,
      ...(about.drawn_before ? [this.buildBefore()] : []),
      el("section", {}, el("h2", {}, "Tip", this.tipFrame), el("p", { className: "state" }, this.tipState, " ", this.tipSays), tipList),
      this.awayBox,
      el("section", {}, el("h2", {}, "Pictures", this.countsSay), countList, seenList),
      el("section", {}, el("h2", {}, "On the picture"),
        el("label", { className: "check" }, this.alignBox, "picture of the tip, not the newest", el("kbd", {}, "A")),
        el("label", { className: "check" }, this.overlayBox, "needle, target, regions", el("kbd", {}, "O"))));
  }

  /** Target and regions, drawn before the start. */
  buildBefore() {
    const { does } = this;
    const choice = (value, text, checked) => el("label", { className: "check" }, el("input", { type: "radio", name: "draws", value, checked, onchange: () => does.draws(value) }), text);
    this.radius = el("input", { type: "number", min: 0.5, max: 100, step: 0.5, value: 5 });
    this.before = el("section", { className: "before" }, el("h2", {}, "Before the start"),
      el("p", { className: "hint" }, "A click places what is chosen. Arrow keys move the cross by 1 mm, T and K place there."),
      choice("target", "target", true), choice("keep out", "region to keep out of: drag its radius", false),
      el("label", { className: "field" }, "radius by key or click, mm", this.radius),
      el("div", { className: "row" }, button("Target here", { key: "T" }, () => does.placeTarget()), button("Keep out here", { key: "K" }, () => does.placeRegion()), button("Clear regions", {}, () => does.clearRegions())));
    return this.before;
  }

  /** Show how far a held key is. */
  gripped(what, part) {
    for (const each of [this.start, this.release]) each.style.setProperty("--held", each.dataset.what === what ? part : 0);
  }

  /** Show a control period. over: why the run is over, null while it goes on. silent: how long nothing was heard, s. */
  show(state, { over, silent, stop, now }) {
    const waits = state && (state.held !== null || state.phase === "before");
    const latched = state?.stop ?? null, quiet = over !== null || silent !== null;
    this.start.disabled = quiet || !waits || latched !== null;
    this.start.firstChild.textContent = state?.phase === "before" || (state?.held ?? "").includes("begins paused") ? "Start" : "Resume";
    this.hold.disabled = quiet || !state || waits || latched !== null;
    this.release.disabled = quiet || latched === null || latched.kind === "ended";
    const [words, look] = over !== null ? ["the run is over", ""] : stop ?? (latched ? ["latched · press again: it stays pressed", "confirmed"] : ["Space or Esc, from anywhere on this page", ""]);
    say(this.stopWords, words);
    this.stopButton.className = `stop ${look}`;
    if (this.before) this.before.hidden = state?.phase !== "before";
    if (this.about.moves) this.showGate(state, { over, silent, latched, now });
    this.showTip(state);
    this.showCounts(state);
  }

  showGate(state, { over, silent, latched, now }) {
    const verdict = state?.verdict, set = (kind, word, says, more) => {
      this.gate.className = `gate ${kind}`;
      say(this.verdict, word);
      say(this.verdictSays, says);
      say(this.gateSays, more);
    };
    say(this.gateTime, state ? `tick ${state.tick} · ${state.at.toFixed(2)} s` : "");
    const refused = state?.refused && now !== null ? `last refused ${Math.max(now - state.refused.at, 0).toFixed(1)} s ago: ${state.refused.rule} (${state.refused.times} ×)` : "nothing refused yet";
    if (over !== null) set("refused", "Over", over, "nothing moves");
    else if (silent !== null) set("stopped", "Not heard", `nothing heard of the run for ${silent.toFixed(1)} s`, "use the hardware stop if in doubt");
    else if (latched && state.phase === "before") set("stopped", "Stopped", latched.reason, "nothing has begun · released only here, by holding R for 1\u00a0s");
    else if (state?.phase === "before") set("refused", "Waiting", "nothing is sent to the robot", "hold Enter, or Start, for 1\u00a0s");
    else if (!verdict) set("", "–", "nothing asked yet", "");
    else if (latched) set("stopped", "Refused", `stopped (${latched.kind}): ${latched.reason}`, latched.kind === "ended" ? "the procedure is over: start a new run" : `latched at ${latched.at.toFixed(2)} s · released only by holding R for 1\u00a0s`);
    else if (!verdict.cleared) set("refused", "Refused", verdict.reason, verdict.value === null ? `rule: ${verdict.rule}` : `rule: ${verdict.rule}, ${Number(verdict.value.toFixed(2))} ${verdict.unit} against ${Number(verdict.bound.toFixed(2))} ${verdict.unit}`);
    else if (verdict.stop) set("refused", "Cleared", "the policy says stop", refused);
    else set("", "Cleared", `${verdict.speed.toFixed(1)} mm/s · ${deg(verdict.angle)}${verdict.bounded.length ? " · less than was wanted" : ""}`, verdict.bounded.length ? verdict.bounded.join("; ") : refused);
  }

  showTip(state) {
    const row = state?.row, robot = state?.robot;
    say(this.tipFrame, row ? `picture ${row.frame}` : "");
    say(this.tipState, row ? row.state.toUpperCase() : "NOT YET");
    this.tipState.className = row?.state ?? "";
    const confidence = row?.confidence == null ? "" : `confidence ${row.confidence.toFixed(2)}`, visible = state?.estimate?.visible == null ? "" : `visible ${state.estimate.visible.toFixed(2)}`;
    say(this.tipSays, !row ? "" : row.state === "lost" ? row.reason : [confidence, visible].filter(Boolean).join(" · "));
    const unit = (v) => (v == null ? "–" : `${v.toFixed(2)} ${row.inMm ? "mm" : "px"}`);
    say(this.tip["along ±"], unit(row?.along));
    say(this.tip["across ±"], unit(row?.across));
    say(this.tip.angle, row?.angle == null ? "–" : deg(row.angle));
    say(this.tip.depth, mm(robot?.depth, 1));
    this.awayBox.hidden = state ? state.target === null : false;
    const away = state?.estimate?.away;
    this.away.replaceChildren(away == null ? "–" : away.toFixed(1), el("small", {}, ` mm${row?.inMm && row.along != null ? ` ± ${row.along.toFixed(1)}` : ""}`));
    const speed = robot?.speed ?? 0;
    say(this.awaySays, away == null ? "no tip is known" : speed > 0.5 ? `${(away / speed).toFixed(1)} s at ${speed.toFixed(1)} mm/s` : "the needle rests");
  }

  showCounts(state) {
    const counts = state?.counts;
    for (const [name, dd] of Object.entries(this.counts)) say(dd, counts ? String(counts[name] ?? 0) : "–");
    if (!counts) { say(this.countsSay, ""); return; }
    const [all, ...parts] = this.about.counts.map((name) => counts[name] ?? 0), sum = parts.reduce((a, b) => a + b, 0);
    say(this.countsSay, sum === all ? "all accounted for" : `${all - sum} being counted`);
  }

  /** What the console counted of this tab's pictures: seen = sent + passed by. */
  showSeen(header, drawn) {
    say(this.seen["seen here"], String(header.asked));
    say(this.seen.sent, String(header.sent));
    say(this.seen["passed by"], String(header.passed_by));
    say(this.seen.drawn, String(drawn));
  }
}
