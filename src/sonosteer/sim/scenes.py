"""Scenes: what to simulate, drawn from a recipe by a seed.

A scene's name is `SETUP/SPLIT`. Training, validation and test scenes draw from different seeds, tissues and
appearances, so that nothing tuned on one has seen the other. The recipes are TOML files beside this module. Your
own file may stand anywhere: `make_scene("my-scene.toml", seed)`.
"""

from __future__ import annotations

import dataclasses
import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from sonosteer.core.config import check_finite, check_range, from_dict, load_toml
from sonosteer.core.errors import InputError
from sonosteer.core.plugins import is_reference, naming
from sonosteer.needle.flexible import NeedleGeometry
from sonosteer.needle.nonholonomic import PARAMETER_RANGES, Nonholonomic
from sonosteer.needle.tissue import material
from sonosteer.sim.anatomy import Anatomy
from sonosteer.sim.artefacts import Artefacts
from sonosteer.sim.display import Display
from sonosteer.sim.echo import Appearance
from sonosteer.sim.field import TissueTexture
from sonosteer.sim.probe import Transducer
from sonosteer.sim.setups import PLANTS, PlantName
from sonosteer.sim.setups import SETUPS as SETUPS
from sonosteer.sim.setups import Split as Split
from sonosteer.sim.shapes import Shapes


