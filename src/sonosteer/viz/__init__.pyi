__all__ = [
    "OverlayVideo",
    "Story",
    "Tile",
    "draw_insertion",
    "draw_overlay",
    "write_insertion_report",
    "write_report",
    "write_sheet",
    "write_strip",
]

from .contact_sheet import Tile as Tile
from .contact_sheet import write_sheet as write_sheet
from .film_strip import write_strip as write_strip
from .insertion_overlay import draw_insertion as draw_insertion
from .insertion_report import write_insertion_report as write_insertion_report
from .overlay import OverlayVideo as OverlayVideo
from .overlay import draw_overlay as draw_overlay
from .report import Story as Story
from .report import write_report as write_report
