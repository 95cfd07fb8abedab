"""An adversary of the safety gate, and the laws that it tries to break.

`plan` says what it does, `stage` plays that with the real runtime over the simulated rig, `laws` judge the true needle,
`search` looks for the plan that comes nearest to a bound. Nothing here knows how the gate decides.
"""