@dataclass(frozen=True, slots=True)
class Scene:
    """Everything that decides a simulated clip. The same scene gives the same frames."""

    setup: str
    """Name of the set-up or of the TOML file it was drawn from."""
    split: Split
    """Split that its ranges belong to. Training, validation and test never share one."""
    seed: int
    """Seed that it was drawn with. 0 or more."""
    speed_mm_s: float
    """Insertion speed along the needle, mm/s. More than 0."""
    end_mm: float
    """Inserted length at the end, mm. start_mm or more. A recipe's in-plane lengths count from the image's edge."""
    start_mm: float = 0.0
    """Inserted length at the start, mm. 0 or more."""
    view: Literal["in-plane", "axial"] = "in-plane"
    """The needle lies in the image plane, or crosses it along the elevation (axial)."""
    mode: Literal["", "ips", "ipm"] = ""
    """Mode of the set-up: the probe stands ("ips") or moves along ("ipm"). Empty where it has no modes."""
    angle_deg: float = 45.0
    """Insertion angle below the horizontal, degrees. 3 to 80. Axial needles do not use it."""
    enters: Literal["left", "right"] = "left"
    """Side of the image from which the needle enters."""
    entry_x_mm: float = -19.0
    """Lateral place of the entry on a needle from the left, mm. Mirrored for one from the right."""
    entry_z_mm: float = 2.0
    """Depth of the entry below the middle of the probe's face, mm."""
    entry_y_mm: float = 0.0
    """Distance of the entry from the image plane, mm. Axial needles do not use it."""
    yaw_deg: float = 0.0
    """Angle of a rigid in-plane needle out of the image plane, degrees. -45 to 45."""
    bend_per_mm: float = 0.0
    """Curvature of a rigid in-plane needle, 1/mm. Positive bends towards the probe. -0.01 to 0.01."""
    material: str = "rigid"
    """"rigid" for a straight needle, or the tissue preset that bends it (`needle.tissue.MATERIALS`)."""
    bevel_gain: float = 1.0
    """Factor on the preset's bevel forces, no unit. More than 0."""
    entry_sd_rad: float = 0.0
    """Standard deviation, each way, of a flexible needle's angle at an axial entry, rad. 0 or more."""
    slip: float = 0.0
    """Mean fraction of the pushed length that does not reach the tip of an in-plane needle. 0 to 0.5, no unit."""
    registration_deg: float = 0.0
    """Angle by which the encoders' axes are turned against the image of an in-plane needle, degrees. -10 to 10."""
    registration_mm: tuple[float, float] = (0.0, 0.0)
    """How far beside the tip an in-plane needle's tip is where the rig alone says where it is, x and z, mm."""
    roll_deg: float = 0.0
    """Roll of the base at the start, degrees. 0: the bevel's point lies on the probe's side."""
    turns: int = 0
    """Number of rolls of the base on the way, each up to half a turn. 0 or more."""
    pace: Literal["constant", "hand"] = "constant"
    """Constant speed, or a hand's: it wanders, pauses, retracts and is drawn back."""
    speed_sd: float = 0.3
    """Standard deviation of a hand's speed as a fraction of speed_mm_s, no unit. 0 or more."""
    pauses: int = 0
    """Number of a hand's pauses, 0.5 to 2 s each. 0 or more."""
    retractions: int = 0
    """Number of a hand's retractions, 2 to 6 mm each. 0 or more."""
    back_mm: float = 0.0
    """How far a hand slowly draws the needle back at the end, mm. 0 or more."""
    leaves: bool = False
    """True if the needle is drawn out at the end until it is gone."""
    jerks: int = 0
    """Number of sudden moves of the probe. 0 or more."""
    jerk_mm: float = 2.0
    """Standard deviation of such a move, sideways and along the elevation, mm. 0 or more."""
    needle: bool = True
    """False for tissue without a needle."""
    rest_frames: int = 0
    """Number of frames before the needle moves. 0 or more."""
    end_rest_frames: int = 8
    """Number of frames after the needle has stopped. 0 or more."""
    rate_hz: float = 20.0
    """Frame rate, Hz. More than 0."""
    width_px: int = 512
    """Width of the image, px. 16 to 4096."""
    height_px: int = 512
    """Height of the image, px. 16 to 4096."""
    spacing_mm: float = 0.10
    """Size of a pixel, mm. More than 0."""
    top_mm: float = 0.0
    """Distance of the probe's face from the image's upper edge, mm. 0 or more."""
    needle_db: float = 0.0
    """Change of all levels of the needle's echoes, dB. It is moved into `look` and is 0 after that."""
    tip_y_mm: float = 0.4
    """How far the tip of a fully inserted needle drifts out of the image plane, mm. 0 or more."""
    breathing_mm: float = 0.0
    """Largest displacement of the tissue by breathing, mm. 0 or more."""
    breathing_hz: float = 0.25
    """Rate of breathing, Hz. More than 0."""
    pull_mm: float = 0.5
    """Furthest that the shaft drags the tissue along, mm. 0 or more."""
    probe_slide_mm: float = 0.0
    """How far the probe moves along with an in-plane needle during the clip, mm."""
    probe_lag_s: float = 0.1
    """Time constant with which an axial probe follows the tip, s. 0 or more."""
    probe_wander_mm: float = 0.15
    """Unsteadiness of the probe along the elevation, about its standard deviation, mm. 0 or more."""
    looks: int = 3
    """Number of steered looks that are averaged (spatial compounding). 1 to 15."""
    look_deg: float = 7.0
    """Steering of the outermost looks, either way, degrees."""
    dynamic_range_db: float = 60.0
    """Dynamic range of the display, dB. More than 0."""
    grey: float = 85.0
    """Grey level of tissue at 0 dB, 0 to 255."""
    noise_db: float = -38.0
    """Receive noise at the surface, dB over the tissue."""
    noise_db_per_mm: float = 0.4
    """Growth of the receive noise with depth, dB/mm."""
    period_mm: float = 6.0
    """Period of the speckle in elevation, mm. More than 0."""
    slices: int = 24
    """Number of elevation slices in that period. Few are drawn up faster. 2 to 200."""
    tissue_seed: int | None = None
    """Seed of the speckle that several scenes share, 0 or more. None: the scene has its own."""
    array: Transducer = field(default_factory=Transducer)
    """The transducer and how it is driven."""
    tissue: TissueTexture = field(default_factory=TissueTexture)
    """Texture of the tissue."""
    anatomy: Anatomy = field(default_factory=Anatomy)
    """Layers, patches and tumours."""
    look: Appearance = field(default_factory=Appearance)
    """How the needle echoes."""
    artefacts: Artefacts = field(default_factory=Artefacts)
    """What disturbs the image."""
    shapes: Shapes = field(default_factory=Shapes)
    """Cysts, vessels, islands, bones, floors and streaks."""
    display: Display = field(default_factory=Display)
    """How the screen shows the image. The default changes nothing."""
    geometry: NeedleGeometry = field(default_factory=NeedleGeometry)
    """Length and stiffness of a flexible needle."""
    plant: PlantName = "beam"
    """How a flexible needle moves: "beam" (`needle.flexible`) or "nonholonomic" (`needle.nonholonomic`)."""
    nonholonomic: Nonholonomic = field(default_factory=Nonholonomic)
    """Parameters of the plant "nonholonomic". The default draws them all by the seed."""

    @property
    def name(self) -> str:
        """SETUP/SPLIT#SEED."""
        return f"{self.setup}/{self.split}#{self.seed}"

    @property
    def angle_rad(self) -> float:
        """Insertion angle below the horizontal, rad."""
        return math.radians(self.angle_deg)

    @property
    def entry_mm(self) -> tuple[float, float, float]:
        """(x, y, z) of the entry in the world, mm."""
        x_mm = -self.entry_x_mm if self.enters == "right" else self.entry_x_mm
        return x_mm, self.entry_y_mm if self.view == "in-plane" else 0.0, self.entry_z_mm

    @property
    def size_px(self) -> tuple[int, int]:
        """(width, height) of the frames, px: of the screen with its margins."""
        return self.display.size_px((self.width_px, self.height_px))

    @property
    def screen_spacing_mm(self) -> float:
        """Size of a frame's pixel, mm."""
        return self.spacing_mm / self.display.scale

    @property
    def direction(self) -> tuple[float, float, float]:
        """Unit vector (x, y, z) of the insertion."""
        if self.view == "axial":
            return 0.0, 1.0, 0.0
        side = -1.0 if self.enters == "right" else 1.0
        return side * math.cos(self.angle_rad), 0.0, math.sin(self.angle_rad)

    def __post_init__(self) -> None:
        _check(self)
        if self.needle_db:
            look = self.look
            shifted = {n: getattr(look, n) + self.needle_db for n in ("specular_db", "rough_db", "tip_db")}
            object.__setattr__(self, "look", dataclasses.replace(look, **shifted))
            object.__setattr__(self, "needle_db", 0.0)


