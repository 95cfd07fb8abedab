// What is drawn over a live picture beside the needle: target, regions to keep out of, the cross over a picture that is old.
import { svg } from "../dom.js";

const HIT_MM = 5; // within it a stop is a success: the circle round the target
const TARGET = "#f0e442", OUT = "#ff8a63";

/** A cross at the target, and the circle within which a stop is a success. */
export function target(view, at, mm) {
  const [x, y] = view.toPane(at), group = svg("g", { "data-mark": "target" });
  group.append(svg("path", { d: `M${x - 13} ${y}h8M${x + 5} ${y}h8M${x} ${y - 13}v8M${x} ${y + 5}v8`, stroke: TARGET, "stroke-width": 1.75, fill: "none" }));
  if (mm) group.append(svg("ellipse", { cx: x, cy: y, rx: (HIT_MM / mm[0]) * view.k[0], ry: (HIT_MM / mm[1]) * view.k[1], fill: "none", stroke: TARGET, "stroke-width": 1.25, "stroke-dasharray": "2 4" }));
  return group;
}

/** A region that the needle must not enter, hatched, with its name. shift: how far the probe has gone, px. */
export function region(view, each, { mm, shift, clearance }) {
  const group = svg("g", { "data-mark": "region" });
  const place = ([x, y]) => view.toPane([x / mm[0] - shift[0], y / mm[1] - shift[1]]);
  const look = { fill: "url(#hatch)", stroke: OUT, "stroke-width": 1.75 };
  let low;
  if (each.center) {
    const [x, y] = place(each.center), ry = (each.radius / mm[1]) * view.k[1];
    group.append(svg("ellipse", { cx: x, cy: y, rx: (each.radius / mm[0]) * view.k[0], ry, ...look }));
    low = [x, y + ry];
  } else {
    const corners = each.corners.map(place);
    group.append(svg("polygon", { points: corners.map((c) => c.join(",")).join(" "), ...look }));
    low = corners.reduce((a, b) => (b[1] > a[1] ? b : a));
  }
  group.append(words([low[0], low[1] + 16], `${each.name}: keep out${clearance ? `, ${Number((100 * clearance).toFixed(1))} %` : ""}`, "#ffb08f"));
  return group;
}

/** The pattern that regions are filled with. */
export function hatch() {
  const pattern = svg("pattern", { id: "hatch", width: 7, height: 7, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" });
  pattern.append(svg("line", { x1: 0, y1: 0, x2: 0, y2: 7, stroke: OUT, "stroke-width": 1.5, "stroke-opacity": 0.55 }));
  const made = svg("defs");
  made.append(pattern);
  return made;
}

/** A place that arrow keys move, before the start. */
export function cursor(view, at) {
  const [x, y] = view.toPane(at);
  return svg("path", { d: `M${x - 9} ${y}h18M${x} ${y - 9}v18`, stroke: "#fff", "stroke-width": 1, fill: "none", "stroke-dasharray": "2 2" });
}

/** Two lines across a picture that is too old to act on, and why. */
export function cross(view, text) {
  const group = svg("g", { "data-mark": "no picture" }), [w, h] = view.pane;
  for (const d of [`M0 0L${w} ${h}`, `M${w} 0L0 ${h}`]) group.append(svg("path", { d, stroke: OUT, "stroke-width": 3, "stroke-opacity": 0.85 }));
  const size = Math.min(26, Math.max(13, w / 20));
  const made = svg("text", { x: w / 2, y: h / 2, fill: "#fff", "font-size": size, "font-weight": 700, "text-anchor": "middle", "dominant-baseline": "middle", "paint-order": "stroke", stroke: "#000", "stroke-width": 8 }, text);
  group.append(made);
  return group;
}

function words([x, y], text, fill) {
  return svg("text", { x, y, fill, "font-size": 12, "text-anchor": "middle", "paint-order": "stroke", stroke: "#000", "stroke-width": 3, "stroke-opacity": 0.6 }, text);
}
