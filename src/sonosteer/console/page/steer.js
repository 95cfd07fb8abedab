// The steer room: a recorded run with its axial picture, the path from the side and from above, plan, budget and obstacles.
import { byId, button, el, say, svg } from "./dom.js";
import { listen } from "./keys.js";
import { banner } from "./notices.js";
import { startTheme } from "./theme.js";

const GREEN = "#00c88c", BLUE = "#56b4e9", YELLOW = "#f0e442", RED = "#ff6a3d", SOFT = "#9aa8b5";
const deg = (rad) => (rad * 180) / Math.PI;
const signed = (value, digits = 0) => `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(digits)}`;
const known = (value) => value !== null && value !== undefined;
const line = (points) => points.map((p, i) => `${i ? "L" : "M"}${p[0].toFixed(1)} ${p[1].toFixed(1)}`).join("");

class SteerRoom {
  constructor(element, story) {
    this.story = story;
    this.columns = story.columns;
    this.count = this.columns.time_s.length;
    this.now = this.count - 1;
    this.speed = 1;
    this.pictures = new Map();
    this.build(element);
    this.reach = this.halfWidth();
    this.go(this.count - 1);
  }

  // -- the page -----------------------------------------------------------------------------------------------------

  build(element) {
    element.className = "steer";
    this.axial = svg("svg", { role: "img", "aria-label": "axial picture with the tip and the target" });
    this.side = svg("svg", { role: "img", "aria-label": "path from the side", preserveAspectRatio: "none" });
    this.top = svg("svg", { role: "img", "aria-label": "path from above", preserveAspectRatio: "none" });
    this.badge = el("p", { className: "badge left" });
    const stage = el("section", { className: "stage", "aria-label": "picture and path" },
      el("div", { className: "axial" }, this.badge, this.axial), el("div", { className: "views" }, this.side, this.top));
    this.strips = svg("svg", { role: "img", "aria-label": "rotation used and expected miss over time" });
    this.slider = el("input", { type: "range", min: 0, max: this.count - 1, "aria-label": "time", oninput: () => this.go(Number(this.slider.value)) });
    this.playButton = button("Play", { key: "P" }, () => this.togglePlay());
    const speeds = el("select", { "aria-label": "speed", onchange: () => { this.speed = Number(speeds.value); this.began = this.began && this.mark(); } },
      ...[0.25, 0.5, 1, 2, 4].map((s) => el("option", { value: s, selected: s === 1 }, `${s} ×`)));
    this.clock = el("span", { className: "num" });
    const transport = el("div", { className: "transport" }, this.playButton, button("Back", { key: "," }, () => this.step(-1)), button("On", { key: "." }, () => this.step(1)),
      button("Next turn", { key: "N" }, () => this.nextTurn(1)), speeds, this.clock);
    this.strips.addEventListener("pointerdown", (event) => { this.strips.setPointerCapture(event.pointerId); this.seekAt(event); });
    this.strips.addEventListener("pointermove", (event) => { if (event.buttons) this.seekAt(event); });
    const time = el("section", { className: "time", "aria-label": "time" }, transport, this.slider, this.strips);
    this.spoken = el("p", { className: "unseen", role: "status", "aria-live": "polite" });
    element.replaceChildren(stage, time, this.buildSide(), this.spoken);
    this.observer = new ResizeObserver(() => this.draw());
    for (const each of [this.axial, this.side, this.strips]) this.observer.observe(each);
  }

  buildSide() {
    const part = (title, ...children) => el("section", {}, el("h2", {}, title, el("span", {})), ...children);
    this.miss = el("p", { className: "big" });
    this.missHint = el("p", { className: "hint" });
    this.turn = el("p", { className: "big" });
    this.bar = el("progress", { max: 1, value: 0, "aria-label": "rotation used" });
    this.facts = el("dl", { className: "facts" });
    this.turns = el("ul", { className: "turns" });
    this.why = el("p", { className: "where" });
    this.missPart = part("Expected miss", this.miss, this.missHint);
    this.turnPart = part("Next turn", this.turn);
    this.budgetPart = part("Rotation budget", this.bar);
    const notes = this.story.notes.map((note) => el("p", { className: "hint" }, note));
    return el("aside", { "aria-label": "numbers", tabIndex: 0 }, this.missPart, this.turnPart, this.budgetPart,
      part("Decision", this.why), part("Needle", this.facts), part("Turns planned", this.turns),
      ...(notes.length ? [part("What cannot be told", ...notes)] : []));
  }

  // -- time ---------------------------------------------------------------------------------------------------------

