"""Books against a plain model of a container that never does two things at once."""

from __future__ import annotations

from typing import Literal

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kinesis.restarts import STRATEGIES, Restart, Strategy
from kinesis.supervision import Child, Do, Status, Wish
from tests.supervision.fakes import World, plain

NAMES = "abc"

What = Literal["fail", "finish", "stop", "start", "restart"]

POLICIES = st.builds(
    plain,
    when=st.sampled_from(["never", "on-failure", "always"]),
    limit=st.integers(0, 6),
    window=st.sampled_from([5.0, 60.0]),
)
EVENTS = st.tuples(  # failures most of all
    st.sampled_from(["fail", "fail", "fail", "finish", "stop", "start", "restart"]),
    st.sampled_from(NAMES),
    st.sampled_from([0.0, 0.5, 1.0, 2.0, 7.0, 8.0, 100.0]),
)


@attrs.define
class Model:
    """One child, as somebody would keep it on paper."""

    policy: Restart
    status: Status = Status.UP
    runs: int = 1
    moments: list[float] = attrs.field(factory=list)
    row: int = 0
    since: float = 0.0

    def verdict(self, failed: bool, now: float) -> float | str:
        """Return the seconds until it runs again, or what becomes of it."""
        wanted = {"never": False, "on-failure": failed, "always": True}
        if not wanted[self.policy.when]:
            return "let be"
        if sum(now - at < self.policy.window for at in self.moments) >= (
            self.policy.limit
        ):
            return "gives up"
        self.row = 1 if now - self.since >= 8.0 else self.row + 1
        self.moments.append(now)
        return float([1, 2, 4, 8][min(self.row, 4) - 1])

    def runs_again(self, now: float) -> None:
        """Begin another run."""
        self.status, self.since = Status.UP, now
        self.runs += 1


class Paper:
    """The container on paper: who is up, and in which order they are listed."""

    def __init__(self, strategy: Strategy, policies: list[Restart]) -> None:
        self.strategy = strategy
        self.children = {
            name: Model(policy) for name, policy in zip(NAMES, policies, strict=False)
        }
        self.order = list(self.children)
        self.now = 0.0
        self.gave_up = False

    def applies(self, what: What, name: str) -> bool:
        """Whether *what* can happen to the child called *name* now."""
        child = self.children.get(name)
        if child is None or self.gave_up:
            return False
        return what in ("stop", "start", "restart") or child.status is Status.UP

    def happen(self, what: What, name: str) -> list[str]:
        """Do what follows, to the end; return who was started again, in order."""
        child = self.children[name]
        if what in ("fail", "finish"):
            return self._over(name, what == "fail")
        if what == "stop":
            if child.status is Status.UP:
                child.status = Status.STOPPED
            return []
        if child.status is Status.UP:
            return self._restart(name, 0.0) if what == "restart" else []
        return self._start(name)

    def _over(self, name: str, failed: bool) -> list[str]:
        child = self.children[name]
        verdict = child.verdict(failed, self.now)
        if isinstance(verdict, float):
            return self._restart(name, verdict)
        child.status = Status.ENDED
        self.gave_up = verdict == "gives up"
        return []

    def _restart(self, name: str, seconds: float) -> list[str]:
        self.now += seconds
        again = []
        for each in self._affected(name):
            child = self.children[each]
            if each != name and child.policy.when == "never":
                child.status = Status.ENDED
            else:
                child.runs_again(self.now)
                again.append(each)
        return again

    def _affected(self, name: str) -> list[str]:
        up = [n for n in self.order if self.children[n].status is Status.UP]
        first = up.index(name)
        return {
            "one-for-one": [name],
            "rest-for-one": up[first:],
            "one-for-all": up,
        }[self.strategy]

    def _start(self, name: str) -> list[str]:
        child = self.children[name]
        fresh = child.status is Status.ENDED
        child.moments, child.row = [], 0
        child.runs_again(self.now)
        if fresh:  # another life: it is the last now
            self.order.remove(name)
            self.order.append(name)
        return [] if fresh else [name]


