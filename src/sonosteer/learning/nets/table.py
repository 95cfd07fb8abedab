"""Networks by name: ours, and the seven that Paper V compares with. Each module has `make(search_px, template_px)`."""

from __future__ import annotations

from sonosteer.core.registry import LazyTable

NETS = LazyTable(
    "network",
    {
        "vla": "sonosteer.learning.nets.vla:make",
        "siamrpn++": "sonosteer.learning.nets.siamrpn_pp:make",
        "siamcar": "sonosteer.learning.nets.siamcar:make",
        "siamban": "sonosteer.learning.nets.siamban:make",
        "stmtrack": "sonosteer.learning.nets.stmtrack:make",
        "swintrack": "sonosteer.learning.nets.swintrack:make",
        "mixformer": "sonosteer.learning.nets.mixformer:make",
        "lorat": "sonosteer.learning.nets.lorat:make",
    },
)
