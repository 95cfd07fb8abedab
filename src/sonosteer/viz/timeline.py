"""The timeline below a video: what the tracker said of each frame, and its confidence. A click moves the video."""

from __future__ import annotations

import html
import json
from collections.abc import Sequence
from itertools import groupby

from sonosteer.recording.tips import TipRow

#: height of the parts of the drawing, no unit: confidence above, states below
CONFIDENCE_HIGH, STATE_HIGH, GAP = 46, 16, 4
WIDE = 1000
#: chosen: points of the line of confidence. A screen has no more columns to show them in
MAX_POINTS = 1500

#: Runs in the page. Without it the timeline is a picture. It loads nothing, and works from a file.
SCRIPT = """(function () {
  var line = document.querySelector('.timeline'), video = document.querySelector('video');
  if (!line) return;
  var times = JSON.parse(line.dataset.times), states = line.dataset.states.split(' ');
  var sure = JSON.parse(line.dataset.confidence), frames = JSON.parse(line.dataset.frames);
  var slider = line.querySelector('input'), cursor = line.querySelector('.cursor'), told = line.querySelector('output');
  var drawing = line.querySelector('svg'), last = times.length - 1;
  function start() {
    if (!video || !isFinite(video.duration)) return 0;
    return video.duration > times[last] - times[0] + times[0] / 2 + 0.001 ? times[0] : 0;
  }
  function show(i) {
    var x = WIDE * (i + 0.5) / times.length;
    cursor.setAttribute('x1', x); cursor.setAttribute('x2', x);
    slider.value = i;
    told.textContent = 'frame ' + frames[i] + ', ' + times[i].toFixed(2) + ' s: ' + states[i] +
      (sure[i] === null ? '' : ', confidence ' + sure[i].toFixed(2));
  }
  function go(i) {
    i = Math.max(0, Math.min(last, i));
    show(i);
    if (video) { video.pause(); video.currentTime = times[i] - times[0] + start() + 0.001; }
  }
  drawing.addEventListener('click', function (e) {
    var box = drawing.getBoundingClientRect();
    go(Math.floor(times.length * (e.clientX - box.left) / box.width));
  });
  slider.addEventListener('input', function () { go(+slider.value); });
  document.querySelectorAll('[data-frame]').forEach(function (each) {
    function there() { go(+each.dataset.frame); if (video) video.scrollIntoView({ block: 'nearest' }); }
    each.addEventListener('click', there);
    each.addEventListener('keydown', function (e) { if (e.key === 'Enter') there(); });
  });
  if (video) video.addEventListener('timeupdate', function () {
    var t = video.currentTime - start() + times[0], low = 0, high = last;
    while (low < high) {
      var mid = (low + high + 1) >> 1;
      if (times[mid] <= t + 0.0005) low = mid; else high = mid - 1;
    }
    if (!video.paused || +slider.value !== low) show(low);
  });
  show(0);
})();""".replace("WIDE", str(WIDE))


def timeline(tips: Sequence[TipRow]) -> str:
    """The timeline of a track, as HTML. It needs `SCRIPT` in the page to move the video. Empty for no frames."""
    if not tips:
        return ""
    n = len(tips)
    sure = [None if r.confidence is None else round(r.confidence, 3) for r in tips]
    top = CONFIDENCE_HIGH + GAP if any(c is not None for c in sure) else 0
    data = {
        "times": json.dumps([round(r.time_s, 4) for r in tips], separators=(",", ":")),
        "frames": json.dumps([r.frame for r in tips], separators=(",", ":")),
        "confidence": json.dumps(sure, separators=(",", ":")),
        "states": " ".join(r.state for r in tips),
    }
    given = "".join(f' data-{k}="{html.escape(v)}"' for k, v in data.items())
    high = top + STATE_HIGH
    drawn = (
        f'<svg viewBox="0 0 {WIDE} {high}" preserveAspectRatio="none" role="img" '
        f'aria-label="State of the tracker in each frame, and its confidence">'
        f"{_confidence(sure)}{_states(tips, top)}"
        f'<line class="cursor" x1="0" x2="0" y1="0" y2="{high}"></line></svg>'
    )
    legend = "".join(f'<span class="key {s}">{s}</span>' for s in ("tracking", "coasting", "lost"))
    curve = '<span class="key confidence">confidence, 0 to 1</span>' if top else ""
    return (
        f'<div class="timeline"{given}>{drawn}'
        f'<input type="range" min="0" max="{n - 1}" value="0" step="1" aria-label="frame">'
        f'<p class="soft"><output></output>{legend}{curve}</p></div>'
    )


def _states(tips: Sequence[TipRow], top: int) -> str:
    """A rectangle for each run of frames in one state."""
    n, at, out = len(tips), 0, []
    for state, run in groupby(tips, key=lambda r: r.state):
        frames = len(list(run))
        x, width = WIDE * at / n, WIDE * frames / n
        out.append(f'<rect class="{state}" x="{x:.2f}" y="{top}" width="{width:.2f}" height="{STATE_HIGH}"></rect>')
        at += frames
    return "".join(out)


def _confidence(sure: Sequence[float | None]) -> str:
    """A line for each run of frames in which the tracker said one."""
    n, out, at = len(sure), [], 0
    step = max(1, -(-n // MAX_POINTS))
    for known, run in groupby(sure, key=lambda c: c is not None):
        values = list(run)
        if known:
            points = [
                (WIDE * (at + i + 0.5) / n, CONFIDENCE_HIGH * (1 - min(max(c or 0.0, 0.0), 1.0)))
                for i, c in enumerate(values)
                if i % step == 0 or i == len(values) - 1
            ]
            if len(points) == 1:  # a frame alone is a short stroke
                (x, y), half = points[0], WIDE / n / 2
                points = [(x - half, y), (x + half, y)]
            line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
            out.append(f'<polyline class="confidence" points="{line}"></polyline>')
        at += len(values)
    return "".join(out)
