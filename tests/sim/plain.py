"""Scanners of plain tissue."""

import numpy as np

from sonosteer.benchmarks.simulator import tissue_view
from sonosteer.sim.field import TissueTexture
from sonosteer.sim.scanner import Scanner, ScanView
from sonosteer.sim.scenes import make_scene

PLAIN = TissueTexture(fibres=0, modulation_db=0.0)
QUIET = {
    "tissue": PLAIN,
    "looks": 1,
    "noise_db": -120.0,
    "noise_db_per_mm": 0.0,
    "artefacts.tgc_db": 0.0,
    "artefacts.persistence": 0.0,
    "artefacts.contact_loss": 0.0,
    "artefacts.ladder_mm": 0.0,
    "artefacts.occluders": 0,
    "anatomy.patches_db": 0.0,
    "anatomy.layers": (),
    "anatomy.tumours": 0,
}


def plain_scanner(setup, seed=5, **more):
    """Homogeneous tissue, one look, no noise: fully developed speckle."""
    return Scanner(make_scene(setup, seed, **{**QUIET, **more}), np.random.default_rng(seed))


def envelope(scanner, y_mm, probe_x_mm=0.0, probe_z_mm=0.0):
    view = tissue_view(scanner, y_mm)
    scanner.draw(
        ScanView((probe_x_mm, y_mm, probe_z_mm), *[getattr(view, f) for f in list(ScanView.__dataclass_fields__)[1:]])
    )
    return scanner.envelope.copy()
