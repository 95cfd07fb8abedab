"""Recordings in Foxglove: the schemas that bear its names are its own, and the layout names only what there is."""

import importlib
import json
import re
from functools import cache
from pathlib import Path

import pytest
from mcap.reader import make_reader

from sonosteer.core.types import Lost, TipEstimate, Track
from sonosteer.recording.annotations import annotations_of
from sonosteer.recording.run_log import RunLog
from sonosteer.recording.run_topics import TOPICS, schema_of

ROOT = Path(__file__).resolve().parents[2]
LAYOUT = json.loads((ROOT / "docs/how-to/foxglove-layout.json").read_text(encoding="utf-8"))
FOREIGN = {topic: name for topic, (name, _) in TOPICS.items() if name.startswith("foxglove.")}
#: fields of ours beside theirs, which Foxglove passes over
OURS = {"/frames": {"index", "log_s"}, "/annotations": {"log_s"}}
#: fields of theirs that may be absent: they came later, and the app takes messages without them
OPTIONAL = {"metadata", "ImageAnnotations.timestamp"}


def descriptor_of(name):
    pytest.importorskip("foxglove_schemas_protobuf", reason="pip install foxglove-schemas-protobuf")
    kind = name.removeprefix("foxglove.")
    module = importlib.import_module(f"foxglove_schemas_protobuf.{kind}_pb2")
    return getattr(module, kind).DESCRIPTOR


def json_type(field):
    """How Foxglove's JSON has a field: names as in the protobuf, times as sec and nsec, bytes as base64."""
    if field.message_type is not None:
        return "object"
    if field.enum_type is not None:
        return "integer"
    kinds = {field.TYPE_DOUBLE: "number", field.TYPE_FLOAT: "number", field.TYPE_STRING: "string"}
    return (kinds | {field.TYPE_BYTES: "string", field.TYPE_BOOL: "boolean"}).get(field.type, "integer")


def compare(schema, descriptor, ours=frozenset()):
    """Return what differs between a JSON schema of ours and a message of Foxglove."""
    if descriptor.full_name == "google.protobuf.Timestamp":
        return [] if set(schema["properties"]) == {"sec", "nsec"} else ["a time that is none"]
    theirs = {f.name: f for f in descriptor.fields}
    wrong = [f"{descriptor.name}.{n} is no field" for n in set(schema["properties"]) - set(theirs) - ours]
    for name, field in theirs.items():
        told = schema["properties"].get(name)
        if told is None:
            if not {name, f"{descriptor.name}.{name}"} & OPTIONAL:
                wrong.append(f"{descriptor.name}.{name} is not there")
            continue
        if field.is_repeated != (told["type"] == "array"):
            wrong.append(f"{descriptor.name}.{name} is a list on one side only")
            continue
        item = told["items"] if field.is_repeated else told
        if item["type"] != json_type(field):
            wrong.append(f"{descriptor.name}.{name} is {item['type']}, not {json_type(field)}")
        elif field.message_type is not None:
            wrong += compare(item, field.message_type)
        elif field.type == field.TYPE_BYTES and item.get("contentEncoding") != "base64":
            wrong.append(f"{descriptor.name}.{name} is not base64")
    return wrong


@pytest.mark.parametrize("topic", FOREIGN)
def test_a_schema_that_bears_foxgloves_name_is_foxgloves(topic):
    name, schema = schema_of(topic)
    assert compare(json.loads(schema), descriptor_of(name), OURS[topic]) == []


def test_the_comparison_notices_a_wrong_field():
    schema = json.loads(schema_of("/annotations")[1])
    circle = schema["properties"]["circles"]["items"]["properties"]
    del circle["diameter"]
    circle["position"]["properties"]["x"] = {"type": "string"}
    circle["colour"] = {"type": "string"}
    assert sorted(compare(schema, descriptor_of("foxglove.ImageAnnotations"), {"log_s"})) == [
        "CircleAnnotation.colour is no field",
        "CircleAnnotation.diameter is not there",
        "Point2.x is string, not number",
    ]


def tip(**fields):
    return TipEstimate(
        **{
            "frame_index": 3,
            "time_s": 0.1,
            "tip_px": (10.0, 20.0),
            "angle_rad": 0.5,
            "covariance_mm2": None,
            "confidence": None,
            "state": Track.TRACKING,
            "entry_px": (0.0, 5.0),
        }
        | fields
    )


