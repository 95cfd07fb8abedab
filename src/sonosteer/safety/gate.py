"""The gate: the only way from a decision to a robot. It denies by default. Each refusal has one reason in one line.

`clear` is asked once every tick of the control loop, with the newest action, whether that is new or not. So nothing
moves longer than `Limits.order_s` after the loop, the policy, the tracker or the camera has fallen silent. A refusal
means hold. The gate has no clock and no chance, and all its memory is in `GateState`: the same inputs give the same
answers again. Whatever it is told, it answers: what it cannot read is refused.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from sonosteer.core.errors import InputError
from sonosteer.core.geometry import Spacing
from sonosteer.core.types import Action, Command
from sonosteer.safety import rules
from sonosteer.safety.bounds import bounded, stay
from sonosteer.safety.cleared import Cleared, make_cleared
from sonosteer.safety.gate_input import GateInput, Refused, no, tip_of, usable
from sonosteer.safety.limits import Limits
from sonosteer.safety.memory import EXACT, Memory, note, ordered, wiggled
from sonosteer.safety.orders import NO_DRIFTS, contradiction, measured_mm_s
from sonosteer.safety.regions import Covariance, Region
from sonosteer.safety.rules import Answers, Reach
from sonosteer.safety.stop import Stop, check_release, latch

__all__ = ["Cleared", "Gate", "GateInput", "GateState", "Refused"]


@dataclass(frozen=True, slots=True)
class GateState:
    """All that the gate remembers from one tick to the next."""

    time_s: float
    """When the last tick was, s on the run's clock."""
    command: Command | None = None
    """What is being carried out until it expires, None for hold."""
    frame: int | None = None
    """Index of the frame of the newest action that was cleared, None before the first."""
    memory: Memory = field(default_factory=Memory)
    """What was seen of the tip, read from the encoders and ordered."""
    stop: Stop | None = None
    """The stop that is latched, None while there is none."""