def make_scene(setup: str, seed: int, **overrides: Any) -> Scene:
    """Draw the scene of a seed.

    setup: a set-up with or without its split, as in "in-plane-linear/train", a TOML file, or a plug-in: the name of an
    installed one, or `package.module:NAME`. Default split: test.
    overrides: any field of `Scene` by its name, and "part.field" for those of its parts. `mode` picks one of the
    set-up's modes. A `material` that the set-up knows brings its own texture and look along.
    Raises InputError if the set-up, the split or a field is unknown, or if a value makes no sense.
    """
    path, split = _split(setup)
    if seed < 0:
        raise InputError(f"the seed is {seed}: it must be 0 or more")
    name = setup.partition("/")[0] if path is None else path.stem
    if path is None and ":" in SETUPS.get(name, "") and name in SETUPS.built_in:
        return _make_drawn_scene(name, split, seed, overrides)
    recipe = _extended(_recipe(name) if path is None else load_toml(path))
    rng = np.random.default_rng([seed, get_args(Split).index(split)])
    drawn: dict[str, Any] = {"setup": name, "split": split, "seed": seed}
    parts = [recipe.get("scene", {}), recipe.get(split, {})]
    mode = _pick_mode(name, recipe.get("modes", {}), overrides.get("mode"), rng)
    parts += _pick_variant(recipe.get(split, {}).get("variants"), overrides.get("material"), rng)
    parts += recipe.get("more", ())
    if mode:  # last, so that a seed's tissue does not depend on the mode
        parts.append(recipe["modes"][mode])
        overrides["mode"] = mode
    try:
        for part in parts:
            _merge(drawn, _draw({k: v for k, v in part.items() if k != "variants"}, rng))
    except (TypeError, ValueError) as e:
        raise InputError(f"scene {setup}: a range cannot be drawn from: {e}") from None
    for key, value in overrides.items():
        part_name, _, field_name = key.partition(".")
        _merge(drawn, {part_name: {field_name: value}} if field_name else {key: value})
    missing = [k for k in ("speed_mm_s", "end_mm") if k not in drawn]
    if missing:
        raise InputError(f"scene {setup}: {' and '.join(missing)} must be given")
    if drawn.get("view", "in-plane") == "in-plane":
        _fit(drawn, overrides)
    return from_dict(Scene, drawn, f"scene {setup}")


