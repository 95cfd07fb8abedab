"""The policies by name. A name is what `sonosteer insert --policy` takes."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from sonosteer.core.errors import InputError
from sonosteer.core.registry import LazyTable

if TYPE_CHECKING:
    from sonosteer.core.protocols import Policy

POLICIES = LazyTable(
    "policy",
    {
        "hold": "sonosteer.policies.hold:HoldPolicy",
        "vla": "sonosteer.policies.vla:VlaPolicy",
        "constant": "sonosteer.policies.constant:Constant",
        "visibility": "sonosteer.policies.visibility:Visibility",
        "operator": "sonosteer.policies.simulated_operator:SimulatedOperator",
        "steer": "sonosteer.policies.steer:Steer",
        "seek": "sonosteer.policies.seek:Seek",
        "window": "sonosteer.policies.window:Window",
        "wiggle": "sonosteer.policies.wiggle:WigglePolicy",
        "expert": "sonosteer.policies.expert:Expert",
    },
    group="sonosteer.policies",
)


def make_policy(name: str, **settings: Any) -> Policy[Any]:
    """Build a policy by name. settings: its fields, and "part.field" for those of its parts.

    name: a built-in name, the name of an installed plug-in, or `package.module:Class` for a class of your own, which
    needs `start(task)` and `step(state, observation)`. Raises InputError with the policies or the settings that there
    are, and if a plug-in cannot be used.
    """
    from sonosteer.core.plugins import construct, plug_in
    from sonosteer.core.types import Action

    make = POLICIES.load(name)
    if name not in POLICIES.built_in:
        return plug_in(construct(make, settings, f"policy {name}"), f"policy {name}", (Action,))
    policy: Policy[Any] = make()
    for key, value in settings.items():
        policy = _set(policy, key.split("."), value, f"policy {name}")
    return policy


def _set(owner: Any, path: list[str], value: Any, where: str) -> Any:
    """A copy of a dataclass with one field, of it or of its parts, set."""
    from sonosteer.core.config import from_dict

    first, *rest = path
    fields = {f.name: getattr(owner, f.name) for f in dataclasses.fields(owner) if f.init and f.name[0] != "_"}
    if rest and dataclasses.is_dataclass(fields.get(first)):
        return dataclasses.replace(owner, **{first: _set(fields[first], rest, value, f"{where}: {first}")})
    if rest:
        parts = ", ".join(k for k, v in fields.items() if dataclasses.is_dataclass(v)) or "none"
        raise InputError(f"{where}: {first} has no parts to set ({'.'.join(path)}). These have parts: {parts}")
    if dataclasses.is_dataclass(value) or value is None:
        return dataclasses.replace(owner, **{first: value})
    return dataclasses.replace(owner, **{first: getattr(from_dict(type(owner), {first: value}, where), first)})
