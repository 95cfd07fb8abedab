// The playground: a simulated scene, what disturbs it, and a way into the clip room.
import { byId, button, el, say, svg } from "./dom.js";
import { listen } from "./keys.js";
import { banner, tell } from "./notices.js";
import { startTheme } from "./theme.js";

const SETTLES_MS = 180; // a slider that is being dragged makes one scene, not thirty
const AGAIN_MS = 600;

class Playground {
  constructor(element) {
    this.element = element;
    this.scene = null;
    this.truth = true;
    this.fields = {};
    this.connect();
  }

  connect() {
    const web = new WebSocket(`ws://${location.host}/playground/ws`);
    web.binaryType = "arraybuffer";
    web.onopen = () => banner("gone");
    web.onmessage = (event) => (typeof event.data === "string" ? this.hear(JSON.parse(event.data)) : this.took(event.data));
    web.onclose = () => {
      banner("gone", "The console does not answer. If you ended it, start it again and open its new address. This page tries again by itself.");
      this.element.classList.add("stale");
      setTimeout(() => this.connect(), AGAIN_MS);
    };
    this.web = web;
  }

  send(t, fields = {}) { if (this.web.readyState === WebSocket.OPEN) this.web.send(JSON.stringify({ t, ...fields })); }

  hear(word) {
    if (word.t === "hello" && !this.sliders) this.build(word);
    if (word.t === "scene") this.told(word);
    if (word.t === "wrong") banner("wrong", word.reason, [["Close", () => banner("wrong")]]);
  }

  build(word) {
    this.element.className = "playground";
    say(byId("notice"), word.notice);
    this.badge = el("p", { className: "badge left" });
    this.right = el("p", { className: "badge right" });
    this.making = el("p", { className: "making" }, "drawing the scene");
    this.stage = svg("svg", { role: "img", "aria-label": "simulated picture" });
    this.image = svg("image", { preserveAspectRatio: "none" });
    this.over = svg("g");
    this.stage.append(this.image, this.over);
    this.playButton = button("Pause", { key: "P" }, () => this.play());
    this.count = el("span", { className: "num" });
    const time = el("section", { className: "time", "aria-label": "time" }, el("div", { className: "transport" }, this.playButton,
      button("Same seed again", { key: "A" }, () => this.ask()), button("New seed", { key: "N" }, () => this.newSeed()), this.count));
    this.setup = el("select", { id: "setup", onchange: () => { this.fields = {}; this.ask(); } }, ...word.setups.map((name) => el("option", { value: name }, name)));
    this.seed = el("input", { type: "number", id: "seed", min: 0, step: 1, onchange: () => { this.fields = {}; this.ask(); } });
    this.truthBox = el("input", { type: "checkbox", checked: true, onchange: () => { this.truth = this.truthBox.checked; this.draw(); } });
    this.sliders = word.sliders.map((each) => this.slider(each));
    this.trackButton = button("Track this", { key: "G", className: "primary" }, () => this.track());
    const part = (title, ...children) => el("section", {}, el("h2", {}, title), ...children);
    const aside = el("aside", { "aria-label": "scene", tabIndex: 0 },
      part("Scene", el("div", { className: "row" }, el("label", { className: "field" }, "set-up", this.setup), el("label", { className: "field" }, "seed", this.seed))),
      part("What disturbs it", el("div", { className: "sliders" }, ...this.sliders.map((s) => s.element)), button("As the seed drew it", { key: "R" }, () => { this.fields = {}; this.ask(); })),
      part("Truth", el("label", {}, this.truthBox, " show where the tip really is"), this.spoken = el("p", { className: "hint" })),
      part("Track", this.trackButton, el("p", { className: "hint" }, "opens this scene in the clip room, with methods, labels and exports")));
    this.status = el("p", { className: "unseen", role: "status", "aria-live": "polite" });
    this.element.replaceChildren(el("section", { className: "stage", "aria-label": "picture" }, this.badge, this.right, this.stage, this.making), time, aside, this.status);
    listen(this.keys());
    startTheme(() => {});
    document.documentElement.dataset.ready = "1";
  }

  slider({ name, words, low, high, step, unit }) {
    const output = el("output"), input = el("input", { type: "range", min: low, max: high, step, id: name, "aria-label": `${words}${unit ? `, ${unit}` : ""}` });
    const show = () => { output.value = `${Number(input.value).toFixed(step < 1 ? 2 : 0)}${unit ? ` ${unit}` : ""}`; };
    input.addEventListener("input", () => {
      show();
      this.fields[name] = Number(input.value);
      clearTimeout(this.later);
      this.later = setTimeout(() => this.ask(), SETTLES_MS);
    });
    const element = el("div", { className: "slider" }, el("span", {}, words), output, input);
    return { name, input, element, put: (value, own) => { if (document.activeElement !== input || !own) input.value = value; show(); element.classList.toggle("own", own); } };
  }