def _make_drawn_scene(name: str, split: Split, seed: int, overrides: Mapping[str, Any]) -> Scene:
    """The scene of a set-up that is a function of seed and split, with fields by the caller."""
    if overrides.get("mode"):
        raise InputError(f"{name} has no mode {overrides['mode']!r}, for it has none")
    drawn: dict[str, Any] = {"setup": name, "split": split, "seed": seed, **SETUPS.load(name)(seed, split)}
    for key, value in overrides.items():
        part_name, _, field_name = key.partition(".")
        if key != "mode":
            _merge(drawn, {part_name: {field_name: value}} if field_name else {key: value})
    return from_dict(Scene, drawn, f"scene {name}")


def _extended(recipe: Mapping[str, Any]) -> Mapping[str, Any]:
    """A recipe that `extends` a built-in one: all is that one's, then the fields under its own [scene] are drawn."""
    if "extends" not in recipe:
        return recipe
    base = str(recipe["extends"])
    if base not in SETUPS.built_in or not SETUPS[base].endswith(".toml"):
        raise InputError(f"a scene file extends {base!r}, which is no built-in set-up with a file")
    unknown = sorted(recipe.keys() - {"extends", "scene"})
    if unknown:
        raise InputError(f"a scene file that extends {base} has only [scene]; leave out {unknown[0]!r}")
    return {**_built_in_recipe(SETUPS[base]), "more": (recipe.get("scene", {}),)}


def _pick_mode(name: str, modes: Mapping[str, Any], asked: str | None, rng: np.random.Generator) -> str:
    """The mode that was asked for, else one by chance. Empty if the set-up has no modes."""
    by_chance = sorted(modes)[int(rng.integers(len(modes)))] if modes else ""
    mode = asked or by_chance
    if mode and mode not in modes:
        known = f"; there are: {', '.join(sorted(modes))}" if modes else ", for it has none"
        raise InputError(f"{name} has no mode {mode!r}{known}")
    return mode


def _pick_variant(
    variants: list[dict[str, Any]] | None, material_asked: str | None, rng: np.random.Generator
) -> list[dict[str, Any]]:
    """The variant of the material that was asked for, else one by chance. Empty if the split has no variants."""
    if not variants:
        return []
    by_chance = variants[int(rng.integers(len(variants)))]
    asked = [v for v in variants if "material" in v and v["material"] == material_asked]
    return [asked[0] if asked else by_chance]


def planned_angles(scene: Scene) -> tuple[float, float]:
    """Least and largest direction of an in-plane needle that a robot knows beforehand, rad from the image's +x.

    They lie 5 degrees below and above the planned angle (Mathiassen et al. 2017, Section III-C).
    """
    planned = 5 * round(scene.angle_deg / 5)
    angle = planned if scene.enters == "left" else 180 - planned
    return math.radians(angle - 5), math.radians(angle + 5)


def _split(setup: str) -> tuple[Path | None, Split]:
    """(the TOML file that the name says, or None, split)."""
    name, _, split = setup.rpartition("/") if setup.rpartition("/")[2] in get_args(Split) else (setup, "", "test")
    if name.endswith(".toml"):
        return Path(name), split  # type: ignore[return-value]
    base, _, wrong = name.partition("/")
    if base not in SETUPS and not is_reference(base):
        raise InputError(f"there is no set-up called {base!r}; there are: {', '.join(SETUPS)}, or a .toml file")
    if wrong:
        raise InputError(f"there is no split called {wrong!r}; there are: {', '.join(get_args(Split))}")
    return None, split  # type: ignore[return-value]


def _recipe(name: str) -> Mapping[str, Any]:
    """Recipe of a built-in set-up or of a plug-in."""
    if name in SETUPS.built_in:
        SETUPS.warn_of_clash(name)
        return _built_in_recipe(SETUPS[name])
    found = SETUPS.load(name)
    if callable(found):
        with naming(f"set-up {name}", "its function", found):
            found = found()
    if isinstance(found, str | Path):
        return load_toml(Path(found))
    if isinstance(found, Mapping):
        return found
    raise InputError(
        f"set-up {name} is {found!r}, but must be a path, a recipe, or a function that returns one of them"
    )


