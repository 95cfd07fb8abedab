// What is drawn over a picture, as SVG in the pane's own pixels. State is told by words and by dashes, never by colour alone.
import { svg } from "./dom.js";

const CHI_95 = Math.sqrt(5.991); // half an axis of the 95 % ellipse, in standard deviations
const DASH = "7 5";

/** Colours of tracks by their number: Okabe and Ito's, on the dark ground that a picture always has. */
export const TRACK_COLOURS = ["#00c88c", "#e08fbc", "#56b4e9", "#f0e442", "#e69f00", "#ff7f50", "#b9a5ff", "#9be7ff", "#c7d36f"];
export const trackColour = (number) => TRACK_COLOURS[(number - 1) % TRACK_COLOURS.length];

const path = (points) => points.map(([x, y], i) => `${i ? "L" : "M"}${x.toFixed(2)} ${y.toFixed(2)}`).join("");

/** Shaft, 95 % ellipse and tip of one row of a track. */
export function needle(view, row, mm, tint) {
  const group = svg("g", { "data-track": row.track });
  const dash = row.state === "tracking" ? {} : { "stroke-dasharray": DASH };
  group.append(svg("path", { d: path(row.shaft.map((p) => view.toPane(p))), fill: "none", stroke: tint, "stroke-width": 1.75, "stroke-opacity": 0.9, ...dash }));
  if (row.along !== null) group.append(svg("path", { d: ellipse(view, row, mm), fill: tint, "fill-opacity": 0.08, stroke: tint, "stroke-width": 1.5, ...dash }));
  const [x, y] = view.toPane(row.tip);
  group.append(svg("circle", { cx: x, cy: y, r: 3, fill: tint, stroke: "#fff", "stroke-width": 1.2 }));
  return group;
}

/** The ellipse as a polygon, right also where pixels are not square. */
function ellipse(view, { tip, angle, along, across, inMm }, mm) {
  const [kx, ky] = inMm && mm ? mm : [1, 1];
  const c = Math.cos(angle), s = Math.sin(angle), points = [];
  for (let i = 0; i <= 48; i++) {
    const t = (i / 24) * Math.PI, a = CHI_95 * along * Math.cos(t), b = CHI_95 * across * Math.sin(t);
    points.push(view.toPane([tip[0] + (a * c - b * s) / kx, tip[1] + (a * s + b * c) / ky]));
  }
  return path(points);
}

/** The way of the tip in the frames before. */
export function trail(view, points, tint) {
  const group = svg("g");
  points.forEach((p, i) => {
    const [x, y] = view.toPane(p);
    group.append(svg("circle", { cx: x, cy: y, r: 1.5, fill: tint, "fill-opacity": 0.15 + (0.5 * (i + 1)) / points.length }));
  });
  return group;
}

/** A person's label: a ring to take hold of, and a cross that leaves the tip itself free. */
export function label(view, tip, { saved, grabbed }) {
  const [x, y] = view.toPane(tip), group = svg("g", { class: "label-ring" });
  const stroke = saved ? "#fff" : "#ff8a63";
  const ring = { cx: x, cy: y, r: grabbed ? 17 : 12, fill: "none" };
  group.append(svg("circle", { ...ring, stroke: "#000", "stroke-width": 3.4, "stroke-opacity": 0.45 }));
  group.append(svg("circle", { ...ring, stroke, "stroke-width": 1.5, ...(saved ? {} : { "stroke-dasharray": "3 3" }) }));
  for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
    group.append(svg("line", { x1: x + dx * 4, y1: y + dy * 4, x2: x + dx * 9, y2: y + dy * 9, stroke, "stroke-width": 1.5 }));
  }
  return group;
}

/** A ruler that a person lays over the picture. */
export function ruler(view, start, end, words) {
  const a = view.toPane(start), b = view.toPane(end), group = svg("g");
  const length = Math.hypot(b[0] - a[0], b[1] - a[1]) || 1;
  const across = [(-(b[1] - a[1]) / length) * 7, ((b[0] - a[0]) / length) * 7];
  const ends = [a, b].map((p) => path([[p[0] - across[0], p[1] - across[1]], [p[0] + across[0], p[1] + across[1]]])).join("");
  for (const [stroke, width] of [["#000", 4], ["#56b4e9", 2]]) {
    group.append(svg("path", { d: path([a, b]) + ends, stroke, "stroke-width": width, "stroke-opacity": stroke === "#000" ? 0.5 : 1, fill: "none" }));
  }
  group.append(words_at([(a[0] + b[0]) / 2 + 12, (a[1] + b[1]) / 2 + 4], words, "#8fd0f5"));
  return group;
}

/** Depth marks beside the picture, and a bar of a round length in its corner. */
export function scales(view, mm) {
  const group = svg("g"), [left, top] = view.toPane([-0.5, -0.5]), [right, bottom] = view.toPane([view.size[0] - 0.5, view.size[1] - 0.5]);
  const perMm = view.k[1] / mm[1], step = [1, 2, 5, 10, 20, 50, 100].find((s) => s * perMm >= 9) || 100;
  const x = Math.max(left, 48);
  for (let depth = 0; depth * perMm <= bottom - top + 0.5; depth += step) {
    const y = top + depth * perMm, long = depth % (5 * step) === 0;
    if (y < 6 || y > view.pane[1] - 4) continue;
    group.append(svg("line", { x1: x - (long ? 9 : 5), y1: y, x2: x - 2, y2: y, stroke: "#8494a1", "stroke-width": 1 }));
    if (long) group.append(words_at([x - 12, y + 4], depth === 0 ? "0 mm" : String(depth), "#9aa8b5", "end"));
  }
  const bar = [1, 2, 5, 10, 20, 50].filter((b) => (b * view.k[0]) / mm[0] <= 110).pop() || 1;
  const width = (bar * view.k[0]) / mm[0], x1 = Math.min(right, view.pane[0]) - 10, y1 = Math.min(bottom, view.pane[1]) - 12;
  group.append(svg("path", { d: path([[x1 - width, y1 - 4], [x1 - width, y1], [x1, y1], [x1, y1 - 4]]), fill: "none", stroke: "#fff", "stroke-width": 1.5 }));
  group.append(words_at([x1 - width / 2, y1 - 7], `${bar} mm`, "#fff", "middle"));
  return group;
}

function words_at([x, y], text, fill, anchor = "start") {
  return svg("text", { x, y, fill, "font-size": 12, "text-anchor": anchor, "paint-order": "stroke", stroke: "#000", "stroke-width": 3, "stroke-opacity": 0.6 }, text);
}
