__all__ = [
    "DataSet",
    "InsertionSet",
    "RecordedEpisode",
    "Stills",
    "Video",
    "describe",
    "describe_insertions",
    "draw_stills",
    "export_set",
    "import_frames",
    "load_stills",
    "make_demonstration_set",
    "make_video_set",
]

from .card import describe as describe
from .exporting import export_set as export_set
from .importing import import_frames as import_frames
from .insertion_card import describe_insertions as describe_insertions
from .insertions import InsertionSet as InsertionSet
from .insertions import RecordedEpisode as RecordedEpisode
from .make_demonstrations import make_demonstration_set as make_demonstration_set
from .make_stills import draw_stills as draw_stills
from .make_videos import make_video_set as make_video_set
from .stills import Stills as Stills
from .stills import load_stills as load_stills
from .videos import DataSet as DataSet
from .videos import Video as Video
