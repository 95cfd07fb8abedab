"""Bridges OpenIGTLink and ROS 2: pictures of a topic are served over OpenIGTLink, and a published tip becomes topics.

ROS 2 stays in the process of the bridge. The tracker is another one, and knows nothing of it. Nobody waits: a topic
gives its newest picture only, each client of the outlet has a mailbox of its own, and a tip goes on as it comes.
"""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sonosteer.core.clock import Clock, RealClock
from sonosteer.core.errors import InputError, MissingExtraError
from sonosteer.core.geometry import Spacing
from sonosteer.core.wall_clock import WallClock
from sonosteer.sources.igtlink.address import IgtlAddress, parse_address
from sonosteer.sources.igtlink.outlet import Outlet
from sonosteer.sources.igtlink.publisher import check_publishable
from sonosteer.sources.igtlink.receiver import Receiver
from sonosteer.sources.igtlink.wire import image_content, make_message
from sonosteer.sources.metaimage import ORIENTATIONS
from sonosteer.sources.ros2.pictures import RosImage, RosImageError, pixels_of, stamp_s
from sonosteer.sources.ros2.poses import TipPose, pose_covariance, position_m, quaternion
from sonosteer.sources.ros2.tip_listener import TipListener

OLD_PICTURE_S = 0.5  # chosen: a client that comes later than this is not given a picture of before
SPIN_S = 0.05  # chosen: how often the bridge looks whether it is to end
MOST_ENCODINGS = 16  # chosen: a sender that makes them up does not fill the memory
SERVED_DEVICE = "Image"


@dataclass(frozen=True, slots=True, kw_only=True)
class BridgeConfig:
    """What is bridged. At least one of `image` and `tip` is given."""

    image: str | None = None
    """Topic of sensor_msgs/Image whose pictures are served. None: none are."""
    serve: str = "igtl://:18944?bind=127.0.0.1"
    """Address at which pictures are served. igtl://HOST:PORT connects to a server instead."""
    spacing: Spacing | None = None
    """Millimetres per pixel, which ROS does not say. None: it is sent as unknown."""
    orientation: str | None = None
    """Where x and y of the pictures point, as in MF. None: nobody says."""
    tip: str | None = None
    """Address at which `track --publish` or `insert --publish` says where the tip is. None: nothing is heard."""
    namespace: str = "sonosteer"
    """What the topics of the tip begin with."""
    image_frame: str = "ultrasound_image"
    """frame_id of poses in the picture."""
    reference_frame: str = "ultrasound_reference"
    """frame_id of poses in the tracked space."""

    def __post_init__(self) -> None:
        if self.image is None and self.tip is None:
            raise InputError(
                "nothing to bridge: give `image`, the topic of a sensor_msgs/Image, or `tip` igtl://HOST:PORT"
            )
        if self.image is None and (self.spacing is not None or self.orientation is not None):
            raise InputError("`spacing_mm` and `orientation` are of the pictures of a topic: give `image`, too")
        if self.orientation is not None and self.orientation.upper()[:2] not in ORIENTATIONS:
            raise InputError(f"`orientation` {self.orientation!r} is not known; MF, UF, MN, UN, FM and such are")


@dataclass(frozen=True, slots=True, eq=False)
class RosPicture:
    """A picture of a topic on its way."""

    pixels: NDArray[Any]
    """Grey levels or colours, no unit: (rows, columns) or (rows, columns, 3), uint8 or uint16."""
    stamp_s: float | None
    """When it was acquired by the sender's clock, s. None where it does not say."""
    frame_id: str
    """What the sender calls its coordinates."""
    came_s: float
    """When it was here, s on the bridge's clock."""


