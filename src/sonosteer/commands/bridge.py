"""`sonosteer bridge ros2`: pictures of a ROS 2 topic in, the tip as topics out, in a process of its own."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from sonosteer.commands import parsing, terminal
from sonosteer.commands.names import PageCommand
from sonosteer.commands.parsing import AsJson, SpacingText
from sonosteer.core.errors import InputError

app = typer.Typer(add_completion=False, rich_markup_mode=None)
BRIDGES = ("ros2",)


@app.command(
    cls=PageCommand,
    epilog="Example: sonosteer bridge ros2 --image /us/image --spacing-mm 0.1 --tip igtl://localhost:18950",
)
def bridge_command(
    name: Annotated[str, typer.Argument(metavar="ros2", help="What is bridged to OpenIGTLink: ros2.")],
    image: Annotated[
        str | None,
        typer.Option("--image", metavar="TOPIC", help="Topic of sensor_msgs/Image whose newest picture is served."),
    ] = None,
    serve: Annotated[
        str,
        typer.Option(
            "--serve", metavar="igtl://:PORT", help="Where pictures are served, for sonosteer track igtl://..."
        ),
    ] = "igtl://:18944?bind=127.0.0.1",
    spacing_mm: SpacingText = None,
    orientation: Annotated[
        str | None,
        typer.Option("--orientation", metavar="MF|UF|...", help="Where x and y of the pictures point. As for track."),
    ] = None,
    tip: Annotated[
        str | None,
        typer.Option("--tip", metavar="igtl://HOST:PORT", help="Where track or insert --publish say the tip."),
    ] = None,
    namespace: Annotated[
        str,
        typer.Option("--namespace", metavar="NAME", help="What the topics tip, tip_in_reference and state begin with."),
    ] = "sonosteer",
    image_frame: Annotated[
        str, typer.Option("--image-frame", metavar="NAME", help="frame_id of the tip in the picture.")
    ] = "ultrasound_image",
    reference_frame: Annotated[
        str, typer.Option("--reference-frame", metavar="NAME", help="frame_id of the tip in the tracked space.")
    ] = "ultrasound_reference",
    seconds: Annotated[
        float | None, typer.Option("--seconds", metavar="S", help="How long to bridge. Without it until Ctrl-C.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Bridge ROS 2 and OpenIGTLink, in a process beside that of track or insert.

    Pictures of a topic are served over OpenIGTLink. A published tip becomes a pose with covariance, and its state a
    text. A lost tip has no pose. Needs rclpy: of an installed ROS 2, or from wheels with pip install
    'sonosteer[live,ros2]' in an environment of its own (260 MB).
    """
    from sonosteer.sources.ros2.bridge import BridgeConfig, Ros2Bridge

    if name not in BRIDGES:
        raise InputError(f"there is no bridge {name!r}; there is: {', '.join(BRIDGES)}")
    seconds = parsing.parse_seconds(seconds)
    config = BridgeConfig(
        image=image,
        serve=serve,
        spacing=parsing.parse_spacing(spacing_mm),
        orientation=orientation,
        tip=tip,
        namespace=namespace,
        image_frame=image_frame,
        reference_frame=reference_frame,
    )
    with Ros2Bridge(config) as bridge:
        _say_begin(config.image, config.serve, config.tip)
        try:
            with (
                terminal.interruptible("nothing is bridged any more"),
                terminal.shown_progress("bridging", quiet=as_json) as progress,
            ):
                bridge.spin(seconds=seconds, progress=lambda done: progress("messages", done, 0))
        finally:
            _tell(bridge.counts(), as_json=as_json)


def _say_begin(image: str | None, serve: str, tip: str | None) -> None:
    for line in (
        None if image is None else f"pictures of {image} are served at {serve}",
        None if tip is None else f"listening to {tip} for the tip",
    ):
        if line is not None:
            print(f"sonosteer: {line}", file=sys.stderr, flush=True)


def _tell(counts: Mapping[str, Any], *, as_json: bool) -> None:
    if as_json:
        terminal.print_json(counts)
        return
    image, tip = counts["image"], counts["tip"]
    if image is not None:
        bad, served = sum(image["bad"].values()), _served(image)
        print(f"pictures: {image['received']} received, {bad} bad, {image['unstamped']} without a time; {served}")
        for reason, count in image["bad"].items():
            print(f"bad: {count} x {reason}")
    if tip is not None:
        print(f"tip: {tip['told']['poses']} poses and {tip['told']['states']} states went on as topics")
        for reason, count in (tip["bad"] | tip["faults"]).items():
            print(f"fault: {count} x {reason}")


def _served(image: Mapping[str, Any]) -> str:
    served = image["served"]
    return f"{served['sent']} sent to {served['clients']} clients, {served['overwritten']} overwritten by newer ones"
