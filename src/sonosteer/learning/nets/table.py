"""Tracking networks by name: that of Zhang et al. 2026, and the seven that they compare it with.

Each entry is a function of `search_px` and `template_px` that returns a network with random weights.
"""

from __future__ import annotations

from sonosteer.core.registry import LazyTable

NETS = LazyTable(
    "network",
    {
        "vla": "sonosteer.learning.nets.vla:make_vla_tracker",
        "siamrpn++": "sonosteer.learning.nets.siamrpn_pp:make_siamrpn_pp",
        "siamcar": "sonosteer.learning.nets.siamcar:make_siamcar",
        "siamban": "sonosteer.learning.nets.siamban:make_siamban",
        "stmtrack": "sonosteer.learning.nets.stmtrack:make_stmtrack",
        "swintrack": "sonosteer.learning.nets.swintrack:make_swintrack",
        "mixformer": "sonosteer.learning.nets.mixformer:make_mixformer",
        "lorat": "sonosteer.learning.nets.lorat:make_lorat",
    },
    group="sonosteer.networks",
)
