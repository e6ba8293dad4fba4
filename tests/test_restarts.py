"""Restart policies: which end is followed by what, and after how long."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kinesis.restarts import (
    STRATEGIES,
    Again,
    Answer,
    Backoff,
    GiveUp,
    History,
    LetBe,
    Restart,
    answer,
    override_from,
)

EVEN = Backoff(first=1.0, factor=2.0, most=8.0, jitter=0.0)

SECONDS = st.floats(0.0, 100.0)
BACKOFFS = st.builds(
    Backoff,
    first=SECONDS,
    factor=st.floats(0.0, 10.0),
    most=SECONDS,
    jitter=st.floats(0.0, 1.0),
)
POLICIES = st.builds(
    Restart,
    when=st.sampled_from(["never", "on-failure", "always"]),
    backoff=BACKOFFS,
    limit=st.integers(0, 4),
    window=SECONDS,
)


def policy(when: Any = "on-failure", limit: int = 3, window: float = 10.0) -> Restart:
    """Return a policy with even waits."""
    return Restart(when=when, backoff=EVEN, limit=limit, window=window)


def answers(policy: Restart, moments: Sequence[float]) -> list[Answer]:
    """Return what follows failures at these *moments*; none of the runs lasts."""
    history, found = History(), []
    for moment in moments:
        decision, history = answer(policy, history, moment, failed=True)
        found.append(decision)
    return found


# -- whether -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("when", "failed", "expected"),
    [
        ("never", True, False),
        ("never", False, False),
        ("on-failure", True, True),
        ("on-failure", False, False),
        ("always", True, True),
        ("always", False, True),
    ],
)
def test_each_kind_restarts_after_the_ends_it_names(
    when: str, failed: bool, expected: bool
) -> None:
    """
    Erlang's temporary, transient and permanent, each after both kinds of end.
    """
    decision, _ = answer(policy(when), History(), 0.0, failed)

    assert isinstance(decision, Again) is expected
    assert isinstance(decision, LetBe) is not expected


# -- after how long ------------------------------------------------------------------


def test_waits_grow_by_the_factor_up_to_the_most() -> None:
    """
    1, 2, 4, 8, and 8 from there on.
    """
    waits = [EVEN.wait(attempt, 0.5) for attempt in range(1, 7)]

    assert waits == [1.0, 2.0, 4.0, 8.0, 8.0, 8.0]


def test_the_default_waits_are_those_that_are_documented() -> None:
    """
    0.1 s, doubled each time, 30 s at most, give or take a tenth.
    """
    plain = Backoff()

    assert [plain.wait(n, 0.5) for n in (1, 2, 3, 20)] == [0.1, 0.2, 0.4, 30.0]
    assert plain.wait(20, 0.0) == pytest.approx(27.0)
    assert plain.wait(20, 1.0) == pytest.approx(33.0)


@given(BACKOFFS, st.integers(1, 5_000), st.floats(0.0, 1.0))
def test_a_wait_is_never_negative_nor_longer_than_the_most_and_its_jitter(
    backoff: Backoff, attempt: int, chance: float
) -> None:
    """
    Whatever the numbers: finite, and within the bounds.
    """
    wait = backoff.wait(attempt, chance)

    assert 0.0 <= wait <= backoff.most * (1.0 + backoff.jitter) + 1e-9


@given(BACKOFFS, st.integers(1, 2_000))
def test_waits_without_jitter_only_grow_when_the_factor_is_one_or_more(
    backoff: Backoff, attempt: int
) -> None:
    """
    The next wait is at least as long as the last one.
    """
    if backoff.factor < 1.0:
        return
    first, second = (backoff.wait(attempt + n, 0.5) for n in (0, 1))

    assert first <= second


def test_a_first_wait_of_nothing_stays_nothing() -> None:
    """
    However often: the power alone overflows.
    """
    assert Backoff(first=0.0).wait(10_000, 0.5) == 0.0


def test_whole_numbers_will_do() -> None:
    """
    A factor of 2 is one of 2.0, however high the power.
    """
    backoff = Backoff(first=1, factor=2, most=30, jitter=0)

    assert [backoff.wait(n, 0.5) for n in (1, 2, 100_000)] == [1.0, 2.0, 30.0]


def test_a_run_that_lasted_as_long_as_the_longest_wait_begins_a_new_row() -> None:
    """
    Its next wait is the first one again; a shorter run goes on in the row.
    """
    row = History(moments=(0.0,), row=4).started_at(100.0)

    short, _ = answer(policy(), row, 107.9, True)
    long, _ = answer(policy(), row, 108.0, True)

    assert (short, long) == (Again(8.0, 5), Again(1.0, 1))


def test_a_run_that_never_started_goes_on_in_the_row() -> None:
    """
    Long as it took to fail: it did not work in the meantime.
    """
    decision, _ = answer(policy(), History(row=2), 1_000.0, True)

    assert decision == Again(4.0, 3)


# -- how often -----------------------------------------------------------------------


def test_as_many_restarts_as_the_limit_are_made_and_no_more() -> None:
    """
    Intensity just not reached, then reached.
    """
    found = answers(policy(limit=3), [0.0, 1.0, 2.0, 3.0])

    assert [type(each) for each in found] == [Again, Again, Again, GiveUp]
    assert found[-1] == GiveUp(3)


def test_restarts_slide_out_of_the_window() -> None:
    """
    The fourth comes when the first is ten seconds old, and counts no more.
    """
    found = answers(policy(limit=3), [0.0, 1.0, 2.0, 10.0, 10.5])

    assert [type(each) for each in found] == [Again, Again, Again, Again, GiveUp]


def test_a_limit_of_none_gives_up_at_the_first_failure() -> None:
    """
    And says that no restart came before.
    """
    assert answers(policy(limit=0), [0.0]) == [GiveUp(0)]


def test_finishing_counts_towards_the_limit_as_failing_does() -> None:
    """
    Else a component that always restarts, and returns at once, would spin.
    """
    history, kinds = History(), []
    for moment in range(4):
        decision, history = answer(policy("always"), history, moment, failed=False)
        kinds.append(type(decision))

    assert kinds == [Again, Again, Again, GiveUp]


@given(POLICIES, st.lists(st.floats(0.0, 30.0), max_size=40), st.data())
def test_limits_agree_with_a_plain_count(
    policy: Restart, gaps: list[float], data: st.DataObject
) -> None:
    """
    Never more than *limit* restarts in any window; given up only when that is so.
    """
    history, now, restarts = History(), 0.0, list[float]()
    for gap in gaps:
        now += gap
        failed = data.draw(st.booleans())
        decision, history = answer(policy, history, now, failed)
        recent = [at for at in restarts if now - at < policy.window]
        wanted = policy.when == "always" or (failed and policy.when == "on-failure")
        if not wanted:
            assert decision == LetBe()
        elif len(recent) >= policy.limit:
            assert decision == GiveUp(len(recent))
        else:
            assert isinstance(decision, Again)
            restarts.append(now)
        assert len(history.moments) <= policy.limit, "the history grows for ever"


# -- restart_after -------------------------------------------------------------------


@pytest.mark.parametrize("when", ["never", "on-failure", "always"])
@pytest.mark.parametrize("failed", [True, False])
def test_what_the_component_says_takes_the_place_of_its_policy(
    when: str, failed: bool
) -> None:
    """
    Seconds restart it, also where the policy would not; no restart is none.
    """
    again, _ = answer(policy(when), History(), 0.0, failed, override=7.5)
    none, history = answer(policy(when), History(), 0.0, failed, override=LetBe())

    assert (again, none, history) == (Again(7.5, 1), LetBe(), History())


def test_the_limit_holds_whatever_the_component_says() -> None:
    """
    Else one mistake in `restart_after` would spin for ever.
    """
    full = History(moments=(0.0, 1.0, 2.0))

    assert answer(policy(limit=3), full, 3.0, True, override=0.0)[0] == GiveUp(3)


@pytest.mark.parametrize(
    ("said", "means"), [(None, LetBe()), (2, 2.0), (0.5, 0.5), (0, 0.0), (-1.0, 0.0)]
)
def test_restart_after_returns_seconds_or_none(said: object, means: object) -> None:
    """
    None is no restart; what lies in the past is due now.
    """
    assert override_from(said) == means


@pytest.mark.parametrize("said", ["1", True, [], math.nan, math.inf, -math.inf])
def test_restart_after_cannot_return_anything_else(said: object) -> None:
    """
    It is said there, not found out where the wait would begin.
    """
    with pytest.raises((TypeError, ValueError), match="restart_after must return"):
        override_from(said)


# -- what is refused -----------------------------------------------------------------


@pytest.mark.parametrize("name", ["first", "factor", "most", "jitter"])
@pytest.mark.parametrize("value", [-0.1, math.nan, math.inf, "1", True, None])
def test_a_backoff_takes_numbers_that_are_zero_or_more(name: str, value: Any) -> None:
    """
    Each of the four, and the error names it.
    """
    with pytest.raises((TypeError, ValueError), match=name):
        Backoff(**{name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("when", "sometimes"),
        ("backoff", 0.5),
        ("limit", -1),
        ("limit", 1.5),
        ("window", -1.0),
    ],
)
def test_a_policy_takes_the_words_and_numbers_that_it_knows(
    name: str, value: Any
) -> None:
    """
    Each mistake is named when the policy is made, not when something fails.
    """
    with pytest.raises((TypeError, ValueError), match=name):
        Restart(**{name: value})


def test_the_error_for_a_wrong_word_lists_the_right_ones() -> None:
    """
    So that nobody has to look them up.
    """
    with pytest.raises(ValueError, match="never, on-failure, always"):
        Restart(when="permanent")  # type: ignore[arg-type]  # as a mistake would


def test_the_strategies_are_those_that_are_documented() -> None:
    """
    In the order of how much they restart.
    """
    assert STRATEGIES == ("one-for-one", "rest-for-one", "one-for-all")
