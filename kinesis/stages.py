"""
The stages of a component's life, and the one table that says how it moves.

No threads and no I/O: `advance` is a function of values, and the table is data
that tests enumerate and the documentation draws (``kinesis stages``).

The straight way up and down::

    SUBMITTED ─► PREINITIALIZING ─► PREINITIALIZED ─► INITIALIZING ─► INITIALIZED
        ─► STARTING ─► STARTED ─► STOPPING ─► STOPPED ─► TEARING_DOWN ─► TORN_DOWN

and beside it RESTARTING (from STARTED or STARTING, back to STARTING) and
ABORTING (from any stage that failed, then TEARING_DOWN).
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import attrs

from kinesis.errors import InternalError, StageError


class Stage(enum.Enum):
    """Where a component is in its life."""

    SUBMITTED = "SUBMITTED"
    PREINITIALIZING = "PREINITIALIZING"
    PREINITIALIZED = "PREINITIALIZED"
    INITIALIZING = "INITIALIZING"
    INITIALIZED = "INITIALIZED"
    STARTING = "STARTING"
    STARTED = "STARTED"
    RESTARTING = "RESTARTING"
    STOPPING = "STOPPING"
    STOPPED = "STOPPED"
    ABORTING = "ABORTING"
    TEARING_DOWN = "TEARING_DOWN"
    TORN_DOWN = "TORN_DOWN"

    __hash__ = object.__hash__  # by identity; that of Enum is Python code, and slow

    def __repr__(self) -> str:
        return self.value

    __str__ = __repr__

    @property
    def state(self) -> State:
        """ACTIVE from INITIALIZED to STARTED, else INACTIVE."""
        return State.ACTIVE if self in ACTIVE else State.INACTIVE


class State(enum.Enum):
    """Whether a component is in the part of its life in which it works."""

    ACTIVE = "ACTIVE"
    INACTIVE = "INACTIVE"

    def __repr__(self) -> str:
        return self.value

    __str__ = __repr__


ACTIVE: Final = frozenset({Stage.INITIALIZED, Stage.STARTING, Stage.STARTED})


class Event(enum.Enum):
    """What moves a component from one stage to another."""

    ACTIVATE = "activate"  # its turn to come up
    NEXT = "next"  # go on to the next stage of the way up
    DONE = "done"  # the stage's hooks have returned
    READY = "ready"  # `start` still runs, and says that it works
    FAILED = "failed"  # a hook raised or hung, and nobody restarts the component
    RESTART = "restart"  # end this run; another one follows
    START = "start"  # begin a run
    STOP = "stop"  # end the run
    TEAR_DOWN = "tear down"  # end the life

    __hash__ = object.__hash__

    def __repr__(self) -> str:
        return self.value

    __str__ = __repr__


class Result(enum.Enum):
    """How a stage's hooks ended."""

    RETURNED = "returned"
    RAISED = "raised"
    HUNG = "hung"  # never reported within its deadline


@attrs.frozen
class Outcome:
    """
    How a stage ended.

    *error* is what the hook raised, or the `DeadlineError` of one that hung.
    """

    result: Result
    stage: Stage
    hook: str | None = None
    error: BaseException | None = None

    @property
    def failed(self) -> bool:
        """Whether it ended otherwise than by returning."""
        return self.result is not Result.RETURNED


_S, _E = Stage, Event

