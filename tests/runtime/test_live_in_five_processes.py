"""One insertion in five processes, over the wire, in real time. A busy machine may hold it for its lateness."""

import pytest

from sonosteer.recording.run_reader import RunReader
from sonosteer.testing.live_insertion.bench import capture_to_order_s, live_trial
from sonosteer.testing.live_insertion.robot import GuideModel

#: why a run on a machine that is too busy may be held
LATE = {"action age", "estimate age", "time since the action expired", "fault", "robot", "stopped", "robot fault"}
QUICK = {"policy": "visibility", "rate_hz": 10.0}


@pytest.mark.slow
def test_a_needle_is_inserted_through_scanner_link_robot_and_encoders(tmp_path):
    trial = live_trial(1, tmp_path, **QUICK)
    assert trial.replayed
    assert trial.moved_mm > 1.0
    assert trial.success or LATE & set(trial.summary["held_because"])
    assert min(trial.orders_ms) > 0.0
    recorded = RunReader(tmp_path / "run" / "recording.mcap")
    assert recorded.configuration["live"]["rig_toml"].startswith('format = "sonosteer rig"')
    assert recorded.counts["/source"] > 1
    for message in recorded.messages("/decision"):
        seen = message.what["observation"]
        assert seen.robot_state.time_s == pytest.approx(seen.capture_time_s, abs=1e-9)
    assert len(list(capture_to_order_s(recorded))) == len(trial.orders_ms)


@pytest.mark.slow
def test_the_same_through_the_controller_of_an_arm(tmp_path):
    trial = live_trial(1, tmp_path, robot_kind="ur", **QUICK)
    assert trial.replayed
    assert trial.success or LATE & set(trial.summary["held_because"])
    recorded = RunReader(tmp_path / "run" / "recording.mcap")
    assert 'kind = "ur"' in recorded.configuration["live"]["rig_toml"]


@pytest.mark.slow
def test_a_dry_run_through_all_of_it_moves_nothing(tmp_path):
    trial = live_trial(1, tmp_path, dry_run=True, **QUICK)
    assert trial.replayed
    assert trial.moved_mm == 0.0
    assert trial.summary["dry_run"] is True
    assert set(trial.summary["held_because"]) <= {"held", "robot", "stopped"}


def test_a_guide_stands_once_its_order_has_expired_and_at_a_hold():
    guide = GuideModel(0.5, 0.0)
    guide.take({"turn": [0.6, 0.0], "probe": [10.0, 0.0, 0.0], "lasts_s": 0.1})
    for _ in range(300):
        guide.advance(0.001)
    assert guide.angle_rad == pytest.approx(0.55, abs=0.001)
    assert guide.probe_mm == pytest.approx((1.0, 0.0, 0.0), abs=0.02)
    guide.take({"turn": [0.6, 0.0], "probe": [10.0, 0.0, 0.0], "lasts_s": 0.1})
    guide.take({"hold": "somebody said so"})
    before = guide.probe_mm
    guide.advance(0.001)
    assert guide.probe_mm == before