  go(k) {
    this.now = Math.min(Math.max(Math.round(k), 0), this.count - 1);
    this.slider.value = this.now;
    this.draw();
    clearTimeout(this.speaking);
    this.speaking = setTimeout(() => say(this.spoken, this.words()), 500);
  }

  step(by) { this.pause(); this.go(this.now + by); }

  seekAt(event) {
    const box = this.strips.getBoundingClientRect(), at = (event.clientX - box.left - 44) / Math.max(box.width - 52, 1);
    const [first, last] = this.span(), wanted = first + at * (last - first);
    const later = this.columns.time_s.findIndex((t) => t >= wanted);
    this.pause();
    this.go(later < 0 ? this.count - 1 : later);
  }

  mark() { return { at: performance.now(), time: this.columns.time_s[this.now] }; }

  togglePlay() {
    if (this.began) { this.pause(); return; }
    if (this.now >= this.count - 1) this.go(0);
    this.began = this.mark();
    say(this.playButton.firstChild, "Pause");
    const tick = () => {
      if (!this.began) return;
      const time = this.began.time + (this.speed * (performance.now() - this.began.at)) / 1000;
      let k = this.now;
      while (k < this.count - 1 && this.columns.time_s[k + 1] <= time) k += 1;
      if (k !== this.now) this.go(k);
      if (k >= this.count - 1) this.pause(); else requestAnimationFrame(tick);
    };
    requestAnimationFrame(tick);
  }

  pause() { this.began = null; say(this.playButton.firstChild, "Play"); }

  /** The next moment in which the base begins to be rolled. */
  nextTurn(way) {
    const o = this.columns.ordered_rad, rolls = (k) => k > 0 && Math.abs(o[k] - o[k - 1]) > 0.004;
    for (let k = this.now + way; k > 0 && k < this.count; k += way) if (rolls(k) && !rolls(k - 1)) { this.pause(); this.go(k); return; }
    say(this.spoken, "there is no other turn");
  }

  span() { const t = this.columns.time_s; return [t[0], Math.max(t[this.count - 1], t[0] + 1e-3)]; }

  // -- what is known of a moment ------------------------------------------------------------------------------------

  at(name) { return this.columns[name][this.now]; }

  plan() { return this.story.plans.findLast((p) => p.decision <= this.now) ?? null; }

  turnsAhead() { return (this.plan()?.moves ?? []).filter(([depth]) => depth > this.at("depth_mm") - 0.5); }

  halfWidth() {
    const c = this.columns, t = this.story.truth, all = [...c.seen_y_mm, ...c.seen_z_mm, ...(t.y_mm ?? []), ...(t.z_mm ?? []), ...this.story.target_mm,
      ...this.story.obstacles.flatMap((o) => [...o.y_mm, ...o.z_mm].flat())];
    const largest = all.filter(known).reduce((a, v) => Math.max(a, Math.abs(v)), 0.5);
    return [1, 2, 3, 4, 6, 8, 10, 15, 20, 30, 40, 60, 100].find((half) => half >= largest * 1.05) ?? Math.ceil(largest);
  }

  words() {
    const tip = known(this.at("seen_y_mm")) ? `tip at ${this.at("seen_y_mm").toFixed(1)}, ${this.at("seen_z_mm").toFixed(1)} millimetres` : "tip not seen";
    const miss = known(this.at("miss_mm")) ? `expected miss ${this.at("miss_mm").toFixed(1)} millimetres` : "no prediction";
    return `${this.at("time_s").toFixed(1)} seconds, depth ${this.at("depth_mm").toFixed(1)} millimetres, ${tip}, ${miss}, ${this.at("why")}`;
  }

  // -- drawing ------------------------------------------------------------------------------------------------------

  draw() {
    this.drawNumbers();
    this.drawView(this.side, "from the side: y against depth, mm", "y", 0);
    this.drawView(this.top, "from above: z against depth, mm", "z", 1);
    this.drawStrips();
    this.drawAxial();
  }