Event = tuple[What, str, float]  # what, to whom, and how long after the one before


def happen(world: World, what: What, child: Child) -> None:
    """Let it happen in the books' world, and all that follows."""
    if what in ("fail", "finish"):
        world.fail(child.cell.name, what)
    else:
        world.ask(Wish(what), child.cell)
    world.rest()


stories = given(
    st.sampled_from(STRATEGIES),
    st.lists(POLICIES, min_size=1, max_size=3),
    st.lists(EVENTS, min_size=8, max_size=40),
)


@stories
def test_books_do_what_a_plain_model_says(
    strategy: Strategy, policies: list[Restart], events: list[Event]
) -> None:
    """
    Who runs, since which run, who was restarted in which order, and when it gave up.
    """
    play(strategy, policies, events)


@pytest.mark.stress
@settings(max_examples=5_000)
@stories
def test_books_do_what_a_plain_model_says_whatever_happens(
    strategy: Strategy, policies: list[Restart], events: list[Event]
) -> None:
    """
    Other stories each time.
    """
    play(strategy, policies, events)


def play(strategy: Strategy, policies: list[Restart], events: list[Event]) -> None:
    """Let *events* happen in both worlds, and compare after each."""
    world, paper = World(strategy), Paper(strategy, policies)
    for name, policy in zip(NAMES, policies, strict=False):
        world.given(name, policy=policy)
    world.begin()
    world.settle()
    for what, name, gap in events:
        if not paper.applies(what, name):
            continue
        world.now = paper.now = paper.now + gap
        before = len(world.told(Do.START_AGAIN))
        happen(world, what, world.books.children[name])

        again = paper.happen(what, name)
        told = world.told(Do.START_AGAIN)[before:]
        assert told == [f"start again {each}" for each in again]
        assert world.now == paper.now
        assert bool(world.escalated) == paper.gave_up
        compare(world, paper)


def compare(world: World, paper: Paper) -> None:
    """Compare every child of the two."""
    for name, model in paper.children.items():
        child = world.books.children[name]
        assert (child.status, child.cell.run) == (model.status, model.runs), name
    up = [c.cell.name for c in world.books.in_order() if c.status is Status.UP]
    assert up == [n for n in paper.order if paper.children[n].status is Status.UP]


@given(st.sampled_from(STRATEGIES), st.integers(1, 6), st.data())
def test_a_group_ends_in_reverse_and_comes_up_in_order(
    strategy: Strategy, count: int, data: st.DataObject
) -> None:
    """
    Whoever fails, one at a time: the next one goes down when the last one is quiet.
    """
    names = [f"n{number}" for number in range(count)]
    world = World(strategy)
    world.given(*names)
    world.begin()
    world.settle()
    failed = data.draw(st.integers(0, count - 1))
    world.fail(names[failed])
    world.rest()

    affected = {
        "one-for-one": names[failed : failed + 1],
        "rest-for-one": names[failed:],
        "one-for-all": names,
    }[strategy]
    assert world.told(Do.RESTART) == [f"restart {n}" for n in reversed(affected)]
    assert world.told(Do.START_AGAIN) == [f"start again {n}" for n in affected]


@given(st.sampled_from(STRATEGIES), st.permutations(["a", "b", "c", "d"]))
def test_all_end_in_the_reverse_of_the_order_in_which_they_came_up(
    strategy: Strategy, names: list[str]
) -> None:
    """
    Given in any order, and one of them added from outside.
    """
    world = World(strategy)
    world.given(*names)
    world.begin()
    world.settle()
    world.add("e")
    world.settle()
    world.shut()

    ups = [f"activate {name}" for name in [*names, "e"]]
    downs = [f"tear down {name}" for name in reversed([*names, "e"])]
    assert world.told(Do.ACTIVATE, Do.TEAR_DOWN) == [*ups, *downs]
