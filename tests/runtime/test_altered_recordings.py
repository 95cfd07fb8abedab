"""Some forty ways to alter a recording, each found: bits, cuts, messages, and the chain made anew.

What somebody does who computes the chain anew is found if anything in the recording disagrees. All of it is found by
the digest that the run said.
"""

import base64
import json
import struct

import numpy as np
import pytest
from fake_rig import HINT, SPACING, TASK, Fake, FakeTracker, Scripted, act, push

from altering import Written, counted, put_together, taken_apart
from sonosteer.recording.pictures import to_png
from sonosteer.recording.run_log import RunLog
from sonosteer.recording.run_reader import AlteredRecordingError, RunReader
from sonosteer.runtime.insertion import Pace
from sonosteer.runtime.replay import ExpectedDigest, Replay, what_is_wrong
from sonosteer.safety.gate import Gate
from sonosteer.safety.limits import Limits

PACE = Pace(longest_s=0.8)
LAST_S = PACE.longest_s - 0.05


def recorded_run(path, say=push):
    with RunLog(path, {"limits": Limits(), "seed": 1}, live=False) as log:
        done = Fake(say, recorder=log).run(PACE)
        log.write("/ledger", done.time_s, done.ledger.counts())
        log.close(done.ended)
    return log.digest


@pytest.fixture(scope="module")
def honest(tmp_path_factory):
    """(recording, its digest, the recording of another run)."""
    folder = tmp_path_factory.mktemp("honest")
    digest = recorded_run(folder / "run.mcap")
    recorded_run(folder / "other.mcap", lambda k, seen: act(seen, 5.0))
    return folder / "run.mcap", digest, folder / "other.mcap"


def judged(path, digest=None):
    """(what is wrong, up to when it is equal)."""
    try:
        recorded = RunReader(path)
    except AlteredRecordingError as e:
        return [str(e)], 0.0
    done = Replay(FakeTracker(), Scripted(push), Gate(task_spacing=SPACING), TASK, HINT).run(recorded)
    return what_is_wrong(recorded, done, None if digest is None else ExpectedDigest(digest, "--digest"))


def nth(messages, topic, n=5):
    return [k for k, m in enumerate(messages) if m.topic == topic][n]


def edited(messages, topic, edit, n=5):
    """The n-th message of a topic says something else. edit: changes a dictionary."""
    k = nth(messages, topic, n)
    said = json.loads(messages[k].data)
    edit(said)
    changed = Written(topic, messages[k].number, messages[k].log_ns, json.dumps(said, separators=(",", ":")).encode())
    return [*messages[:k], changed, *messages[k + 1 :]]


def without(messages, keep):
    return [m for k, m in enumerate(messages) if keep(k, m)]


def swapped(messages, i, j):
    out = list(messages)
    out[i], out[j] = out[j], out[i]
    return out


def another_picture(said):
    said["data"] = base64.b64encode(to_png(np.zeros((64, 64), np.uint8))).decode()


def moved_encoder(said):
    said["robot_state"]["depth_mm"] += 20.0


def moved_encoder_of_decision(said):
    said["observation"]["robot_state"]["probe_mm"][0] += 20.0


def moved_tip(said):
    said["estimate"]["tip_px"][0] += 1.0


def faster(said):
    said["action"]["command"]["insertion_speed_mm_s"] = 24.0


def cleared_more(said):
    said["verdict"]["command"]["insertion_speed_mm_s"] = 24.0


def looser(said):
    said["configuration"]["limits"]["depth_mm"] = 500.0


def other_seed(said):
    said["configuration"]["seed"] = 2


def other_end(said):
    said["ended"] = "stopped by the policy"


def renamed(messages, was, becomes):
    return [Written(becomes if m.topic == was else m.topic, m.number, m.log_ns, m.data) for m in messages]


def with_message_of(messages, other, topic):
    k, there = nth(messages, topic), other[nth(other, topic)]
    return [*messages[:k], Written(topic, messages[k].number, messages[k].log_ns, there.data), *messages[k + 1 :]]


def spliced(messages, other):
    half = len(messages) // 2
    return [*messages[:half], *other[half:]]


def later(messages, n=40):
    m = messages[n]
    return [*messages[:n], Written(m.topic, m.number, m.log_ns + 1, m.data), *messages[n + 1 :]]


