__all__ = [
    "IgtlAddress",
    "Intake",
    "MessageStream",
    "Publisher",
    "Receiver",
    "make_message",
    "parse_address",
    "parse_image",
    "parse_transform",
]

from .address import IgtlAddress as IgtlAddress
from .address import parse_address as parse_address
from .intake import Intake as Intake
from .message_stream import MessageStream as MessageStream
from .publisher import Publisher as Publisher
from .receiver import Receiver as Receiver
from .wire import make_message as make_message
from .wire import parse_image as parse_image
from .wire import parse_transform as parse_transform