  drawNumbers() {
    const miss = this.at("miss_mm"), sd = this.at("miss_sd_mm"), [ty, tz] = this.story.target_mm, used = this.at("used_rad"), plan = this.plan(), ahead = this.turnsAhead();
    this.miss.replaceChildren(known(miss) ? miss.toFixed(1) : "—", el("small", {}, known(miss) ? ` mm${known(sd) ? ` ± ${sd.toFixed(1)}` : ""}` : " no prediction yet"));
    say(this.missPart.querySelector("h2 span"), `at ${this.story.depth_mm.toFixed(0)} mm`);
    say(this.missHint, `target ${signed(ty, 1)}, ${signed(tz, 1)} mm off the axis${this.clearance()}`);
    const next = ahead[0];
    this.turn.replaceChildren(next ? `${signed(deg(next[1]))}°` : "none", el("small", {}, next ? ` in ${Math.max(next[0] - this.at("depth_mm"), 0).toFixed(1)} mm, at ${next[0].toFixed(0)} mm` : plan ? " is planned" : " is known: no plan"));
    const budget = this.story.budget_rad;
    this.bar.value = known(used) && budget > 0 ? Math.min(used / budget, 1) : 0;
    say(this.budgetPart.querySelector("h2 span"), known(used) ? `${deg(used).toFixed(0)}° of ${deg(budget).toFixed(0)}° used` : `${deg(budget).toFixed(0)}° allowed`);
    say(this.why, this.at("why") || "not known");
    const y = this.at("seen_y_mm"), z = this.at("seen_z_mm");
    const facts = [["depth", `${this.at("depth_mm").toFixed(1)} mm`], ["of", `${this.story.depth_mm.toFixed(0)} mm`], ["y", known(y) ? `${y.toFixed(2)} mm` : "not seen"], ["z", known(z) ? `${z.toFixed(2)} mm` : "not seen"],
      ["base", `${deg(this.at("base_rad")).toFixed(0)}°`], ["speed", `${this.at("speed_mm_s").toFixed(1)} mm/s`]];
    this.facts.replaceChildren(...facts.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]));
    this.turns.replaceChildren(...(ahead.length ? ahead.map(([depth, rad]) => el("li", {}, `at ${depth.toFixed(0)} mm`, el("span", { className: "num" }, `${signed(deg(rad))}°`))) : [el("li", { className: "hint" }, plan ? "no turn is left to make" : "no plan is known")]));
    say(this.clock, `${this.now + 1} / ${this.count} · ${this.at("time_s").toFixed(2)} s`);
    const state = this.at("state");
    this.badge.replaceChildren(el("span", {}, "frame ", el("b", {}, String(this.at("frame")))), el("span", { className: state }, state));
  }

  /** How far the needle stays from what it must go round, as it is seen from both sides. */
  clearance() {
    const path = this.story.truth.depth_mm ? this.story.truth.depth_mm.map((d, i) => [d, this.story.truth.y_mm[i], this.story.truth.z_mm[i]]) : [];
    if (!this.story.obstacles.length) return "";
    const inside = path.some(([d, y, z]) => this.story.obstacles.some((o) => o.depth_mm.some((at, i) => Math.abs(at - d) < 0.5 && y >= o.y_mm[i][0] && y <= o.y_mm[i][1] && z >= o.z_mm[i][0] && z <= o.z_mm[i][1])));
    return path.length ? (inside ? " · the path goes through an obstacle's box" : " · the path stays outside every obstacle's box") : "";
  }

  frameOf(element) { const box = element.getBoundingClientRect(); element.setAttribute("viewBox", `0 0 ${box.width} ${box.height}`); return [box.width, box.height]; }

  drawView(element, name, axis, index) {
    const [w, h] = this.frameOf(element);
    if (!w || !h) return; // not laid out yet
    const story = this.story, c = this.columns, half = this.reach, left = 34, right = 16, up = 24, down = 22;
    const X = (d) => left + (d / story.depth_mm) * (w - left - right), Y = (v) => up + ((half - v) / (2 * half)) * (h - up - down), group = svg("g");
    const put = (tag, attributes, text) => group.append(svg(tag, attributes, text));
    put("text", { x: left, y: 14 }, name);
    for (let d = 0; d <= story.depth_mm; d += story.depth_mm > 60 ? 20 : 10) { put("line", { x1: X(d), x2: X(d), y1: up, y2: h - down, stroke: "#2a333c" }); put("text", { x: X(d), y: h - 6, "text-anchor": "middle" }, d); }
    for (const v of [-half, -half / 2, 0, half / 2, half]) { put("line", { x1: left, x2: w - right, y1: Y(v), y2: Y(v), stroke: "#2a333c" }); put("text", { x: left - 5, y: Y(v) + 4, "text-anchor": "end" }, v); }
    for (const o of story.obstacles) {
      const ends = o[`${axis}_mm`], around = [...o.depth_mm.map((d, i) => [X(d), Y(ends[i][1])]), ...o.depth_mm.map((d, i) => [X(d), Y(ends[i][0])]).reverse()];
      put("path", { d: `${line(around)}Z`, fill: `${RED}33`, stroke: RED, "stroke-width": 1.4 });
    }
    put("path", { d: `M${X(story.depth_mm)} ${Y(story.target_mm[index]) - 9}v18`, stroke: YELLOW, "stroke-width": 3, fill: "none" });
    const plan = this.plan(), depth = this.at("depth_mm"), sd = this.at("miss_sd_mm");
    if (plan) {
      const ahead = plan.path_mm.filter(([d]) => d >= depth - 1), k = index + 1;
      if (known(sd) && ahead.length > 1) {
        const spread = (d) => 1.96 * (0.1 + (sd * Math.max(d - depth, 0)) / Math.max(story.depth_mm - depth, 1));
        put("path", { d: `${line([...ahead.map((p) => [X(p[0]), Y(p[k] + spread(p[0]))]), ...ahead.map((p) => [X(p[0]), Y(p[k] - spread(p[0]))]).reverse()])}Z`, fill: `${BLUE}2b` });
      }
      put("path", { d: line(ahead.map((p) => [X(p[0]), Y(p[k])])), stroke: BLUE, "stroke-width": 1.75, "stroke-dasharray": "6 4", fill: "none" });
      for (const [at, turn] of this.turnsAhead()) put("path", { d: `M${X(at)} ${h - down}v-9`, stroke: BLUE, "stroke-width": 2 }, `${deg(turn).toFixed(0)}`);
    }
    const seen = c[`seen_${axis}_mm`];
    for (let i = 0; i <= this.now; i += 3) if (known(seen[i])) put("circle", { cx: X(c.depth_mm[i]), cy: Y(seen[i]), r: 1.3, fill: SOFT });
    const t = story.truth;
    if (t.depth_mm) {
      const done = t.depth_mm.map((d, i) => [d, t[`${axis}_mm`][i], t.time_s[i]]).filter((p) => p[2] <= this.at("time_s") + 1e-6);
      if (done.length > 1) put("path", { d: line(done.map((p) => [X(p[0]), Y(p[1])])), stroke: GREEN, "stroke-width": 2.2, fill: "none" });
    }
    if (known(seen[this.now])) put("circle", { cx: X(depth), cy: Y(seen[this.now]), r: 4, fill: GREEN, stroke: "#fff" });
    element.replaceChildren(group);
  }

  drawStrips() {
    const [w, h] = this.frameOf(this.strips);
    if (!w || !h) return;
    const [first, last] = this.span(), left = 44, right = 8, c = this.columns, group = svg("g");
    const X = (t) => left + ((t - first) / (last - first)) * (w - left - right), budget = deg(this.story.budget_rad);
    const strip = (up, down, name, values, most, kind, limit) => {
      const Y = (v) => down - (Math.min(v, most) / most) * (down - up);
      for (const v of [0, most]) { group.append(svg("line", { x1: left, x2: w - right, y1: Y(v), y2: Y(v), class: "grid" })); group.append(svg("text", { x: left - 5, y: Y(v) + (v ? 9 : 2), "text-anchor": "end" }, v)); }
      if (limit) group.append(svg("line", { x1: left, x2: w - right, y1: Y(most), y2: Y(most), class: "limit", "stroke-width": 1.6, "stroke-dasharray": "6 4" }));
      let pieces = [], piece = [];
      values.forEach((v, i) => { if (known(v)) piece.push([X(c.time_s[i]), Y(v)]); else if (piece.length) { pieces.push(piece); piece = []; } });
      for (const each of [...pieces, piece].filter((p) => p.length > 1)) group.append(svg("path", { d: line(each), class: kind, fill: "none", "stroke-width": 1.5 }));
      group.append(svg("text", { x: left + 6, y: up + 12 }, name));
    };
    const most = [1, 2, 5, 10, 20, 50].find((m) => m >= Math.max(...c.miss_mm.filter(known), 0.5)) ?? 100;
    strip(6, 52, `rotation used, ° of ${budget.toFixed(0)}`, c.used_rad.map((v) => (known(v) ? deg(v) : null)), Math.max(budget, 1), "used", true);
    strip(62, 108, "expected miss, mm", c.miss_mm, most, "miss", false);
    const stride = [0.5, 1, 2, 5, 10, 20, 60].find((s) => (s * (w - left)) / (last - first) >= 64) ?? 120;
    for (let t = Math.ceil(first / stride) * stride; t <= last; t += stride) group.append(svg("text", { x: Math.min(X(t), w - 18), y: 126, "text-anchor": "middle" }, `${t} s`));
    group.append(svg("line", { x1: X(this.at("time_s")), x2: X(this.at("time_s")), y1: 4, y2: 112, class: "now" }));
    this.strips.replaceChildren(group);
  }

  drawAxial() {
    const { size_px: size, spacing_mm: mm } = this.story;
    if (!size) { this.axial.replaceChildren(svg("text", { x: 8, y: 24 }, "this run was steered without pictures")); return; }
    this.axial.setAttribute("viewBox", `0 0 ${size[0]} ${size[1]}`);
    const box = this.axial.getBoundingClientRect();
    if (!box.width || !box.height) return;
    const unit = Math.max(size[0] / box.width, size[1] / box.height) || 1, group = svg("g");
    this.image ??= svg("image", { width: size[0], height: size[1], preserveAspectRatio: "none" });
    this.image.setAttribute("href", `frames/${this.at("frame")}.jpg`);
    const put = (tag, attributes, text) => group.append(svg(tag, attributes, text)), tip = this.at("tip_px")?.map((v) => v + 0.5); // a whole number is the middle of a pixel
    if (mm) {
      const step = [1, 2, 5, 10, 20].find((s) => s / mm[1] >= 40 * unit) ?? 50;
      for (let v = 0; v / mm[1] <= size[1]; v += step) { put("line", { x1: -9 * unit, x2: -2 * unit, y1: v / mm[1], y2: v / mm[1], stroke: SOFT, "stroke-width": unit }); put("text", { x: -12 * unit, y: v / mm[1] + 4 * unit, "text-anchor": "end", "font-size": 12 * unit }, v); }
    }
    if (tip) {
      const sd = this.at("sd_mm");
      if (mm && known(sd)) put("ellipse", { cx: tip[0], cy: tip[1], rx: Math.max((2.45 * sd) / mm[0], 5 * unit), ry: Math.max((2.45 * sd) / mm[1], 5 * unit), fill: "none", stroke: GREEN, "stroke-width": 1.75 * unit });
      put("circle", { cx: tip[0], cy: tip[1], r: 2.4 * unit, fill: GREEN, stroke: "#fff", "stroke-width": 0.8 * unit });
    }
    const y = this.at("seen_y_mm"), z = this.at("seen_z_mm"), [ty, tz] = this.story.target_mm;
    if (tip && mm && known(y)) { // the target lies across the axis from the tip
      const x0 = tip[0] + (ty - y) / mm[0], y0 = tip[1] + (tz - z) / mm[1], r = 9 * unit, a = 5 * unit;
      put("circle", { cx: x0, cy: y0, r, fill: "none", stroke: YELLOW, "stroke-width": 1.6 * unit });
      put("path", { d: `M${x0 - r - a} ${y0}h${2 * a}M${x0 + r - a} ${y0}h${2 * a}M${x0} ${y0 - r - a}v${2 * a}M${x0} ${y0 + r - a}v${2 * a}`, stroke: YELLOW, "stroke-width": 1.6 * unit });
    }
    this.axial.replaceChildren(this.image, group);
  }
}