@dataclass(frozen=True, slots=True)
class Gate:
    """Clears or refuses what a policy wants."""

    limits: Limits = field(default_factory=Limits)
    """Every number that commands are held to."""
    regions: tuple[Region, ...] = ()
    """Regions of tissue that the needle must not enter."""
    task_spacing: Spacing | None = None
    """Scale in which regions and task were drawn, mm per pixel. None where any scale will do."""
    calibration_mm2: Covariance = EXACT
    """Error of the image's calibration: xx, xy and yy of its covariance, mm^2. It adds to every tip's."""
    shows_depth: bool = True
    """False where pictures stand across the needle. They do not show how deep it is, so that encoders alone say it."""

    def start(self, now_s: float) -> GateState:
        """Return the state at rest, with nothing known. The first tick is due within `Limits.heartbeat_s`."""
        if not usable(now_s):
            raise InputError(f"the gate cannot start at {now_s} s")
        return GateState(now_s)

    def clear(
        self, state: GateState, action: Action | None, gate_input: GateInput
    ) -> tuple[GateState, Cleared | Refused]:
        """Take one tick. Returns the next state, and a cleared command or the reason why there is none."""
        if not isinstance(gate_input, GateInput):
            return replace(state, command=None), no("number", f"the gate was told {type(gate_input).__name__}")
        if not isinstance(action, Action) or not isinstance(action.command, Command):
            action = None
        stops = action is not None and isinstance(action.command.stop, bool) and action.command.stop
        now = self._tick(state, gate_input, ended=stops)
        try:
            now = self._noted(state, now, gate_input)
            if action is not None and stops:
                return now, _stand(now, action, now.time_s + self.limits.order_s)
            return self._decided(state, now, action, gate_input)
        except Exception as e:  # noqa: BLE001  junk is refused, never raised: nothing moves on it
            return now, no("number", f"what the gate was told cannot be read: {type(e).__name__}: {e}")

    def release(self, state: GateState, by: str, now_s: float) -> GateState:
        """Take back a latched stop. Raises InputError for anybody but the operator, and once the procedure is over."""
        if state.stop is None:
            return state
        check_release(state.stop, by, now_s, state.time_s)
        memory = state.memory
        if state.stop.kind == "encoders":  # they are believed from here on
            memory = replace(memory, drifts=NO_DRIFTS, turns=(), anchor=None)
        return replace(state, time_s=now_s, command=None, memory=memory, stop=None)

    def _tick(self, state: GateState, gate_input: GateInput, ended: bool) -> GateState:
        """Return the state at hold, with what this tick adds to memory, and with a stop if it stops anything."""
        told = usable(gate_input.now_s) and gate_input.now_s >= state.time_s
        at_s = gate_input.now_s if told else state.time_s
        gap_s, longest_s = at_s - state.time_s, self.limits.heartbeat_s
        stop = state.stop
        if not gap_s <= longest_s:
            stop = latch(stop, Stop("heartbeat", f"no tick for {gap_s:.3g} s; {longest_s:g} s are allowed", at_s))
        if gate_input.stop is not None:
            said = gate_input.stop if isinstance(gate_input.stop, str) else "for no reason in words"
            stop = latch(stop, Stop("operator", said, at_s))
        if ended:
            stop = latch(stop, Stop("ended", "the policy says that the procedure is over", at_s))
        return replace(state, time_s=at_s, command=None, stop=stop)

    def _noted(self, before: GateState, now: GateState, gate_input: GateInput) -> GateState:
        """Return the state with what this tick adds to memory. Encoders that contradict the orders stop it."""
        if now.time_s != gate_input.now_s:
            return now
        memory = note(
            before.memory,
            self.limits,
            gate_input,
            before.time_s,
            self.calibration_mm2,
            shows_depth=self.shows_depth,
        )
        wrong = contradiction(memory.drifts, memory.turns, self.limits)
        stop = now.stop if wrong is None else latch(now.stop, Stop("encoders", wrong, now.time_s))
        return replace(now, memory=memory, stop=stop)

    def _decided(
        self, before: GateState, now: GateState, action: Action | None, gate_input: GateInput
    ) -> tuple[GateState, Cleared | Refused]:
        """Ask every rule about an action that does not stop."""
        if action is None:
            return now, _first(_of_the_loop(now, gate_input)) or no("no action", "there is no action")
        wanted = action.command
        refused = _first(self._beforehand(before, now, action, gate_input))
        if refused is not None:
            return now, refused
        until_s = self._until_s(wanted, gate_input.now_s)
        kept_rad = stay(now.memory.angle_rad, gate_input.robot_state.insertion_angle_rad, self.limits.still_rad)
        command, notes = self._smaller(before, now, action, gate_input=gate_input, until_s=until_s)
        lasts_s = until_s - gate_input.now_s
        refused = _first(
            self._afterwards(now, command, gate_input, kept_rad=kept_rad, lasts_s=lasts_s, wiggle=action.wiggle)
        )
        if refused is not None:
            return now, refused
        cleared = make_cleared(action.frame_index, now.time_s, command, notes)
        memory = ordered(now.memory, command, now.time_s, until_s)
        if action.wiggle:
            memory = wiggled(memory, self.limits, command.insertion_speed_mm_s, now.time_s)
        return replace(now, command=command, frame=action.frame_index, memory=memory), cleared

    def _beforehand(self, before: GateState, now: GateState, action: Action, gate_input: GateInput) -> Answers:
        """Ask all that can be asked before anything is slowed down."""
        limits, now_s = self.limits, gate_input.now_s
        robot_state, estimate = gate_input.robot_state, gate_input.estimate
        yield from _of_the_loop(now, gate_input)
        yield from rules.of_the_action(limits, action, now_s, before.frame)
        yield from rules.of_the_robot_state(limits, robot_state, now_s)
        yield from rules.of_the_estimate(limits, estimate, now_s, action.frame_index, before.memory.newest)
        yield from rules.of_the_scale(gate_input.spacing, self.task_spacing)
        yield from rules.of_the_numbers(limits, action.command, robot_state)
        yield from rules.of_the_tip(
            limits,
            action.command.insertion_speed_mm_s,
            estimate,
            memory=now.memory,
            now_s=now_s,
            guarded=bool(self.regions),
            by_hand=gate_input.by_hand,
            wiggle=action.wiggle,
            calibration_mm2=self.calibration_mm2,
        )

    def _until_s(self, wanted: Command, now_s: float) -> float:
        latest_s = now_s + self.limits.order_s
        return float(latest_s if wanted.expires_at_s is None else min(wanted.expires_at_s, latest_s))

    def _smaller(
        self, before: GateState, now: GateState, action: Action, *, gate_input: GateInput, until_s: float
    ) -> tuple[Command, tuple[str, ...]]:
        """Return what may be given of a wanted command, and in what it is less. In a wiggle nothing is turned."""
        now_s, carried_out, wanted = gate_input.now_s, before.command, action.command
        reach = Reach(self.limits, wanted, gate_input.robot_state, now.memory, until_s - now_s)
        return bounded(
            self.limits,
            wanted,
            robot_state=gate_input.robot_state,
            tip=None if action.wiggle else tip_of(gate_input.estimate),
            before=None if carried_out is None or carried_out.expired(now_s) else carried_out,
            measured_mm_s=measured_mm_s(now.memory.robot_states, self.limits.standstill_s),
            kept_rad=now.memory.angle_rad,
            inserted_mm=reach.depths_mm()[1],
            elapsed_s=now_s - before.time_s,
            until_s=until_s,
        )

    def _afterwards(
        self,
        now: GateState,
        command: Command,
        gate_input: GateInput,
        *,
        kept_rad: float,
        lasts_s: float,
        wiggle: bool,
    ) -> Answers:
        """Ask where the needle and the probe come to stand."""
        reach = Reach(self.limits, command, gate_input.robot_state, now.memory, lasts_s)
        yield from rules.of_the_travel(reach)
        lost = tip_of(gate_input.estimate) is None
        if wiggle:
            yield from rules.of_the_wiggle(reach, gate_input.now_s)
        elif gate_input.by_hand and lost:
            yield from rules.of_the_unseen_way(reach)
        if not (lost and (wiggle or gate_input.by_hand)):
            yield from rules.of_the_regions(self.regions, reach, kept_rad=kept_rad)


def _of_the_loop(now: GateState, gate_input: GateInput) -> Answers:
    """Ask whether no stop is latched, time goes forward, and nothing is known to be wrong."""
    if now.stop is not None:
        yield no("stopped", f"stopped ({now.stop.kind}): {now.stop.reason}")
    if now.time_s != gate_input.now_s:
        yield no("clock", f"the time is {gate_input.now_s} s, and was {now.time_s} s at the last tick")
    if gate_input.hold is not None:
        yield no("held", f"held: {gate_input.hold}")
    for fault in gate_input.faults:
        yield no("fault", str(fault))


def _first(answers: Iterable[Refused | None]) -> Refused | None:
    return next((each for each in answers if each is not None), None)


def _stand(now: GateState, action: Action, until_s: float) -> Cleared:
    robot_states = now.memory.robot_states
    angle_rad, roll_rad = (
        (robot_states[-1].insertion_angle_rad, robot_states[-1].roll_rad) if robot_states else (0.0, 0.0)
    )
    frame = action.frame_index if usable(action.frame_index) else None
    command = Command(expires_at_s=until_s, insertion_angle_rad=angle_rad, roll_rad=roll_rad, stop=True)
    return make_cleared(frame, now.time_s, command)
