"""One trial of the tracking study: every tracker on one simulated insertion, frame by frame against the truth."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np

from sonosteer.core.geometry import LinearProbe
from sonosteer.core.types import Frame, Hint, Lost, Track
from sonosteer.sim.grabber import grab_frames
from sonosteer.sim.scenes import Scene, make_scene, planned_angles
from sonosteer.sim.truth import NeedleTruth
from sonosteer.sim.world import World
from sonosteer.studies.tracking.general_trackers import GENERAL, GeneralRun
from sonosteer.studies.tracking.optical import OpticalTracker
from sonosteer.studies.tracking.readings import READINGS
from sonosteer.trackers.table import make_tracker

PAPER_METHODS = ("df", "om", "om+f", "kf", "kf+f", "pf", "pf+f", "kfv", "kfv+f", "pfv", "pfv+f")
PARTICLE = ("pf", "pf+f", "pfv", "pfv+f")
ANGLES_DEG, SPEEDS_MM_S = (35.0, 45.0), (5.0, 10.0, 15.0)
HARD = ("curved", "occluded", "moving probe", "faded", "by hand")
#: the paper's scanner and its grabber, Section III
IMAGING_HZ, GRABBED_HZ = 15.9, 20.0
#: row of Table III that looks at no image
OPTICAL = "optical"
ERROR_COLUMNS = ("en", "ep", "etheta", "sd_along", "sd_across", "tracking", "confidence")

LabelledClip = list[tuple[Frame, NeedleTruth]]


@dataclass(frozen=True, slots=True)
class TrackingTrial:
    """One insertion and what to run on it."""

    name: str
    """Unlike that of any other trial."""
    kind: str
    """paper, grabbed, readings, one of HARD, or needle-free."""
    scene: Scene
    """What is simulated."""
    methods: tuple[str, ...]
    """Trackers that follow the tip, by their names in the tables."""
    particle_runs: int
    """Number of runs of each particle filter, with seeds of their own."""


def tracking_trials(*, quick: bool, seed: int = 0) -> list[TrackingTrial]:
    """All trials of the study, from the test split."""
    out = []
    runs, repeats, hard = (3, 1, 1) if quick else (50, 3, 6)
    for k in range(6 * repeats if not quick else 2):
        rng = np.random.default_rng([seed, k])
        scene = make_scene(
            "in-plane-linear/test",
            10_000 * seed + 300 + k,
            angle_deg=ANGLES_DEG[k % 2] + float(np.clip(rng.normal(0.0, 1.0), -2.0, 2.0)),
            speed_mm_s=SPEEDS_MM_S[k // 2 % 3] if not quick else 15.0,
        )
        ours = ("auto", "auto, angle given", *GENERAL, OPTICAL)
        out += [
            TrackingTrial(f"paper-{k:02d}", "paper", scene, (*PAPER_METHODS, *ours), runs),
            TrackingTrial(f"readings-{k:02d}", "readings", scene, tuple(READINGS), min(runs, 5)),
            TrackingTrial(
                f"grabbed-{k:02d}", "grabbed", replace(scene, rate_hz=IMAGING_HZ), PAPER_METHODS, min(runs, 2)
            ),
        ]
    for kind in HARD:
        for k in range(hard):
            scene = hard_scene(kind, 10_000 * seed + 400 + k)
            out.append(
                TrackingTrial(f"{kind}-{k:02d}", kind, scene, ("kf+f", "kfv+f", "auto", "auto, angle given", "csrt"), 1)
            )
    for k in range(hard):
        rng = np.random.default_rng([seed, 9, k])
        scene = make_scene(
            "in-plane-linear/test",
            10_000 * seed + 500 + k,
            needle=False,
            breathing_mm=float(rng.uniform(0.0, 1.0)),
            probe_slide_mm=6.0 * (k % 2),
            probe_wander_mm=float(rng.uniform(0.0, 0.8)),
        )
        out.append(TrackingTrial(f"needle-free-{k:02d}", "needle-free", scene, ("auto", "auto, side given"), 1))
    return out


def hard_scene(kind: str, seed: int, split: str = "test") -> Scene:
    """A scene that the paper leaves as future work. Deterministic in (kind, seed, split)."""
    rng = np.random.default_rng([seed, HARD.index(kind)])
    setup = f"in-plane-linear/{split}"
    speed = float(rng.choice(SPEEDS_MM_S))
    if kind == "curved":  # radii from 150 to 350 mm: 5 to 12 mm over 60 mm; bevel up, as in the paper
        return make_scene(
            setup,
            seed,
            material=("porcine", "plastisol", "pork")[seed % 3],
            bevel_gain=float(rng.uniform(4.0, 12.0)),
            angle_deg=(30.0, 40.0, 25.0)[seed % 3],
            speed_mm_s=speed,
            **{"look.diameter_mm": 1.27, "look.reverberation_mm": 0.7},
        )
    if kind == "occluded":
        return make_scene(
            setup,
            seed,
            speed_mm_s=min(speed, 10.0),
            breathing_mm=float(rng.uniform(0.0, 0.8)),
            **{
                "artefacts.occluders": 1,
                "artefacts.occluder_mm": (4.0, 8.0),
                "artefacts.occluder_depth_mm": (3.0, 12.0),
                "look.gaps": 0.1,
            },
        )
    if kind == "moving probe":
        return make_scene(
            setup,
            seed,
            probe_slide_mm=float(rng.uniform(4.0, 10.0)),
            probe_wander_mm=float(rng.uniform(0.0, 0.3)),
            breathing_mm=float(rng.uniform(0.3, 1.0)),
            rest_frames=10,
            speed_mm_s=speed,
        )
    if kind == "faded":  # the tip drifts out of the plane and the probe wanders
        return make_scene(
            setup,
            seed,
            tip_y_mm=float(rng.uniform(0.8, 2.0)),
            probe_wander_mm=float(rng.uniform(0.2, 0.8)),
            breathing_mm=float(rng.uniform(0.0, 0.6)),
            speed_mm_s=speed,
        )
    return make_scene(  # by hand
        setup,
        seed,
        pace="hand",
        pauses=2,
        retractions=2,
        rest_frames=15,
        breathing_mm=float(rng.uniform(0.0, 0.5)),
        speed_mm_s=speed,
    )


def run_tracking_trial(trial: TrackingTrial) -> dict[str, Any]:
    """Everything of one insertion: per-frame errors and times of every method and run."""
    cv2.setNumThreads(1)
    clip: LabelledClip = list(World(trial.scene).frames())
    if trial.kind == "grabbed":
        clip = list(grab_frames(clip, GRABBED_HZ))
    out: dict[str, Any] = {
        "kind": trial.kind,
        "scene": trial.scene.name,
        "angle_deg": trial.scene.angle_deg,
        "speed_mm_s": trial.scene.speed_mm_s,
        "frames": len(clip),
        "visible": [int(t.visible) for _, t in clip],
        "length_mm": [round(visible_length_mm(f, t), 2) for f, t in clip],
        "methods": {},
    }
    for method in trial.methods:
        runs = trial.particle_runs if method.partition(":")[0] in PARTICLE else 1
        rows: list[tuple[dict[str, Any], list[float]]]
        if method == OPTICAL:
            rows = [(_optical(trial.scene, clip), [])]
        elif method in GENERAL:
            rows = [_general(method, clip)]
        else:
            rows = [_ours(method, trial.scene, clip, seed=run) for run in range(runs)]
        out["methods"][method] = {"runs": [r for r, _ in rows], "ms": rows[0][1]}
    return out


def _ours(method: str, scene: Scene, clip: LabelledClip, seed: int) -> tuple[dict[str, Any], list[float]]:
    name, _, given = method.partition(", ")
    settings: dict[str, Any] = {}
    if method in READINGS:
        name, settings = READINGS[method].method, dict(READINGS[method].settings)
    if name in PARTICLE:
        settings["tip.seed"] = seed
    tracker = make_tracker(name, **settings)
    tracker.prepare()
    hint = Hint(angle_rad=planned_angles(scene), start_px=clip[0][1].tip_px)
    if name == "auto":
        hint = {"": Hint(), "angle given": hint, "side given": Hint(enters=scene.enters)}[given]
    state = tracker.start(hint)
    estimates, ms = [], []
    for frame, _ in clip:
        began = time.perf_counter_ns()
        state, estimate = tracker.step(state, frame)
        ms.append(round((time.perf_counter_ns() - began) * 1e-6, 4))
        estimates.append(estimate)
    return _errors(estimates, clip), ms


def _optical(scene: Scene, clip: LabelledClip) -> dict[str, Any]:
    """Errors of the simulated optical tracking system, which looks at no image."""
    angles = [truth.angle_rad for _, truth in clip]
    along, across, turn = OpticalTracker().errors(angles, np.random.default_rng([scene.seed, 21]))
    said = []
    for k, (frame, truth) in enumerate(clip):
        assert truth.tip_px is not None
        assert frame.spacing is not None
        angle = angles[k] - turn[k]
        c, s = math.cos(angle), math.sin(angle)
        x, y = along[k] * c - across[k] * s, along[k] * s + across[k] * c
        tip_px = (truth.tip_px[0] - x / frame.spacing.x_mm, truth.tip_px[1] - y / frame.spacing.y_mm)
        said.append(_Point(tip_px, angle))
    return _errors(said, clip)


def _errors(estimates: list[Any], clip: LabelledClip) -> dict[str, Any]:
    """Columns of COLUMNS over the frames with an estimate, and which frames these are."""
    rows, frames, claimed = [], [], 0
    for i, ((frame, truth), e) in enumerate(zip(clip, estimates, strict=True)):
        if isinstance(e, Lost):
            continue
        claimed += 1
        assert frame.spacing is not None
        if truth.tip_px is None:
            continue
        x, y = frame.spacing.to_mm((truth.tip_px[0] - e.tip_px[0], truth.tip_px[1] - e.tip_px[1]))
        c, s = math.cos(e.angle_rad), math.sin(e.angle_rad)
        rows.append(
            (
                round(x * c + y * s, 4),
                round(-x * s + y * c, 4),
                round(math.degrees(truth.angle_rad - e.angle_rad), 4),
                round(e.sd_along_mm or 0.0, 4),
                round(e.sd_across_mm or 0.0, 4),
                int(e.state is Track.TRACKING),
                round(e.confidence, 3),
            )
        )
        frames.append(i)
    columns = [list(c) for c in zip(*rows, strict=True)] if rows else [[] for _ in ERROR_COLUMNS]
    return {"claimed": claimed, "frame": frames, **dict(zip(ERROR_COLUMNS, columns, strict=True))}


@dataclass(frozen=True, slots=True)
class _Point:
    """What a general tracker gives, with the true direction, so that its error splits in along and across."""

    tip_px: tuple[float, float]
    angle_rad: float
    state: Track = Track.TRACKING
    confidence: float = 0.0
    sd_along_mm: float = 0.0
    sd_across_mm: float = 0.0


def _general(method: str, clip: LabelledClip) -> tuple[dict[str, Any], list[float]]:
    truth = clip[0][1]
    assert truth.tip_px is not None
    run = GeneralRun(method, truth.tip_px)
    out: list[Any] = []
    ms = []
    for frame, truth in clip:
        began = time.perf_counter_ns()
        said = run.step(frame)
        ms.append(round((time.perf_counter_ns() - began) * 1e-6, 4))
        out.append(said if isinstance(said, Lost) else _Point(said.tip_px, truth.angle_rad))
    return _errors(out, clip), ms[1:]  # the first frame is where they start


def visible_length_mm(frame: Frame, truth: NeedleTruth) -> float:
    """Length of needle between the edge of a linear array's view and the tip."""
    if truth.tip_px is None or not isinstance(frame.probe, LinearProbe) or frame.spacing is None:
        return 0.0
    x, z = frame.probe.to_probe_mm(truth.tip_px, frame.spacing)
    c, s = math.cos(truth.angle_rad), math.sin(truth.angle_rad)
    edge = -math.copysign(frame.probe.width_mm / 2, c)
    return min((x - edge) / c if abs(c) > 1e-9 else math.inf, z / s if s > 1e-9 else math.inf)