class PictureSide:
    """From `sensor_msgs/Image` to OpenIGTLink. Raises InputError if the port cannot be had."""

    def __init__(self, config: BridgeConfig, clock: Clock) -> None:
        address = parse_address(config.serve)
        check_publishable(address)
        self._config, self._clock = config, clock
        self._bad: Counter[str] = Counter()
        self._received = self._unstamped = 0
        self._outlet = Outlet(address, self.messages)

    def came(self, message: RosImage) -> None:
        """Take a message of the topic. One that is no picture is counted by its reason."""
        self._received += 1
        try:
            pixels = pixels_of(message)
        except RosImageError as e:
            reason = str(e)
            self._bad[reason if reason in self._bad or len(self._bad) < MOST_ENCODINGS else "(further reasons)"] += 1
            return
        said_s = stamp_s(message.header.stamp)
        self._unstamped += said_s is None
        self._outlet.put(RosPicture(pixels, said_s, message.header.frame_id, self._clock.now_s()))

    def messages(self, picture: RosPicture, number: int | None) -> list[bytes]:
        """What leaves for a client. Nothing, where the picture is older than OLD_PICTURE_S: none came since."""
        if self._clock.now_s() - picture.came_s > OLD_PICTURE_S:
            return []
        config = self._config
        spacing = None if config.spacing is None else (config.spacing.x_mm, config.spacing.y_mm)
        beside = {"frame_id": picture.frame_id}
        if config.orientation is not None:
            beside["UltrasoundImageOrientation"] = config.orientation.upper()
        content = image_content(picture.pixels, spacing, np.eye(4))
        metadata = None if number is None else beside
        return [
            make_message("IMAGE", SERVED_DEVICE, content, stamp_s=picture.stamp_s, number=number, metadata=metadata)
        ]

    def counts(self) -> dict[str, Any]:
        """The account up to now."""
        return {
            "received": self._received,
            "bad": dict(self._bad),
            "unstamped": self._unstamped,
            "served": asdict(self._outlet.counts()),
        }

    def close(self) -> None:
        """Let the clients go. May be called twice."""
        self._outlet.close()


class Ros2Bridge:
    """A node of ROS 2 that bridges. Use it as a context manager, or call `close`.

    Topics of the tip, below the namespace: `tip` and `tip_in_reference` (geometry_msgs/PoseWithCovarianceStamped) and
    `state` (std_msgs/String). Raises MissingExtraError without rclpy, InputError for a topic's name that is none and
    for a port that cannot be had.
    """

    def __init__(self, config: BridgeConfig, *, clock: Clock | None = None) -> None:
        self.config, self._clock = config, clock or RealClock()
        ros = _load_ros()
        self._poses_told = self._states_told = 0
        self._pictures: PictureSide | None = None
        self._listener: TipListener | None = None
        self._receiver: Receiver | None = None
        with contextlib.ExitStack() as opened:
            self._context = ros.Context()
            # None of its signal handlers: how a command ends is not ROS' to say
            ros.init(args=[], context=self._context, signal_handler_options=ros.NO_SIGNALS)
            opened.callback(self._context.try_shutdown)
            self._node = ros.create_node(
                "sonosteer_bridge", context=self._context, start_parameter_services=False, enable_rosout=False
            )
            opened.callback(self._node.destroy_node)
            self._executor = ros.Executor(context=self._context)
            self._executor.add_node(self._node)
            opened.callback(self._executor.shutdown)
            with _named(config):
                if config.image is not None:
                    self._pictures = PictureSide(config, self._clock)
                    opened.callback(self._pictures.close)
                    self._node.create_subscription(ros.Image, config.image, self._pictures.came, ros.newest)
                if config.tip is not None:
                    self._receiver = self._listen(parse_address(config.tip), ros)
                    opened.callback(self._receiver.close)
            self._opened = opened.pop_all()

    def _listen(self, address: IgtlAddress, ros: _Ros) -> Receiver:
        check_publishable(address)
        config = self.config
        below = config.namespace.rstrip("/")
        state = self._node.create_publisher(ros.String, f"{below}/state", ros.reliable)
        places = {
            name: (frame, self._node.create_publisher(ros.Pose, f"{below}/{topic}", ros.reliable))
            for name, frame, topic in (
                ("TipToImage", config.image_frame, "tip"),
                ("TipToReference", config.reference_frame, "tip_in_reference"),
            )
        }

        def tell_state(text: str, _: float | None) -> None:
            state.publish(ros.String(data=text))
            self._states_told += 1

        def tell_pose(pose: TipPose) -> None:
            frame, publisher = places[pose.name]
            publisher.publish(_pose_message(ros, pose, frame))
            self._poses_told += 1

        self._listener = TipListener(tell_state, tell_pose)
        return Receiver(address, self._listener, self._clock, WallClock(self._clock))

    def spin(self, *, seconds: float | None = None, progress: Callable[[int], None] = lambda done: None) -> None:
        """Bridge until seconds are over. None: without an end, until Ctrl-C. progress: told how many messages came."""
        began_s = time.monotonic()
        while seconds is None or time.monotonic() - began_s < seconds:
            self._executor.spin_once(timeout_sec=SPIN_S)
            if self._listener is not None:
                self._listener.look(self._clock.now_s())
            progress(self._states_told + (0 if self._pictures is None else self._pictures.counts()["received"]))

    def counts(self) -> dict[str, Any]:
        """The account of both sides, None for one that is not bridged."""
        pictures, listener = self._pictures, self._listener
        tip = None if listener is None else asdict(listener.counts())
        if tip is not None and self._receiver is not None:
            tip |= {"trouble": self._receiver.trouble, "told": {"states": self._states_told, "poses": self._poses_told}}
        return {"image": None if pictures is None else pictures.counts(), "tip": tip}

    def close(self) -> None:
        """Let go of both sides. May be called twice."""
        self._opened.close()

    def __enter__(self) -> Ros2Bridge:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


