from .frame_ledger import FrameLedger as FrameLedger
from .run_log import RunLog as RunLog
from .run_reader import RunReader as RunReader
from .summary import write_summary as write_summary
from .tips import TipsWriter as TipsWriter
from .tips import read_tips as read_tips
from .truths import TruthWriter as TruthWriter
from .truths import read_truth as read_truth

__all__ = [
    "FrameLedger",
    "RunLog",
    "RunReader",
    "TipsWriter",
    "TruthWriter",
    "read_tips",
    "read_truth",
    "write_summary",
]
