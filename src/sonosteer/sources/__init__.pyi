__all__ = [
    "SOURCES",
    "DicomCine",
    "ImageFolder",
    "MetaImageSequence",
    "SimulatedSource",
    "StillPictures",
    "VideoFile",
    "WithReadings",
    "WithVelocity",
    "open_source",
    "open_stills",
]

from .dicom import DicomCine as DicomCine
from .images import ImageFolder as ImageFolder
from .images import StillPictures as StillPictures
from .metaimage import MetaImageSequence as MetaImageSequence
from .opening import SOURCES as SOURCES
from .opening import open_source as open_source
from .opening import open_stills as open_stills
from .readings import WithReadings as WithReadings
from .simulated import SimulatedSource as SimulatedSource
from .velocity import WithVelocity as WithVelocity
from .video import VideoFile as VideoFile