_TABLE: Final[Mapping[tuple[Stage, Event], Stage]] = {
    # the way up
    (_S.SUBMITTED, _E.ACTIVATE): _S.PREINITIALIZING,
    (_S.PREINITIALIZING, _E.DONE): _S.PREINITIALIZED,
    (_S.PREINITIALIZED, _E.NEXT): _S.INITIALIZING,
    (_S.INITIALIZING, _E.DONE): _S.INITIALIZED,
    (_S.INITIALIZED, _E.NEXT): _S.STARTING,
    (_S.STARTING, _E.DONE): _S.STARTED,
    (_S.STARTING, _E.READY): _S.STARTED,
    # the way down
    (_S.STARTING, _E.STOP): _S.STOPPING,
    (_S.STARTED, _E.STOP): _S.STOPPING,
    (_S.RESTARTING, _E.STOP): _S.STOPPING,
    (_S.STOPPING, _E.DONE): _S.STOPPED,
    (_S.STOPPED, _E.TEAR_DOWN): _S.TEARING_DOWN,
    (_S.TEARING_DOWN, _E.DONE): _S.TORN_DOWN,
    (_S.TEARING_DOWN, _E.FAILED): _S.TORN_DOWN,
    # once more
    (_S.STARTING, _E.RESTART): _S.RESTARTING,
    (_S.STARTED, _E.RESTART): _S.RESTARTING,
    (_S.RESTARTING, _E.START): _S.STARTING,
    (_S.STOPPED, _E.START): _S.STARTING,
    # stopped before there was anything to stop
    (_S.SUBMITTED, _E.STOP): _S.TORN_DOWN,
    (_S.PREINITIALIZING, _E.STOP): _S.ABORTING,
    (_S.PREINITIALIZED, _E.STOP): _S.ABORTING,
    (_S.INITIALIZING, _E.STOP): _S.ABORTING,
    (_S.INITIALIZED, _E.STOP): _S.ABORTING,
    # what failed
    (_S.SUBMITTED, _E.FAILED): _S.TORN_DOWN,
    (_S.PREINITIALIZING, _E.FAILED): _S.ABORTING,
    (_S.INITIALIZING, _E.FAILED): _S.ABORTING,
    (_S.STARTING, _E.FAILED): _S.ABORTING,
    (_S.STARTED, _E.FAILED): _S.ABORTING,
    (_S.RESTARTING, _E.FAILED): _S.ABORTING,
    (_S.STOPPING, _E.FAILED): _S.ABORTING,
    (_S.ABORTING, _E.TEAR_DOWN): _S.TEARING_DOWN,
}

TABLE: Final = MappingProxyType(_TABLE)
"""By stage and event, the stage that follows."""


HOOKS: Final[Mapping[Stage, tuple[str, ...]]] = MappingProxyType(
    {
        _S.PREINITIALIZING: ("pre_init",),
        _S.INITIALIZING: ("init", "post_init"),
        _S.STARTING: ("pre_start", "start"),
        _S.STOPPING: ("stop",),
        _S.RESTARTING: ("stop",),
        _S.TEARING_DOWN: ("tear_down",),
    }
)
"""The hooks that each stage runs, in this order; the other stages run none."""


def accepts(stage: Stage) -> tuple[Event, ...]:
    """Return the events that *stage* accepts, in the order of `Event`."""
    return tuple(event for event in Event if (stage, event) in TABLE)


def advance(stage: Stage, event: Event, path: str = "") -> Stage:
    """
    Return the stage that *event* leads to from *stage*.

    Raises:
        StageError: *stage* does not accept *event*.
    """
    try:
        return _TABLE[stage, event]
    except KeyError:
        accepted = ", ".join(map(str, accepts(stage))) or "nothing: its life is over"
        raise StageError(
            f"'{path}' is {stage} and does not accept '{event}'. "
            f"{stage} accepts: {accepted}.",
            path=path,
            stage=stage,
            event=event,
        ) from None


def render(format: str = "text") -> str:
    """
    Return the table, drawn.

    Args:
        format: ``text`` (a line per stage), ``dot`` (Graphviz) or ``mermaid``.
    """
    match format:
        case "text":
            return _text()
        case "dot":
            return _dot()
        case "mermaid":
            return _mermaid()
    raise InternalError(f"no format '{format}': text, dot or mermaid")


def _text() -> str:
    """Return a block per stage: its hooks, then a line per event."""
    lines = []
    for stage in Stage:
        hooks = ", ".join(HOOKS.get(stage, ())) or "no hooks"
        lines.append(f"{stage}  [{stage.state}]  {hooks}")
        lines += [
            f"    {event!s:<9} -> {TABLE[stage, event]}" for event in accepts(stage)
        ]
    return "\n".join(lines) + "\n"


def _dot() -> str:
    """Return the table as a Graphviz digraph."""
    lines = ["digraph stages {", "    rankdir=LR", "    node [shape=box]"]
    for stage in Stage:
        label = "\\n".join((str(stage), *HOOKS.get(stage, ())))
        style = ", style=filled" if stage.state is State.ACTIVE else ""
        lines.append(f'    {stage} [label="{label}"{style}]')
    lines += [
        f'    {stage} -> {target} [label="{event}"]'
        for (stage, event), target in TABLE.items()
    ]
    return "\n".join([*lines, "}"]) + "\n"


def _mermaid() -> str:
    """Return the table as a Mermaid state diagram."""
    lines = ["stateDiagram-v2", "    [*] --> SUBMITTED"]
    lines += [
        f"    {stage} --> {target}: {event}" for (stage, event), target in TABLE.items()
    ]
    return "\n".join([*lines, "    TORN_DOWN --> [*]"]) + "\n"
