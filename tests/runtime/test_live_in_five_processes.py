"""One insertion in five processes, over the wire, in real time. A busy machine may hold it for its lateness."""

import pytest

from sonosteer.episodes.insertion import InsertionConfig, build_episode
from sonosteer.recording.run_reader import RunReader
from sonosteer.testing.live_insertion.bench import capture_to_order_s, live_trial
from sonosteer.testing.live_insertion.scanner import follow

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
def test_a_dry_run_through_all_of_it_moves_nothing(tmp_path):
    trial = live_trial(1, tmp_path, dry_run=True, **QUICK)
    assert trial.replayed
    assert trial.moved_mm == 0.0
    assert trial.summary["dry_run"] is True
    assert set(trial.summary["held_because"]) <= {"held", "robot", "stopped"}


def test_a_needle_that_follows_encoders_is_where_they_say_and_stays_there():
    """The world's own motors do nothing: encoders alone say where the needle is."""
    world = build_episode(InsertionConfig(policy="constant", tracker="lk", seed=3)).world
    rig = world.rig
    to = {
        "depth_mm": rig.depth_mm + 2.0,
        "angle_rad": rig.insertion_angle_rad + 0.01,
        "roll_rad": rig.roll_rad,
        "probe_mm": [0.5, 0.0, 0.0],
        "speed_mm_s": 20.0,
    }
    follow(world, to, 0.1)
    for _ in range(3):
        at = (world.rig.depth_mm, world.rig.insertion_angle_rad, world.rig.probe_mm[0])
        assert at == pytest.approx((to["depth_mm"], to["angle_rad"], 0.5))
        assert world.plant.state.inserted_mm == pytest.approx(to["depth_mm"], abs=1.0)
        follow(world, to, 0.05)
    assert world.time_s == pytest.approx(0.25)
