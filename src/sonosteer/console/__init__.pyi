__all__ = [
    "ClipFrames",
    "Door",
    "LabelBook",
    "doubtful_frames",
    "serve_clip",
]

from .clip_frames import ClipFrames as ClipFrames
from .door import Door as Door
from .doubtful import doubtful_frames as doubtful_frames
from .label_book import LabelBook as LabelBook
from .serving import serve_clip as serve_clip
