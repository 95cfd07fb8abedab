__all__ = [
    "SOURCES",
    "DicomCine",
    "ImageFolder",
    "MetaImageSequence",
    "SimulatedSource",
    "VideoFile",
    "WithVelocity",
    "open_source",
]

from .dicom import DicomCine as DicomCine
from .images import ImageFolder as ImageFolder
from .metaimage import MetaImageSequence as MetaImageSequence
from .opening import SOURCES as SOURCES
from .opening import open_source as open_source
from .simulated import SimulatedSource as SimulatedSource
from .velocity import WithVelocity as WithVelocity
from .video import VideoFile as VideoFile