@lru_cache(maxsize=8)
def _built_in_recipe(file: str) -> dict[str, Any]:
    return tomllib.loads((resources.files("sonosteer.sim") / file).read_text())


def _draw(ranges: Mapping[str, Any], rng: np.random.Generator) -> dict[str, Any]:
    """Draw {"uniform": [a, b]}, {"integers": [a, b]} and {"choice": [...], "sd": s}. Keep the rest as it is."""
    out: dict[str, Any] = {}
    for key, value in ranges.items():
        if isinstance(value, dict) and "uniform" in value:
            out[key] = float(rng.uniform(*value["uniform"]))
        elif isinstance(value, dict) and "integers" in value:
            out[key] = int(rng.integers(value["integers"][0], value["integers"][1], endpoint=True))
        elif isinstance(value, dict) and "choice" in value:
            picked = value["choice"][int(rng.integers(len(value["choice"])))]
            out[key] = picked + rng.normal(0, value["sd"]) if "sd" in value else picked
        elif isinstance(value, dict) and "chance" in value:  # with this chance the inner recipe, else nothing
            if rng.random() < value["chance"]:
                out[key] = _draw({"it": value["of"]}, rng)["it"]
        elif isinstance(value, dict):
            out[key] = _draw(value, rng)
        elif isinstance(value, list) and any(isinstance(each, dict) for each in value):
            out[key] = [_draw({"it": each}, rng).get("it") for each in value]
        else:
            out[key] = value
    return out


def _merge(into: dict[str, Any], new: Mapping[str, Any]) -> None:
    for key, value in new.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            into[key] = {**into[key], **value}
        elif isinstance(value, dict) and dataclasses.is_dataclass(into.get(key)):
            into[key] = dataclasses.replace(into[key], **value)
        else:
            into[key] = value


def _fit(drawn: dict[str, Any], overrides: Mapping[str, Any]) -> None:
    """Shift start and end so that an in-plane needle's tip is in the image. Drawn lengths count from its edge."""
    array = drawn.get("array", Transducer())
    if not isinstance(array, Transducer):
        array = from_dict(Transducer, array, "transducer")
    angle = math.radians(drawn.get("angle_deg", 45.0))
    x0, z0 = drawn.get("entry_x_mm", -19.0), drawn.get("entry_z_mm", 2.0)
    if not all(map(math.isfinite, (angle, x0, z0))):
        return  # the scene's own check says so
    length = np.arange(0.0, 200.0, 0.25)
    x, z = x0 + length * math.cos(angle), z0 + length * math.sin(angle)
    slide = drawn.get("probe_slide_mm", 0.0)
    width, height = drawn.get("width_px", 512), drawn.get("height_px", 512)
    mm, top = drawn.get("spacing_mm", 0.1), drawn.get("top_mm", 0.0)

    def inside(probe_x: float, margin: float) -> NDArray[np.bool_]:
        range_mm, line = array.to_beam(x - probe_x, z)
        edge = margin / array.pitch_mm(array.depth_mm / 2)
        seen: NDArray[np.bool_] = (line >= edge) & (line <= array.lines - 1 - edge) & (range_mm >= 0)
        seen &= range_mm <= array.depth_mm - 1.5 * margin
        seen &= (np.abs(x - probe_x) < (width / 2) * mm - margin) & (z + top < height * mm - margin)
        return seen

    first, last = inside(0.0, 0.0), inside(slide, 2.0)
    if not first.any() or not last.any():
        return
    enters = float(length[np.argmax(first)])
    if "start_mm" not in overrides:
        drawn["start_mm"] = drawn.get("start_mm", 0.0) + enters
    if "end_mm" not in overrides:
        drawn["end_mm"] = min(drawn["end_mm"] + enters, float(length[np.flatnonzero(last)[-1]]))
        drawn["end_mm"] = max(drawn["end_mm"], drawn["start_mm"])