def test_a_tip_is_drawn_where_foxglove_has_its_pixel():
    """The middle of the first pixel is (0, 0) for us and (0.5, 0.5) for Foxglove."""
    drawn = annotations_of(tip(), {"sec": 1, "nsec": 2})
    assert drawn["circles"][0]["position"] == {"x": 10.5, "y": 20.5}
    assert drawn["points"][0]["points"] == [{"x": 0.5, "y": 5.5}, {"x": 10.5, "y": 20.5}]
    assert [t["text"] for t in drawn["texts"]] == ["tracking"]
    curved = annotations_of(tip(shaft_px=((0.0, 0.0), (1.0, 2.0), (3.0, 3.0))), {"sec": 1, "nsec": 2})
    assert len(curved["points"][0]["points"]) == 3
    coasting = annotations_of(tip(state=Track.COASTING), {"sec": 1, "nsec": 2})
    assert coasting["circles"][0]["outline_color"] != drawn["circles"][0]["outline_color"]


def test_a_lost_tip_leaves_nothing_of_it_on_the_picture():
    drawn = annotations_of(Lost(3, 0.1, "no shaft"), {"sec": 1, "nsec": 2})
    assert drawn["circles"] == drawn["points"] == []
    assert [t["text"] for t in drawn["texts"]] == ["lost: no shaft"]


# -- the layout ------------------------------------------------------------------------------------------------------


def panels(node):
    return [node] if isinstance(node, str) else panels(node["first"]) + panels(node["second"])


def named_paths():
    for config in LAYOUT["configById"].values():
        yield from (p["value"] for p in config.get("paths", []))
        if "topicPath" in config:
            yield config["topicPath"]
        if "imageMode" in config:
            yield config["imageMode"]["imageTopic"]
            yield from config["imageMode"]["annotations"]


def steps_of(path):
    """Topic, and the steps below it. A function such as .@degrees is none."""
    topic, _, rest = path.partition(".")
    return topic, re.findall(r"[A-Za-z_]\w*|\[\d+\]", re.sub(r"\.@\w+", "", rest))


def value_at(message, steps):
    for step in steps:
        try:
            message = message[int(step[1:-1])] if step.startswith("[") else message[step]
        except (KeyError, IndexError, TypeError):
            return None
    return message


def test_every_panel_of_the_layout_has_its_place_and_its_settings():
    placed = panels(LAYOUT["layout"])
    assert sorted(placed) == sorted(LAYOUT["configById"])
    assert {p.partition("!")[0] for p in placed} == {"Image", "Plot", "StateTransitions", "RawMessages"}


@pytest.mark.parametrize("path", sorted(set(named_paths())))
def test_a_field_that_the_layout_names_is_in_the_schema_of_its_topic(path):
    topic, steps = steps_of(path)
    assert topic in TOPICS
    schema = json.loads(schema_of(topic)[1])
    for step in steps:
        schema = schema["items"] if step.startswith("[") else schema["properties"][step]
    if steps:
        assert schema["type"] in ("number", "integer", "string", "boolean")


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """Messages of a simulated insertion with a gate that also refuses, by topic, as Foxglove reads them."""
    from sonosteer.episodes.insertion import InsertionConfig, build_episode, run_episode
    from sonosteer.runtime.insertion import Pace

    path = tmp_path_factory.mktemp("run") / "recording.mcap"
    config = InsertionConfig(policy="visibility", seed=3, tracker="kf+f", pace=Pace(longest_s=4.0))
    episode = build_episode(config)
    episode.tracker.prepare()
    with RunLog(path, {}, live=False) as log:
        run_episode(episode, recorder=log)
        log.write("/event", 4.0, {"text": "the end"})
        log.write("/tick", 4.0, {"stop": "pressed", "hold": "paused", "verdict": {"_type": "Refused", "rule": "r"}})
    found = {}
    with path.open("rb") as file:
        for schema, channel, message in make_reader(file).iter_messages():
            assert (channel.message_encoding, schema.encoding) == ("json", "jsonschema")
            found.setdefault(channel.topic, []).append(json.loads(message.data))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("path", sorted(set(named_paths())))
def test_a_recording_has_a_value_for_every_path_of_the_layout(recorded, path):
    topic, steps = steps_of(path)
    values = [value_at(m, steps) for m in recorded[topic]]
    assert any(v is not None for v in values)


@cache
def _validator(topic):
    return pytest.importorskip("jsonschema").Draft202012Validator(json.loads(schema_of(topic)[1]))


@pytest.mark.slow
def test_what_is_drawn_keeps_its_schema_and_follows_each_estimate(recorded):
    for message in recorded["/annotations"]:
        _validator("/annotations").validate(message)
    assert len(recorded["/annotations"]) == len(recorded["/estimate"])
    for drawn, said in zip(recorded["/annotations"], recorded["/estimate"], strict=True):
        assert bool(drawn["circles"]) == (said["estimate"]["_type"] == "TipEstimate")
        assert drawn["log_s"] == said["log_s"]