  keys() {
    return [
      [["p", "P", " "], "P", "play, pause", () => this.play()],
      [["n", "N"], "N", "new seed", () => this.newSeed()],
      [["a", "A"], "A", "same seed again", () => this.ask()],
      [["r", "R"], "R", "as the seed drew it", () => { this.fields = {}; this.ask(); }],
      [["t", "T"], "T", "truth on, off", () => { this.truthBox.checked = this.truth = !this.truth; this.draw(); }],
      [["g", "G"], "G", "track this", () => this.track()],
      [["?"], "?", "this list", () => byId("keys").showModal()],
    ];
  }

  ask() {
    clearTimeout(this.later);
    const seed = Number(this.seed.value);
    if (!Number.isInteger(seed) || this.seed.value === "") { tell("the seed is a whole number, 0 or more"); return; }
    this.send("scene", { setup: this.setup.value, seed, fields: this.fields });
  }

  newSeed() {
    this.seed.value = Math.floor(Math.random() * 100000);
    this.fields = {};
    this.ask();
  }

  play() { this.send("play", { on: !this.scene?.playing }); }

  async track() {
    this.trackButton.disabled = true;
    tell("opening the clip room");
    const answer = await fetch("/playground/track", { method: "POST" }).then((r) => r.json()).catch(() => ({ ok: false, reason: "the console does not answer" }));
    this.trackButton.disabled = false;
    if (answer.ok) location.assign("/");
    else banner("wrong", answer.reason, [["Close", () => banner("wrong")]]);
  }

  told(word) {
    const fresh = this.scene?.about !== word.about && word.about;
    this.scene = word;
    this.fields = { ...word.fields };
    this.setup.value = word.setup;
    if (document.activeElement !== this.seed) this.seed.value = word.seed;
    say(this.playButton.firstChild, word.playing ? "Pause" : "Play");
    this.making.hidden = Boolean(word.about);
    this.element.classList.toggle("stale", !word.about);
    if (!fresh) return;
    banner("wrong");
    for (const each of this.sliders) each.put(word.about.values[each.name], each.name in word.fields);
    const [w, h] = word.about.size_px;
    say(byId("source"), `${word.about.name} · seed ${word.seed} · ${w} × ${h} · ${word.about.frames} frames · ${word.about.rate_hz} /s`);
    document.title = `${word.about.name} · playground · sonosteer`;
    say(this.status, `${word.about.name}, seed ${word.seed}`);
  }

  async took(data) {
    const length = new DataView(data).getUint32(0, true), header = JSON.parse(new TextDecoder().decode(new Uint8Array(data, 4, length)));
    const url = URL.createObjectURL(new Blob([new Uint8Array(data, 4 + length)], { type: `image/${header.kind}` }));
    const next = new Image();
    next.src = url;
    try { await next.decode(); } catch { URL.revokeObjectURL(url); this.send("drawn", { serial: header.serial }); return; }
    if (!this.header || header.serial > this.header.serial || this.web !== this.shownOn) {
      this.shownOn = this.web;
      this.header = header;
      this.stage.setAttribute("viewBox", `0 0 ${header.size_px[0]} ${header.size_px[1]}`);
      this.image.setAttribute("width", header.size_px[0]);
      this.image.setAttribute("height", header.size_px[1]);
      this.image.setAttribute("href", url);
      if (this.url) URL.revokeObjectURL(this.url);
      this.url = url;
      this.draw();
    } else URL.revokeObjectURL(url);
    this.send("drawn", { serial: header.serial });
  }

  draw() {
    const h = this.header;
    if (!h) return;
    const box = this.stage.getBoundingClientRect();
    if (!box.width || !box.height) return; // not laid out yet
    const unit = Math.max(h.size_px[0] / box.width, h.size_px[1] / box.height) || 1;
    this.over.replaceChildren();
    this.badge.replaceChildren(el("span", {}, "frame ", el("b", {}, String(h.index)), ` / ${h.frames - 1}`), el("span", {}, `${h.time_s.toFixed(2)} s`));
    say(this.count, `${h.index + 1} / ${h.frames} · ${h.time_s.toFixed(2)} s`);
    if (!this.truth) { say(this.spoken, ""); return; }
    say(this.spoken, h.tip_px ? (h.visible ? "the tip can be seen" : "the tip is there, and nobody could see it") : "no needle is in the picture");
    if (!h.tip_px) return;
    // 0.5: a whole number is the middle of a pixel, and the picture's edge lies half a pixel before the first one
    const [x, y] = h.tip_px.map((v) => v + 0.5), r = 11 * unit, shape = { fill: "none", "stroke-width": 1.6 * unit, stroke: "#f0e442", ...(h.visible ? {} : { "stroke-dasharray": `${3 * unit} ${3 * unit}` }) };
    this.over.append(svg("circle", { cx: x, cy: y, r, ...shape }), svg("path", { d: `M${x - r - 5 * unit} ${y}h${9 * unit}M${x + r - 4 * unit} ${y}h${9 * unit}M${x} ${y - r - 5 * unit}v${9 * unit}M${x} ${y + r - 4 * unit}v${9 * unit}`, ...shape }));
  }
}

new Playground(byId("room"));