def _check(s: Scene) -> None:
    check_finite(s, "scene")
    positive = ("speed_mm_s", "rate_hz", "width_px", "height_px", "spacing_mm", "looks", "dynamic_range_db")
    for name in (*positive, "period_mm", "bevel_gain", "breathing_hz"):
        if not getattr(s, name) > 0:
            raise InputError(f"scene: {name} is {getattr(s, name)}, but must be more than 0")
    lengths = ("rest_frames", "end_rest_frames", "tip_y_mm", "breathing_mm", "pull_mm", "probe_lag_s", "top_mm")
    counts = ("turns", "pauses", "retractions", "jerks")
    for name in (*lengths, *counts, "probe_wander_mm", "entry_sd_rad", "speed_sd", "back_mm", "jerk_mm"):
        if not getattr(s, name) >= 0:
            raise InputError(f"scene: {name} is {getattr(s, name)}, but must not be negative")
    choices = {"view": ("in-plane", "axial"), "enters": ("left", "right"), "pace": ("constant", "hand")}
    for name, known in choices.items():
        if getattr(s, name) not in known:
            raise InputError(f"scene: {name} is {getattr(s, name)!r}; {' and '.join(known)} are possible")
    if s.material != "rigid":
        material(s.material)
    if s.plant not in PLANTS:
        raise InputError(f"scene: there is no plant {s.plant!r}; there are: {', '.join(PLANTS)}")
    if s.plant == "nonholonomic" and s.material not in PARAMETER_RANGES:
        raise InputError(
            f"scene: the plant nonholonomic has no parameters for {s.material!r}; give one of these as material: "
            f"{', '.join(PARAMETER_RANGES)}"
        )
    if not (16 <= s.width_px <= 4096 and 16 <= s.height_px <= 4096):
        raise InputError(f"scene: an image of {s.width_px}x{s.height_px} px; 16 to 4096 px each way are drawn")
    if not s.looks <= 15:
        raise InputError(f"scene: looks is {s.looks}; 1 to 15 are possible")
    if not 3.0 <= s.angle_deg <= 80.0:
        raise InputError(f"scene: angle_deg is {s.angle_deg}; 3 to 80 degrees below the horizontal are possible")
    check_range(s, "scene", -45.0, 45.0, "yaw_deg")
    check_range(s, "scene", -0.01, 0.01, "bend_per_mm")
    check_range(s, "scene", 0.0, 0.5, "slip")
    check_range(s, "scene", -10.0, 10.0, "registration_deg")
    check_range(s, "scene", 2, 200, "slices")
    if not 0.0 <= s.start_mm <= s.end_mm:
        raise InputError(f"scene: the needle goes from {s.start_mm} to {s.end_mm} mm; it can only be pushed in")
    if not s.top_mm < s.height_px * s.spacing_mm:
        raise InputError(f"scene: top_mm is {s.top_mm:g}, which leaves nothing of the image; make it smaller")
    if s.needle:
        _check_reach(s)


def _check_reach(s: Scene) -> None:
    if s.material != "rigid" and s.end_mm > s.geometry.length_mm - 10.0:
        raise InputError(
            f"scene: a needle of {s.geometry.length_mm:g} mm cannot be inserted {s.end_mm:g} mm: 10 mm stay outside"
        )
    x, _, z = s.entry_mm
    if s.view == "axial":
        if not (s.array.depth_mm > z > 1.0 and s.array.pitch_mm(z) * s.array.lines / 2 > abs(x)):
            raise InputError(f"scene: a needle at x = {x:g} mm, depth {z:g} mm is outside the image")
        return
    dx, _, dz = s.direction
    slide = s.probe_slide_mm * math.copysign(1.0, dx)
    tip_x, tip_z = x + s.end_mm * dx - slide, z + s.end_mm * dz
    range_mm, line = (float(v[0]) for v in s.array.to_beam(np.array([tip_x]), np.array([tip_z])))
    if not (-1 <= line <= s.array.lines and 0.0 <= range_mm <= s.array.depth_mm):
        raise InputError(
            f"scene: a needle {s.end_mm:g} mm long from {x:g} mm aside at a depth of {z:g} mm leaves the image: "
            f"its tip would be at {tip_x:.1f}, {tip_z:.1f} mm"
        )
