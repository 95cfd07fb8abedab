"""`sonosteer dataset export`: a data set in formats that others read.

```
png    SPLIT/NAME/frame_000000.png, times.csv, sequence.json (a folder that sonosteer track opens); labels.csv of all
mp4    SPLIT/NAME/clip.mp4, truth.csv
coco   SPLIT/images/NAME_000000.png, SPLIT/annotations.json: detection, one category, "needle tip"
```
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from sonosteer.core.clip_comment import format_clip_comment
from sonosteer.core.errors import InputError
from sonosteer.core.geometry import axis_angle_rad
from sonosteer.core.protocols import SourceInfo
from sonosteer.core.registry import LazyTable
from sonosteer.learning.data.importing import MORE, NEEDED
from sonosteer.learning.data.videos import DataSet, Video
from sonosteer.recording.clips import ClipWriter, PngWriter, VideoWriter
from sonosteer.recording.tables import TableWriter, writing_failed
from sonosteer.recording.truths import COLUMNS as TRUTH
from sonosteer.sim.scenes import SETUPS, make_scene