@dataclass(frozen=True, slots=True, eq=False)
class _Ros:
    """What is used of ROS 2."""

    Context: Any
    init: Any
    create_node: Any
    Executor: Any
    NO_SIGNALS: Any
    Image: Any
    Pose: Any
    String: Any
    Time: Any
    newest: Any
    reliable: Any


def _load_ros() -> _Ros:
    """Import ROS 2. Raises MissingExtraError where it is absent, InputError where it cannot be loaded."""
    try:
        import rclpy
        from builtin_interfaces.msg import Time
        from geometry_msgs.msg import PoseWithCovarianceStamped
        from rclpy.executors import SingleThreadedExecutor
        from rclpy.qos import QoSProfile, ReliabilityPolicy
        from rclpy.signals import SignalHandlerOptions
        from sensor_msgs.msg import Image
        from std_msgs.msg import String
    except ModuleNotFoundError as e:
        raise MissingExtraError("the ROS 2 bridge", e.name or "rclpy", "live,ros2") from None
    except ImportError as e:  # a part of it is there, and a library of it is not
        why = str(e).splitlines()[0]
        raise InputError(
            f"ROS 2 cannot be loaded ({why}): pip install 'sonosteer[live,ros2]', or source its setup.bash"
        ) from None
    return _Ros(
        Context=rclpy.Context,
        init=rclpy.init,
        create_node=rclpy.create_node,
        Executor=SingleThreadedExecutor,
        NO_SIGNALS=SignalHandlerOptions.NO,
        Image=Image,
        Pose=PoseWithCovarianceStamped,
        String=String,
        Time=Time,
        newest=QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT),
        reliable=QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE),
    )


@contextlib.contextmanager
def _named(config: BridgeConfig) -> Iterator[None]:
    """Turn what ROS says of a topic's name into one line."""
    try:
        yield
    except Exception as e:
        if "invalid" in type(e).__name__.lower():
            names = " and ".join(filter(None, (config.image, config.namespace)))
            raise InputError(f"ROS 2 takes no topic of such a name, {names}: {str(e).splitlines()[0]}") from None
        raise


def _pose_message(ros: _Ros, pose: TipPose, frame: str) -> Any:
    message = ros.Pose()
    message.header.frame_id = frame
    if pose.stamp_s is not None:  # 0 says that nobody knows
        sec, nanosec = divmod(round(pose.stamp_s * 1e9), 10**9)
        message.header.stamp = ros.Time(sec=sec, nanosec=nanosec)
    place, turn = message.pose.pose.position, message.pose.pose.orientation
    place.x, place.y, place.z = position_m(pose.T)
    turn.x, turn.y, turn.z, turn.w = quaternion(pose.T)
    message.pose.covariance = pose_covariance(pose).ravel()
    return message
