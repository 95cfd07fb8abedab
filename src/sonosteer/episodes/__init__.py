"""One episode: a scene, a tracker, a decider and a rig, put together once and run to the end."""
