"""
Components with few and with many fields, and what it costs to look at them.

The messages here are handled in the sender's thread (``dispatch="caller"``), so that
no wake-up hides what the state costs.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from types import TracebackType
from typing import Any, Self

from benchmarks._senders import MESSAGE, Direct, Ear
from kinesis import Runtime, field
from kinesis.snapshots import codec_of

MESSAGES = 5_000  # in one measurement
PREPARATIONS = 2_000
FEW, MANY = 2, 100  # fields
LISTS = 10  # of the fields of the state put aside, with as many items each

ENCODED = {count: f"{count} fields, encoded alone" for count in (FEW, MANY)}
UNSEEN = {count: f"{count} fields, nobody looks" for count in (FEW, MANY)}
HEARD = {count: f"{count} fields, a listener" for count in (FEW, MANY)}
SAVED, COPIED = "send_all", "copy.deepcopy"


def with_fields(count: int, lists: int = 0) -> type[Direct]:
    """Return a class of components with *count* fields, some of them lists."""
    names = {f"field_{n}": int for n in range(count - lists - 1)}
    body: dict[str, Any] = {
        "__annotations__": {**names, **{f"list_{n}": list[int] for n in range(lists)}},
        "__module__": __name__,
        **{name: field(default=7) for name in names},
        **{
            f"list_{n}": field(factory=lambda: list(range(LISTS))) for n in range(lists)
        },
    }
    return type(f"With{count}", (Direct,), body)


class Looks:
    """
    Measurements of what state costs.

    Attributes:
        own: By name, seconds of the component's thread for one message.
        whole: The same in seconds of the clock: those who are told run as well.
        preparations: By name, seconds to put the state aside.
    """

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._ear = Ear()
        self.own: dict[str, Callable[[], float]] = {}
        self.whole: dict[str, Callable[[], float]] = {}
        self.preparations: dict[str, Callable[[], float]] = {}

    def __enter__(self) -> Self:
        runtime = self._stack.enter_context(Runtime(name="bench"))
        for count in (FEW, MANY):
            kind = with_fields(count)
            unseen = runtime.add(kind(name=f"unseen-{count}"))
            self._add(UNSEEN[count], partial(unseen.send, MESSAGE))
            heard = runtime.add(kind(name=f"heard-{count}"))
            heard.callback(self._ear)
            self._add(HEARD[count], partial(heard.send, MESSAGE))
            component = kind(name=f"encoded-{count}")
            encode = partial(codec_of(kind).encode, component)
            self._add(ENCODED[count], encode)
        self._add_preparations()
        return self

    def _add(self, name: str, call: Callable[[], object]) -> None:
        """Enter what to measure: a message to a component, say."""
        for clock, by_name in (
            (time.thread_time, self.own),
            (time.perf_counter, self.whole),
        ):
            by_name[name] = partial(self._measure, clock, call, MESSAGES)

    def _add_preparations(self) -> None:
        """Enter the two ways of putting state aside."""
        component = with_fields(MANY, LISTS)(name="kept")
        codec = codec_of(type(component))
        state = {name: component.__dict__[name] for name in codec.fields}
        for name, put_aside in (
            (SAVED, partial(codec.save, component)),
            (COPIED, partial(copy.deepcopy, state)),
        ):
            self.preparations[name] = partial(
                self._measure, time.perf_counter, put_aside, PREPARATIONS
            )

    def _measure(
        self, clock: Callable[[], float], call: Callable[[], object], times: int
    ) -> float:
        """Make a call so many times; then let those who are told catch up."""
        began = clock()
        for _ in range(times):
            call()
        took = clock() - began
        self._ear.settle()
        return took / times

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()
