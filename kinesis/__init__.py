"""
A runtime for event-driven services made of components that run on threads.

What is public is listed in `__all__`; each name is imported when it is first
used, so that ``import kinesis`` costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kinesis import control as control
    from kinesis import errors as errors
    from kinesis.changes import ComponentChange as ComponentChange
    from kinesis.changes import Gap as Gap
    from kinesis.changes import StageChange as StageChange
    from kinesis.changes import StateChange as StateChange
    from kinesis.changes import Subscription as Subscription
    from kinesis.changes import component_changed as component_changed
    from kinesis.changes import stage_changed as stage_changed
    from kinesis.changes import state_changed as state_changed
    from kinesis.component import Component as Component
    from kinesis.container import Container as Container
    from kinesis.container import ContainerRef as ContainerRef
    from kinesis.declared import field as field
    from kinesis.declared import private as private
    from kinesis.declared import setting as setting
    from kinesis.errors import KinesisError as KinesisError
    from kinesis.messages import Message as Message
    from kinesis.messages import handles as handles
    from kinesis.refs import Ref as Ref
    from kinesis.restarts import Backoff as Backoff
    from kinesis.restarts import Restart as Restart
    from kinesis.routing import route as route
    from kinesis.runtime import Runtime as Runtime
    from kinesis.snapshots import Snapshot as Snapshot
    from kinesis.stages import Outcome as Outcome
    from kinesis.stages import Stage as Stage
    from kinesis.stages import State as State

_HOMES = {
    "Backoff": "kinesis.restarts",
    "Component": "kinesis.component",
    "ComponentChange": "kinesis.changes",
    "Container": "kinesis.container",
    "ContainerRef": "kinesis.container",
    "Gap": "kinesis.changes",
    "KinesisError": "kinesis.errors",
    "Message": "kinesis.messages",
    "Outcome": "kinesis.stages",
    "Ref": "kinesis.refs",
    "Restart": "kinesis.restarts",
    "Runtime": "kinesis.runtime",
    "Snapshot": "kinesis.snapshots",
    "Stage": "kinesis.stages",
    "StageChange": "kinesis.changes",
    "State": "kinesis.stages",
    "StateChange": "kinesis.changes",
    "Subscription": "kinesis.changes",
    "component_changed": "kinesis.changes",
    "control": "",
    "errors": "",
    "field": "kinesis.declared",
    "handles": "kinesis.messages",
    "private": "kinesis.declared",
    "route": "kinesis.routing",
    "setting": "kinesis.declared",
    "stage_changed": "kinesis.changes",
    "state_changed": "kinesis.changes",
}

__all__ = sorted(_HOMES)  # a list of str, as the name must be


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'kinesis' has no attribute '{name}'")
    if not home:
        return import_module(f"kinesis.{name}")
    value = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*globals(), *__all__]