#: name -> (messages, messages of another run) -> messages. Whoever does it leaves the chain as it was
EDITS = {
    "an encoder reading of a control period": lambda m, o: edited(m, "/tick", moved_encoder),
    "an encoder reading of a decision": lambda m, o: edited(m, "/decision", moved_encoder_of_decision),
    "a tip": lambda m, o: edited(m, "/estimate", moved_tip),
    "an action": lambda m, o: edited(m, "/decision", faster),
    "what the gate cleared": lambda m, o: edited(m, "/tick", cleared_more, n=40),
    "a picture": lambda m, o: edited(m, "/frames", another_picture),
    "a fault that was known": lambda m, o: edited(m, "/tick", lambda said: said.update(faults=["disk full"])),
    "a stop that was pressed": lambda m, o: edited(m, "/tick", lambda said: said.update(stop="pressed")),
    "a pause": lambda m, o: edited(m, "/tick", lambda said: said.update(hold="paused"), n=40),
    "a scale that was told": lambda m, o: edited(m, "/tick", lambda said: said.update(spacing=None), n=40),
    "a scale that is not told": lambda m, o: edited(m, "/tick", lambda said: said.pop("spacing"), n=40),
    "whose action it was": lambda m, o: edited(m, "/tick", lambda said: said.update(by_hand=True), n=40),
    "an outcome of a frame": lambda m, o: edited(m, "/frame", lambda said: said.update(outcome="late")),
    "the limits": lambda m, o: edited(m, "/configuration", looser, n=0),
    "the configuration": lambda m, o: edited(m, "/configuration", other_seed, n=0),
    "the versions": lambda m, o: edited(m, "/configuration", lambda s: s.update(versions={}), n=0),
    "why it ended": lambda m, o: edited(m, "/end", other_end, n=0),
    "the ledger": lambda m, o: edited(m, "/ledger", lambda said: said.update(late=0, captured=0), n=0),
    "a time": lambda m, o: later(m),
    "all control periods are gone": lambda m, o: without(m, lambda k, w: w.topic != "/tick"),
    "all decisions are gone": lambda m, o: without(m, lambda k, w: w.topic != "/decision"),
    "all estimates are gone": lambda m, o: without(m, lambda k, w: w.topic != "/estimate"),
    "all pictures are gone": lambda m, o: without(m, lambda k, w: w.topic != "/frames"),
    "all events are gone": lambda m, o: without(m, lambda k, w: w.topic != "/event"),
    "the ledger is gone": lambda m, o: without(m, lambda k, w: w.topic != "/ledger"),
    "one control period is gone": lambda m, o: without(m, lambda k, w: k != nth(m, "/tick", 20)),
    "its beginning is gone": lambda m, o: m[1:],
    "its end is gone": lambda m, o: m[:-1],
    "its last quarter is gone": lambda m, o: m[: len(m) * 3 // 4],
    "a message twice": lambda m, o: [*m[:30], m[30], *m[30:]],
    "two messages in another order": lambda m, o: swapped(m, 30, 31),
    "in another order of topics": lambda m, o: sorted(m, key=lambda w: w.topic),
    "a message of another run": lambda m, o: with_message_of(m, o, "/decision"),
    "the second half of another run": spliced,
    "a topic by another name": lambda m, o: renamed(m, "/decision", "/tick2"),
    "a foreign message at its end": lambda m, o: [*m[:-1], Written("/event", m[-1].number, m[-1].log_ns, b"{}"), m[-1]],
}
#: not told from another run's if the chain is made anew and the counts are right, since nothing else depends on them
BY_DIGEST_ONLY = {
    *("the limits", "the configuration", "the versions", "why it ended", "the ledger", "the ledger is gone", "a time"),
    *("an encoder reading of a control period", "one control period is gone", "a foreign message at its end"),
    *("a message twice", "two messages in another order", "whose action it was"),
}
#: where nothing that is decided comes behind
AT_THE_END = {"its end is gone", "why it ended", "the ledger", "the ledger is gone", "a foreign message at its end"}


def test_a_recording_that_nobody_touched_is_equal(honest):
    path, digest, _ = honest
    assert judged(path) == ([], pytest.approx(PACE.longest_s, abs=0.02))
    assert judged(path, digest)[0] == []


@pytest.mark.parametrize("name", EDITS)
def test_what_was_altered_is_found_by_the_chain(tmp_path, honest, name):
    path, _, other = honest
    put_together(tmp_path / "run.mcap", EDITS[name](taken_apart(path), taken_apart(other)))
    wrong, until_s = judged(tmp_path / "run.mcap")
    assert wrong
    assert until_s < LAST_S or name in AT_THE_END


@pytest.mark.parametrize("name", EDITS)
def test_a_chain_that_was_made_anew_is_found_by_the_digest(tmp_path, honest, name):
    path, digest, other = honest
    changed = EDITS[name](taken_apart(path), taken_apart(other))
    if changed[-1].topic == "/end":
        changed = counted(changed)
    put_together(tmp_path / "run.mcap", changed, chained=True)
    wrong, until_s = judged(tmp_path / "run.mcap", digest)
    assert wrong
    assert until_s < LAST_S or name in AT_THE_END
    assert judged(tmp_path / "run.mcap")[0] or name in BY_DIGEST_ONLY


def test_the_recording_of_another_run_is_found_by_the_digest(honest):
    _, digest, other = honest
    assert "it is not the recording of its run" in " ".join(judged(other, digest)[0])


@pytest.mark.parametrize("where", np.linspace(0.001, 0.999, 25))
def test_one_flipped_bit_is_found_wherever_it_is(tmp_path, honest, where):
    whole = bytearray(honest[0].read_bytes())
    at = int(where * len(whole))
    whole[at] ^= 1 << (at % 8)
    (tmp_path / "run.mcap").write_bytes(whole)
    wrong, _ = judged(tmp_path / "run.mcap")
    assert wrong


def test_one_flipped_bit_in_each_part_of_the_index_is_found(tmp_path, honest):
    whole = honest[0].read_bytes()
    (summary,) = struct.unpack("<Q", whole[-28:-20])
    for at in (*range(summary, len(whole), 97), *range(len(whole) - 40, len(whole))):
        changed = bytearray(whole)
        changed[at] ^= 1 << (at % 8)
        (tmp_path / "run.mcap").write_bytes(changed)
        assert not RunReader(tmp_path / "run.mcap").complete


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.9999])
def test_a_cut_recording_is_equal_up_to_its_end(tmp_path, honest, share):
    whole = honest[0].read_bytes()
    (tmp_path / "run.mcap").write_bytes(whole[: int(len(whole) * share)])
    wrong, until_s = judged(tmp_path / "run.mcap")
    assert wrong[0].startswith("it was cut off at byte ") or "before anything was recorded" in wrong[0]
    if len(wrong) == 1 and wrong[0].startswith("it was"):
        assert until_s == RunReader(tmp_path / "run.mcap").until_s
