"""
What is too much, and what happens then.

Two components change the same limits: the alarm raises one that was passed, so
that it need not cry twice; the tuner brings it back step by step. Each looks,
decides and then writes *if nobody else has written meanwhile*: `adjust`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import attrs

from hostwatch.readings import shown
from kinesis import (
    Component,
    ComponentChange,
    KinesisError,
    Message,
    Ref,
    Snapshot,
    Subscription,
    field,
    handles,
    private,
)
from kinesis.errors import ETagMismatchError

STEP = 0.1  # of what is left up to 100 %: how far an alarm raises its limit
ATTEMPTS = 10  # to write before anybody else has


@attrs.frozen
class Breach:
    """A *metric* whose *value* is above its *limit*."""

    metric: str
    value: float
    limit: float


@attrs.frozen
class Alert(Message[None]):
    """A breach has begun: for who keeps them."""

    time: float
    breach: Breach


@attrs.frozen
class Judge(Message[tuple[Breach, ...]]):
    """Say which of these values are too much."""

    values: Mapping[str, float]


class Limits(Component):
    """
    Knows what is too much.

    Nothing but state and one question: whoever wants other limits writes them
    from outside, with `Ref.update`.
    """

    usual: dict[str, float] = field(factory=dict)  # the limit of each metric
    above: dict[str, float] = field(factory=dict)  # what it is now

    def init(self) -> None:
        """Begin with what is usual."""
        self.above = {**self.usual, **self.above}

    @handles(Judge)
    def judge(self, question: Judge) -> tuple[Breach, ...]:
        """Return the breaches among the values; what has no limit is fine."""
        return tuple(
            Breach(metric, value, self.above[metric])
            for metric, value in question.values.items()
            if metric in self.above and value > self.above[metric]
        )


Change = Callable[[Snapshot], dict[str, float]]


def adjust(limits: Ref[Limits], change: Change) -> Snapshot:
    """
    Replace the limits by what *change* makes of their state; no write is lost.

    The ETag says which state *change* has seen. If it is another one by now,
    nothing is written, and *change* is asked again.

    Raises:
        ETagMismatchError: Somebody else was faster, `ATTEMPTS` times in a row.
    """
    for attempt in range(ATTEMPTS):
        seen = limits.snapshot()
        try:
            return limits.update({"above": change(seen)}, etag=seen.etag)
        except ETagMismatchError:
            if attempt + 1 == ATTEMPTS:
                raise
    raise AssertionError("the last attempt returns or raises")


class Alarm(Component):
    """
    Reads every change of the statistics, and cries when a limit is passed.

    It has a loop of its own, over a subscription: the statistics never wait for
    it. `stop` closes the subscription, which ends the loop.
    """

    source: str = field()  # paths
    limits: str = field()
    recorder: str = field()
    cried: int = field(default=0)
    open: dict[str, float] = field(factory=dict)  # the limits passed, until below
    _changes: Subscription | None = private(default=None)

    def start(self) -> None:
        """Judge each change until there are no more."""
        changes = self.find(self.source).subscribe(kinds=[ComponentChange])
        with changes as self._changes:
            self.ready()
            for change in changes:
                if not isinstance(change, ComponentChange):  # a `Gap`: we were slow
                    continue
                try:
                    self.judge(change.current)
                except KinesisError as error:  # the limits are just being replaced
                    self.log.warning("not judged: %s", error)

    def stop(self) -> None:
        """End the loop."""
        if self._changes is not None:
            self._changes.close()

    def judge(self, statistics: Snapshot) -> None:
        """Ask what is too much, and cry if that is new."""
        values = {name: each.last for name, each in statistics.metrics.items()}
        limits: Ref[Limits] = self.find(self.limits)
        breaches = limits.send(Judge(values))
        new = [breach for breach in breaches if breach.metric not in self.open]
        over = [
            k for k, limit in self.open.items() if k in values and values[k] <= limit
        ]
        if new or over:
            with self.edit():
                still = {k: v for k, v in self.open.items() if k not in over}
                self.open = still | {each.metric: each.limit for each in new}
                self.cried += len(new)
        for metric in over:
            self.log.info("%s is fine again", metric)
        for breach in new:
            self.cry(breach, limits)

    def cry(self, breach: Breach, limits: Ref[Limits]) -> None:
        """Log it, have it recorded, and raise the limit a little."""
        metric, value = breach.metric, shown(breach.metric, breach.value)
        self.log.warning(
            "%s is %s: above %s", metric, value, shown(metric, breach.limit)
        )
        self.find(self.recorder).post(Alert(time.time(), breach))

        adjust(limits, lambda seen: raised(seen, metric))


def raised(seen: Snapshot, metric: str) -> dict[str, float]:
    """Return the limits with that of *metric* a little higher."""
    above: dict[str, float] = seen.above
    return {**above, metric: above[metric] + STEP * max(0.0, 100.0 - above[metric])}


def lowered(seen: Snapshot, step: float) -> dict[str, float]:
    """Return the limits one *step* nearer to the usual ones."""
    return {
        metric: max(seen.usual.get(metric, limit), limit - step)
        for metric, limit in seen.above.items()
    }


@attrs.frozen
class Tune:
    """Bring the limits back a little: what the timer says."""


class Tuner(Component):
    """Brings limits that were raised back to where they were, step by step."""

    limits: str = field()  # path
    interval: float = field(default=5.0)  # seconds
    step: float = field(default=0.5)  # percent points each time

    def start(self) -> None:
        """Set the timer."""
        self.every(self.interval, Tune())

    @handles(Tune)
    def tune(self, _: Tune) -> None:
        """Take one step back, where there is one to take."""
        limits: Ref[Limits] = self.find(self.limits)
        seen = limits.snapshot()
        if lowered(seen, self.step) != seen.above:
            adjust(limits, lambda now: lowered(now, self.step))