function keys(room) {
  return [
    [["p", "P", " "], "P", "play, pause", () => room.togglePlay()],
    [[",", "ArrowLeft"], ", ←", "a decision back", () => room.step(-1)],
    [[".", "ArrowRight"], ". →", "a decision on", () => room.step(1)],
    [["<"], "<", "ten back", () => room.step(-10)],
    [[">"], ">", "ten on", () => room.step(10)],
    [["n"], "N", "next turn", () => room.nextTurn(1)],
    [["N"], "⇧N", "the turn before", () => room.nextTurn(-1)],
    [["Home"], "Home", "first decision", () => room.step(-room.count)],
    [["End"], "End", "last decision", () => room.step(room.count)],
    [["?"], "?", "this list", () => byId("keys").showModal()],
  ];
}

async function open() {
  const answer = await fetch("story.json");
  if (!answer.ok) throw new Error(`${answer.status}`);
  const story = await answer.json(), room = new SteerRoom(byId("room"), story), w = story.words;
  say(byId("source"), [story.name, w.tissue, w.controller, known(w.seed) ? `seed ${w.seed}` : null, w.ended].filter(Boolean).join(" · "));
  say(byId("notice"), story.notice);
  document.title = `${story.name} · steer · sonosteer`;
  listen(keys(room));
  startTheme(() => room.draw());
  document.documentElement.dataset.ready = "1";
}

open().catch((error) => banner("open", `The run cannot be shown: the console did not answer (${error.message}). If you ended it, start it again and open its new address.`));
