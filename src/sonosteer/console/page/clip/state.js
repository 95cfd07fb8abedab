// What the page knows of the clip: told by the console, and what this tab has not saved yet.

/** A row of a track as the console sends it, with names. */
export function namedRow(track, [frame, state, ...rest]) {
  if (state === "lost") return { track, frame, state, reason: rest[0] };
  const [x, y, angle, shaft, along, across, inMm, confidence] = rest;
  return { track, frame, state, tip: [x, y], angle, shaft, along, across, inMm, confidence };
}

export class ClipState {
  constructor() {
    this.clip = null;
    this.methods = [];
    this.formats = [];
    this.labels = new Map(); // frame -> {tip, revision}
    this.unsaved = new Map(); // frame -> {tip, base, reason}
    this.tracks = new Map(); // name -> {..., rows: Map by frame, shown}
    this.jobs = new Map();
    this.doubtful = [];
    this.scale = { spacing_mm: null, how: "", given: false };
    this.can = { undo: false, redo: false };
    this.screen = null;
    this.files = [];
    this.primary = null;
  }

  /** The label that a person sees: what is not saved yet stands before what is. undefined: none. */
  labelOf(frame) {
    return this.unsaved.has(frame) ? this.unsaved.get(frame).tip ?? undefined : this.labels.get(frame)?.tip ?? undefined;
  }

  revisionOf(frame) { return this.labels.get(frame)?.revision ?? 0; }

  shownTracks() { return [...this.tracks.values()].filter((t) => t.shown).sort((a, b) => a.number - b.number); }

  primaryTrack() {
    const shown = this.shownTracks();
    return shown.find((t) => t.name === this.primary) || shown[0] || null;
  }

  rowOf(frame) { return this.primaryTrack()?.rows.get(frame); }

  /** Take in a track, new or known. A fresh one has no rows yet. */
  putTrack({ fresh, ...told }) {
    const known = this.tracks.get(told.name);
    if (known && !fresh) { Object.assign(known, told); return; }
    this.tracks.set(told.name, { ...told, rows: new Map(), shown: known?.shown ?? true });
  }

  putRows(name, rows) {
    const track = this.tracks.get(name);
    if (!track) return;
    const last = [...track.rows.keys()].pop();
    for (const row of rows) track.rows.set(row[0], namedRow(name, row));
    if (last !== undefined && rows.length && rows[0][0] <= last) track.rows = new Map([...track.rows].sort(([a], [b]) => a - b));
  }

  /** Mean distance of a track from the labels, px, over how many of them. null: nothing to compare. */
  distance(track) {
    let sum = 0, count = 0, lost = 0;
    for (const [frame, { tip }] of this.labels) {
      const row = track.rows.get(frame);
      if (!row || !Array.isArray(tip)) continue;
      if (row.state === "lost") { lost++; continue; }
      sum += Math.hypot(row.tip[0] - tip[0], row.tip[1] - tip[1]);
      count++;
    }
    return count || lost ? { px: count ? sum / count : null, count, lost } : null;
  }

  count(track, state) {
    let count = 0;
    for (const row of track.rows.values()) count += row.state === state;
    return count;
  }
}
