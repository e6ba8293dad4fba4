"""Books under any order of reports, requests and waits: nobody is forgotten."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from kinesis.restarts import STRATEGIES
from kinesis.supervision import Phase, Rest, Status, Wish
from tests.supervision.fakes import World, plain

NAMES = ("a", "b", "c", "d")
POLICIES = st.builds(
    plain,
    when=st.sampled_from(["never", "on-failure", "always"]),
    limit=st.integers(0, 2),
)


class AnyOrder(RuleBasedStateMachine):
    """
    A container whose children do anything, at any time, and are asked for anything.

    Reports of one child arrive in order, those of several in any. At the end all
    comes to rest, the container ends, and every asker has had one answer.
    """

    world: World

    @initialize(
        strategy=st.sampled_from(STRATEGIES),
        policies=st.lists(POLICIES, max_size=3),
        begins=st.booleans(),
    )
    def make(self, strategy: Any, policies: list[Any], begins: bool) -> None:
        self.world = World(strategy)
        for name, policy in zip(NAMES, policies, strict=False):
            self.world.given(name, policy=policy)
        if begins:
            self.world.begin()

    # -- the container ---------------------------------------------------------------

    @precondition(lambda self: self.world.container == "idle")
    @rule()
    def begin(self) -> None:
        self.world.begin()

    @precondition(lambda self: self.world.container == "begun")
    @rule()
    def end(self) -> None:
        self.world.end()

    @precondition(lambda self: self.world.container == "idle")
    @rule()
    def stay_stopped(self) -> None:
        self.world.decide(Rest())
        waiting = [asker for asker in self.world.askers if not asker.is_settled]
        assert not waiting, "nobody comes up until the container does"

    # -- its children ----------------------------------------------------------------

    @precondition(lambda self: any(life.orders for life in self.world.all_lives))
    @rule(data=st.data())
    def obey(self, data: st.DataObject) -> None:
        data.draw(self._lives(lambda life: life.orders)).obey()

    @precondition(lambda self: any(life.reports for life in self.world.all_lives))
    @rule(data=st.data())
    def report(self, data: st.DataObject) -> None:
        self.world.report(data.draw(self._lives(lambda life: life.reports)))

    @precondition(lambda self: any(life.moves for life in self.world.all_lives))
    @rule(data=st.data())
    def move(self, data: st.DataObject) -> None:
        life = data.draw(self._lives(lambda life: life.moves))
        life.move(data.draw(st.sampled_from(life.moves)))

    @precondition(lambda self: any(cell.hung for cell in self.world.cells))
    @rule(data=st.data())
    def come_back(self, data: st.DataObject) -> None:
        hung = [cell for cell in self.world.cells if cell.hung]
        data.draw(st.sampled_from(hung)).hung = None

    def _lives(self, wanted: Any) -> Any:
        return st.sampled_from([life for life in self.world.all_lives if wanted(life)])

    @precondition(lambda self: self.world.waits)
    @rule(data=st.data())
    def wake(self, data: st.DataObject) -> None:
        self.world.wake(data.draw(st.integers(0, len(self.world.waits) - 1)))

    @rule()
    def settle(self) -> None:
        self.world.settle()

    # -- who asks --------------------------------------------------------------------

    @rule(name=st.sampled_from(NAMES), policy=POLICIES, nests=st.booleans())
    def add(self, name: str, policy: Any, nests: bool) -> None:
        self.world.add(name, policy, self.world.holder if nests else None)

    @precondition(lambda self: self.world.cells)
    @rule(data=st.data(), wish=st.sampled_from(Wish))
    def ask(self, data: st.DataObject, wish: Wish) -> None:
        self.world.ask(wish, data.draw(st.sampled_from(self.world.cells)))

    # -- what always holds -----------------------------------------------------------

    @invariant()
    def the_books_agree(self) -> None:
        books = self.world.books
        queued = list(books.queue)
        assert len(set(queued)) == len(queued), "queued twice"
        assert all(child.status is Status.QUEUED for child in queued)
        assert all(child in books.children.values() for child in books.order)
        assert books.phase is Phase.RUNNING or books.group is None
        up = [c for c in books.children.values() if c.status is Status.UP]
        assert all(child in books.order for child in up)

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        world = self.world
        world.rest()
        failed = world.escalated or world.rolled_back
        if world.container == "begun" and not failed:
            self.all_is_as_asked()
        world.shut()
        for asker in world.askers:
            assert len(asker.answers) == 1, "a reply was never given"
        assert not world.running()

    def all_is_as_asked(self) -> None:
        """Nothing is under way, and nobody waits."""
        calm = {Status.UP, Status.STOPPED, Status.ENDED}
        for child in self.world.books.children.values():
            assert child.status in calm, f"{child} is stuck"
        assert all(asker.is_settled for asker in self.world.askers)


def test_every_request_is_answered_once_in_any_order() -> None:
    """
    Nobody is forgotten, answered twice, or left between two states.
    """
    run_state_machine_as_test(
        AnyOrder, settings=settings(max_examples=75, stateful_step_count=40)
    )


@pytest.mark.stress
def test_every_request_is_answered_once_in_any_of_many_orders() -> None:
    """
    New ones each time.
    """
    thorough = settings(
        settings.get_profile("stress"), max_examples=1_000, stateful_step_count=60
    )
    run_state_machine_as_test(AnyOrder, settings=thorough)
