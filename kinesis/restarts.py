"""
Whether, and after how long, what ended runs again.

Pure: a policy, the history and the time go in, an answer comes out. The words
are those of Erlang/OTP's supervisors: ``never``, ``on-failure`` and ``always``
are its temporary, transient and permanent; *limit* within *window* is its
restart intensity.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Literal, get_args

import attrs

When = Literal["never", "on-failure", "always"]
Strategy = Literal["one-for-one", "rest-for-one", "one-for-all"]

STRATEGIES: tuple[str, ...] = get_args(Strategy)
"""``one-for-one``: only the child that ended; ``rest-for-one``: also those that
started after it; ``one-for-all``: all of them."""


def _positive(_: object, attribute: attrs.Attribute[float], value: float) -> None:
    """Refuse what is below zero, not finite, or no number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{attribute.name} must be a number, not {value!r}")
    if not 0 <= value < float("inf"):
        raise ValueError(f"{attribute.name} must be 0 or more, not {value!r}")


def _one_of(
    *choices: str,
) -> Callable[[object, attrs.Attribute[str], str], None]:
    """Return a validator that names the *choices*."""

    def check(_: object, attribute: attrs.Attribute[str], value: str) -> None:
        if value not in choices:
            raise ValueError(
                f"{attribute.name} must be one of {', '.join(choices)}; not {value!r}"
            )

    return check


@attrs.frozen
class Backoff:
    """
    How long to wait before each attempt.

    The nth wait is ``first * factor ** (n - 1)`` seconds, at *most* so many, and
    up to *jitter* (a fraction) more or less, so that many do not come at once.
    """

    first: float = attrs.field(default=0.1, validator=_positive)
    factor: float = attrs.field(default=2.0, validator=_positive)
    most: float = attrs.field(default=30.0, validator=_positive)
    jitter: float = attrs.field(default=0.1, validator=_positive)

    def wait(self, attempt: int, chance: float) -> float:
        """
        Return the seconds to wait before *attempt*, the first of which is 1.

        Args:
            chance: From 0.0 to 1.0; where in the range of *jitter* to be.
        """
        try:
            plain = self.first * float(self.factor) ** (attempt - 1)
        except OverflowError:  # of the power alone: nothing times that is nothing
            plain = self.most if self.first else 0.0
        wait = min(plain, self.most) * (1 + self.jitter * (2 * chance - 1))
        return max(0.0, wait)


@attrs.frozen
class Restart:
    """
    When a component that ended is started again.

    Attributes:
        when: ``never``; ``on-failure`` (default): a hook raised, exited or hung;
            ``always``: also when it finished by itself.
        backoff: How long to wait before each attempt.
        limit: More than this many restarts within *window* are too many: the
            component gives up, and its container fails.
        window: Seconds.
    """

    when: When = attrs.field(default="on-failure", validator=_one_of(*get_args(When)))
    backoff: Backoff = attrs.field(
        factory=Backoff, validator=attrs.validators.instance_of(Backoff)
    )
    limit: int = attrs.field(
        default=5,
        validator=[attrs.validators.instance_of(int), attrs.validators.ge(0)],
    )
    window: float = attrs.field(default=60.0, validator=_positive)

    def wants(self, failed: bool) -> bool:
        """Return whether an end that *failed*, or did not, is followed by a restart."""
        return self.when == "always" or (failed and self.when == "on-failure")


@attrs.frozen
class Again:
    """Start again after so many *seconds*; it is attempt number *attempt*."""

    seconds: float
    attempt: int


@attrs.frozen
class GiveUp:
    """Too many restarts within the window: *count* of them."""

    count: int


@attrs.frozen
class LetBe:
    """The policy does not ask for a restart."""


Answer = Again | GiveUp | LetBe

Override = float | LetBe | None
"""What a component's own `restart_after` said: seconds, or that it be let be; None:
it has none, so the policy decides."""


def override_from(said: object) -> float | LetBe:
    """
    Return what *said*, the value that a `restart_after` returned, means.

    Raises:
        TypeError: It is neither a number nor None.
        ValueError: It is not finite.
    """
    if said is None:
        return LetBe()
    if isinstance(said, bool) or not isinstance(said, int | float):
        raise TypeError(f"restart_after must return seconds or None, not {said!r}")
    if not abs(said) < float("inf"):
        raise ValueError(f"restart_after must return finite seconds, not {said!r}")
    return max(0.0, float(said))


@attrs.frozen
class History:
    """
    The moments of past restarts, oldest first, and how many came in a row.

    A row ends once a run has lasted as long as the longest wait the policy
    knows: then the next wait is the first one again.
    """

    moments: tuple[float, ...] = ()
    row: int = 0
    started: float | None = None

    def started_at(self, now: float) -> History:
        """Return this history with a run that began *now*."""
        return History(self.moments, self.row, now)


def answer(
    policy: Restart,
    history: History,
    now: float,
    failed: bool,
    chance: float | None = None,
    override: Override = None,
) -> tuple[Answer, History]:
    """
    Decide what follows an end at *now*, and return the history after it.

    Args:
        policy: What the component asked for.
        history: What has happened before.
        now: Seconds, on the clock of *history*.
        failed: Whether it ended otherwise than by itself or by hand.
        chance: For the jitter, 0.0 to 1.0; None takes a random one.
        override: What the component itself asked for, used instead of the policy's
            words and waits; the limit holds all the same.

    Source: the sliding window is Erlang/OTP's ``supervisor:add_restart/1``.
    """
    if isinstance(override, LetBe):
        return override, history
    if override is None and not policy.wants(failed):
        return LetBe(), history
    recent = tuple(at for at in history.moments if now - at < policy.window)
    if len(recent) >= policy.limit:
        return GiveUp(len(recent)), attrs.evolve(history, moments=recent)
    calm = history.started is not None and now - history.started >= policy.backoff.most
    row = 1 if calm else history.row + 1
    if chance is None:
        chance = random.random()  # spreads load, guards no secret
    seconds = policy.backoff.wait(row, chance) if override is None else override
    return Again(seconds, row), History((*recent, now), row)
