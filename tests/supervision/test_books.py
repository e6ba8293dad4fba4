"""What the books decide, one decision at a time: no thread, no clock, no runtime."""

from __future__ import annotations

import pytest

from kinesis.notices import Kind, Report
from kinesis.restarts import LetBe
from kinesis.stages import Outcome, Result, Stage
from kinesis.supervision import (
    Began,
    Close,
    Do,
    Ended,
    Escalate,
    Phase,
    Rest,
    Say,
    Status,
    Tell,
    Wait,
    Wish,
    explain,
)
from tests.supervision.fakes import World, outcome, plain


def world_of(*names: str, strategy: str = "one-for-one") -> World:
    """Return a container whose children are up."""
    world = World(strategy)  # type: ignore[arg-type]  # one of the three
    world.given(*names)
    world.begin()
    world.settle()
    world.happened.clear()
    return world


# -- coming up -----------------------------------------------------------------------


def test_children_come_up_one_after_another() -> None:
    """
    The next one is begun when the last one has STARTED.
    """
    world = World()
    world.given("a", "b")
    world.begin()

    assert world.told() == ["activate a"]

    world.life("a").move()
    world.life("a").move()

    assert world.told() == ["activate a"]

    world.arrive(world.life("a"))

    assert world.told() == ["activate a", "activate b"]


def test_a_container_has_begun_when_its_last_child_is_up() -> None:
    """
    And at once when there is none.
    """
    world, empty = World(), World()
    world.given("a")
    world.begin()
    empty.begin()

    assert (world.happened[-1], empty.happened) == (
        Tell(Do.ACTIVATE, world.cells[0]),
        [Began()],
    )

    world.settle()

    assert world.happened[-1] == Began()


def test_a_beginning_that_fails_is_rolled_back_before_it_is_answered() -> None:
    """
    The last one first; then the container learns which child it was, and why.
    """
    world = World()
    world.given("a", "b", "c")
    world.begin()
    for name in "ab":
        world.life(name).move()
        if name == "a":
            world.life(name).move()
            world.arrive(world.life(name))
    world.life("b").move("fail")
    world.settle()

    assert world.told(Do.FAIL, Do.TEAR_DOWN) == ["fail b", "tear down a"]
    assert world.happened[-1] == Began(outcome("fail"), world.cells[1])
    assert world.status("c") is Status.QUEUED
    assert world.said("a") == ["stopped, as '/app/b' did not start"]


def test_an_end_during_a_roll_back_is_what_is_answered() -> None:
    """
    Whoever waits for the end waits for nothing else.
    """
    world = World()
    world.given("a", "b")
    world.begin()
    world.life("a").move()
    world.life("a").move()
    world.arrive(world.life("a"))
    world.life("b").move("fail")
    world.arrive(world.life("b"))
    world.end()
    world.settle()

    assert [a for a in world.happened if isinstance(a, Began | Ended)] == [Ended()]


@pytest.mark.parametrize("wish", [Wish.STOP, Wish.REMOVE])
@pytest.mark.parametrize("moves", [0, 1, 2])
def test_a_child_that_is_taken_out_while_its_container_begins_is_not_missed(
    wish: Wish, moves: int
) -> None:
    """
    Before its turn, in `init` or in `start`: the others come up without it.
    """
    world = World()
    world.given("a", "b")
    world.begin()
    for _ in range(moves):
        world.life("a").move()
    asker = world.ask(wish, world.cells[0 if moves else 1])
    world.settle()

    assert asker.went_well
    assert Began() in world.happened


def test_a_nested_add_comes_up_inside_of_the_one_that_waits_for_it() -> None:
    """
    It is up first, so it is before it in the order, and ends after it.
    """
    world = World()
    world.given("a")
    world.begin()
    world.life("a").move()
    asker = world.add("b", nested="/app/a")
    world.life("b").move()
    world.life("b").move()
    world.arrive(world.life("b"))

    assert asker.went_well

    world.settle()

    assert [child.cell.name for child in world.books.order] == ["b", "a"]


def test_an_add_from_inside_a_restart_of_the_group_does_not_wait_for_it() -> None:
    """
    The group waits for the one that adds: it would wait for itself.
    """
    world = world_of("a", "b", strategy="one-for-all")
    world.fail("a")
    world.settle()
    world.wake()
    world.life("a").obey()  # it is in `start` now, and adds

    assert world.holder == "/app/a"

    asker = world.add("c", nested=world.holder)
    world.life("c").move()
    world.life("c").move()
    world.arrive(world.life("c"))

    assert asker.went_well

    world.settle()

    assert [world.status(name) for name in "abc"] == [Status.UP] * 3


def test_an_add_without_nesting_waits_until_the_group_is_up() -> None:
    """
    It may need what is restarted now.
    """
    world = world_of("a", "b", strategy="one-for-all")
    world.fail("a")
    asker = world.add("c")
    world.settle()

    assert not asker.is_settled

    world.rest()

    assert asker.went_well


# -- the end of a run ----------------------------------------------------------------


def test_a_report_of_a_run_that_is_over_is_counted_not_obeyed() -> None:
    """
    It comes late: the next run has begun.
    """
    world = world_of("a")
    cell = world.cells[0]
    late = Report(cell, Kind.FAILED, cell.run, outcome("fail"))
    cell.run += 1
    actions = world.decide(late)

    assert (actions, world.books.stale) == ([], 1)


@pytest.mark.parametrize("kind", Kind)
def test_a_report_about_nobody_is_counted_not_obeyed(kind: Kind) -> None:
    """
    Of a child that was removed, or of another container.
    """
    world = world_of("a")
    stranger = world.cell("b")
    actions = world.decide(Report(stranger, kind, 0))

    assert (actions, world.books.stale) == ([], 1)


@pytest.mark.parametrize("kind", [Kind.STARTED, Kind.QUIET, Kind.STOPPED])
def test_a_report_that_nobody_asked_for_changes_nothing(kind: Kind) -> None:
    """
    The child is UP: none of these follows.
    """
    world = world_of("a")
    cell = world.cells[0]
    actions = world.decide(Report(cell, kind, cell.run))

    assert (actions, world.books.stale) == ([], 1)
    assert world.status("a") is Status.UP


def test_what_fails_while_it_is_ended_anyway_is_counted() -> None:
    """
    A member of the group that goes down, and a child whose container ends.
    """
    world = world_of("a", "b", strategy="one-for-all")
    world.fail("a")
    world.life("b").move("fail")
    world.arrive(world.life("b"))

    assert (world.books.covered, world.said("b")[-1][:13]) == (1, "restarts with")

    world.rest()
    world.end()
    world.fail("a")

    assert world.books.covered == 2


def test_a_backoff_that_is_over_while_all_end_starts_nothing() -> None:
    """
    Every wait is cut short by the end.
    """
    world = world_of("a", "b")
    world.fail("a")
    world.settle()
    world.end()
    world.wake()
    world.settle()

    assert world.told(Do.START_AGAIN) == []
    assert world.container == "idle"


def test_restart_after_takes_the_place_of_the_policy() -> None:
    """
    Its seconds are waited, its refusal ends the child, both said so.
    """
    world = world_of("a", "b")
    for name, again_after in (("a", 0.5), ("b", LetBe())):
        cell = world.life(name).cell
        world.decide(Report(cell, Kind.FAILED, cell.run, outcome("fail"), again_after))
    world.settle()

    assert world.said("a") == ["failed: restart 1 in 0.50 s"]
    assert world.said("b") == ["failed: restart_after asks for no restart"]
    assert [a.seconds for a in world.happened if isinstance(a, Wait)] == [0.5]
    assert world.status("b") is Status.ENDED


def test_what_hangs_cannot_be_restarted_so_its_container_fails() -> None:
    """
    Its thread is stuck: there is none to run on.
    """
    world = world_of("a")
    world.fail("a", "hang")

    assert world.told(Do.FAIL, Do.RESTART) == ["fail a"]
    assert [each.cell.name for each in world.escalated] == ["a"]
    assert world.said("a") == ["hung: it cannot be restarted, so its container fails"]


def test_what_hangs_and_is_never_restarted_is_let_be() -> None:
    """
    Nobody misses it.
    """
    world = World()
    world.given("a", policy=plain("never"))
    world.begin()
    world.settle()
    world.fail("a", "hang")

    assert (world.told(Do.FAIL), world.escalated) == (["fail a"], [])


def test_what_hangs_while_its_run_ends_fails_its_container() -> None:
    """
    A `stop` that never returns, at a restart.
    """
    world = world_of("a")
    world.fail("a")
    world.life("a").obey()
    world.life("a").move("hang")
    world.settle()

    assert [each.cell.name for each in world.escalated] == ["a"]
    assert "did not survive its restart" in world.said("a")[-1]


def test_what_still_hangs_is_not_given_another_life() -> None:
    """
    It fails to start until it has come back, and then it starts.
    """
    world = world_of("a")
    cell = world.cells[0]
    world.fail("a", "hang")
    world.settle()
    refused = world.ask(Wish.START, cell)

    assert [answer.error for answer in refused.answers] == ["failed"]
    assert "code of its last life still runs" in world.said("a")[-1]

    cell.hung = None
    accepted = world.ask(Wish.START, cell)
    world.settle()

    assert accepted.went_well


# -- groups --------------------------------------------------------------------------


def test_a_second_failure_takes_its_own_group_along() -> None:
    """
    Under rest-for-one: those that were not restarted yet, and those after it.
    """
    world = world_of("a", "b", "c", "d", strategy="rest-for-one")
    world.fail("b")
    world.settle()
    world.wake()
    world.settle()
    world.happened.clear()
    world.fail("c")
    world.rest()

    assert world.told() == [
        *("restart d", "restart c", "start again c", "start again d"),
    ]


def test_an_earlier_failure_widens_the_group_that_restarts() -> None:
    """
    All that depend on it go down with it, once.
    """
    world = world_of("a", "b", "c", strategy="rest-for-one")
    world.fail("b")
    world.settle()
    world.fail("a")
    world.rest()

    assert world.told() == [
        *("restart c", "restart b", "restart a"),
        *("start again a", "start again b", "start again c"),
    ]


def test_a_wait_of_its_own_does_not_start_a_member_of_a_group() -> None:
    """
    The last one waits for itself alone, until those before it fail.
    """
    world = world_of("a", "b", strategy="rest-for-one")
    world.fail("b")
    world.settle()
    world.fail("a")  # the group: both, in a second
    world.wake()  # that of b

    assert "start again b" not in world.told()


def test_siblings_are_told_with_whom_they_restart() -> None:
    """
    Their `why` has the cause, by path, and the strategy.
    """
    world = world_of("a", "b", "c", strategy="one-for-all")
    world.fail("b")

    text = "restarts with '/app/b', as one-for-all asks"
    assert (world.said("a"), world.said("c")) == ([text], [text])
    assert world.said("b") == ["failed: restart 1 in 1.00 s"]


def test_the_one_that_is_asked_to_restart_is_also_when_it_never_is() -> None:
    """
    By hand is by hand; its siblings that are never restarted end.
    """
    world = World("one-for-all")
    world.given("a", "b", policy=plain("never"))
    world.begin()
    world.settle()
    asker = world.ask(Wish.RESTART, world.cells[0])
    world.rest()

    assert asker.went_well
    assert (world.status("a"), world.status("b")) == (Status.UP, Status.ENDED)


def test_what_ends_with_its_group_does_not_keep_the_program_alive() -> None:
    """
    It is never restarted, so it has ended by itself once the others have.
    """
    world = World("one-for-all")
    world.given("a")
    world.given("b", policy=plain("never"))
    world.begin()
    world.settle()
    world.fail("a")
    world.rest()
    world.fail("a", "finish")
    world.settle()

    assert world.books.all_ended()
    assert not world.books.has_failures()


def test_of_what_ended_by_itself_the_newest_are_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    A container that runs one job after another does not grow for ever.
    """
    monkeypatch.setattr("kinesis.supervision.ending.ENDED_KEPT", 20)
    world = world_of("server")
    for number in range(30):
        world.add(f"job{number}")
        world.settle()
        world.fail(f"job{number}", "finish")
        world.settle()
        world.happened.clear()

    assert len(world.books.children) == 21
    assert world.status("job9") is None
    assert world.status("job10") is Status.ENDED
    assert len(world.books.order) == 21


# -- limits --------------------------------------------------------------------------


def test_one_failure_more_than_the_limit_escalates() -> None:
    """
    With how the last run ended, and the numbers in words.
    """
    world = World()
    world.given("a", policy=plain(limit=2))
    world.begin()
    world.settle()
    for _ in range(3):
        world.fail("a")
        world.rest()

    assert world.escalated == [Escalate(world.cells[0], outcome("fail"))]
    assert world.said("a")[-1] == "gave up: 2 restarts within 60 s are the limit"
    assert world.status("a") is Status.ENDED


def test_a_failure_that_goes_up_while_the_container_begins_fails_the_beginning() -> (
    None
):
    """
    It has nobody else to tell yet.
    """
    world = World()
    world.given("a", "b", policy=plain(limit=0))
    world.begin()
    for _ in range(2):
        world.life("a").move()
    world.arrive(world.life("a"))
    world.fail("a")
    world.settle()

    assert world.escalated == []
    assert world.happened[-1] == Began(outcome("fail"), world.cells[0])


def test_a_container_that_begins_again_begins_with_fresh_budgets() -> None:
    """
    Its children have been restarted as often as none has.
    """
    world = World()
    (child,) = world.given("a", policy=plain(limit=1))
    world.begin()
    world.settle()
    for _ in range(2):
        world.fail("a")
        world.rest()
    world.end()
    world.settle()
    world.begin()
    world.settle()

    assert (child.status, child.history.moments, child.failure) == (Status.UP, (), None)


# -- by hand -------------------------------------------------------------------------


def test_a_start_by_hand_cuts_the_backoff_short_and_is_a_fresh_budget() -> None:
    """
    Whoever starts it knows better than its history.
    """
    world = world_of("a")
    world.fail("a")
    world.settle()
    asker = world.ask(Wish.START, world.cells[0])
    world.settle()

    assert asker.went_well
    assert world.now == 0.0
    assert world.books.children["a"].history.moments == ()

    world.wake()  # the wait is void

    assert world.told(Do.START_AGAIN) == ["start again a"]


@pytest.mark.parametrize("quiet", [False, True], ids=["going down", "waiting"])
def test_a_start_by_hand_cuts_the_backoff_of_a_group_short(quiet: bool) -> None:
    """
    The whole group comes up, in order.
    """
    world = world_of("a", "b", strategy="one-for-all")
    world.fail("a")
    if quiet:
        world.settle()
    asker = world.ask(Wish.START, world.cells[1])
    world.settle()

    assert asker.went_well
    assert world.told(Do.START_AGAIN) == ["start again a", "start again b"]


def test_a_child_stopped_by_hand_stays_so_when_its_container_begins_again() -> None:
    """
    Only a start by hand brings it up.
    """
    world = world_of("a", "b")
    world.ask(Wish.STOP, world.cells[0])
    world.settle()
    world.end()
    world.settle()
    world.begin()
    world.settle()

    assert (world.status("a"), world.status("b")) == (Status.ENDED, Status.UP)

    world.ask(Wish.START, world.cells[0])
    world.settle()

    assert world.status("a") is Status.UP


def test_a_restart_that_was_to_follow_the_start_is_refused_at_the_end() -> None:
    """
    It comes up while the end has begun: nothing is restarted then, or in the next run.
    """
    world = World("one-for-all")
    world.begin()
    world.add("a")
    world.settle()
    world.add("c")
    asker = world.ask(Wish.RESTART, world.cells[-1])
    world.add("b", nested=world.holder)
    world.end()
    world.settle()

    assert (asker.is_settled, asker.went_well) == (True, False)
    assert world.books.group is None

    world.happened.clear()
    world.begin()
    world.settle()

    assert world.told(Do.RESTART) == []


def test_a_child_stopped_while_it_came_up_takes_its_place_when_it_is_started() -> None:
    """
    Behind those that came up before it did, so that it ends before them.
    """
    world = World()
    world.begin()
    world.add("a")
    world.ask(Wish.STOP, world.cells[0])
    world.settle()
    world.add("b")
    world.settle()
    world.ask(Wish.START, world.cells[0])
    world.settle()

    assert [child.cell.name for child in world.books.order] == ["b", "a"]


def test_a_child_that_is_started_between_two_runs_comes_up_once() -> None:
    """
    The container's next run begins with it, as with the others.
    """
    world = world_of("a", "b")
    world.end()
    world.settle()
    asker = world.ask(Wish.START, world.cells[0])

    assert not asker.is_settled

    world.happened.clear()
    world.begin()
    world.settle()

    assert asker.went_well
    assert world.told() == ["activate a", "activate b"]


def test_nobody_waits_for_a_container_that_was_stopped_by_hand() -> None:
    """
    What waited is refused when it stays STOPPED, what comes after that at once.
    """
    world = world_of("a", "b")
    world.end()
    world.settle()
    before = [world.ask(Wish.START, world.cells[0]), world.add("c")]
    world.decide(Rest())
    after = [world.ask(Wish.RESTART, world.cells[1]), world.add("d")]

    assert [asker.answers[0].stopping for asker in (*before, *after)] == [True] * 4

    world.happened.clear()
    world.begin()
    world.settle()

    assert world.told() == ["activate a", "activate b"]
    assert world.add("c").answers == []


def test_one_that_is_started_again_already_does_not_rest() -> None:
    """
    The order of the two is that of the inbox.
    """
    world = world_of("a")
    world.end()
    world.settle()
    world.begin()
    world.decide(Rest())
    world.settle()

    assert world.books.phase is Phase.RUNNING
    assert world.ask(Wish.START, world.cells[0]).went_well


@pytest.mark.parametrize("wish", Wish)
def test_every_request_has_an_answer_when_the_container_is_gone(wish: Wish) -> None:
    """
    Also those that waited for it to run once more.
    """
    world = world_of("a")
    world.end()
    world.settle()
    asker = world.ask(wish, world.cells[0])
    added = world.add("b")
    world.shut()

    assert (len(asker.answers), len(added.answers)) == (1, 1)
    assert added.answers[0].stopping
    assert world.status("b") is None, "it was refused, and would come up all the same"


def test_a_removal_is_answered_when_the_life_is_over() -> None:
    """
    Not when the child is STOPPED, where a stop by hand was already under way.
    """
    world = world_of("a")
    cell, life = world.cells[0], world.life("a")
    stopped = world.ask(Wish.STOP, cell)
    life.obey()
    life.move()  # STOPPED, and on its way here
    removed = world.ask(Wish.REMOVE, cell)
    world.report(life)

    assert not removed.is_settled

    world.settle()

    assert stopped.went_well
    assert removed.went_well
    assert (world.status("a"), life.stage) == (None, "torn")


def test_requests_about_somebody_who_is_gone_are_answered() -> None:
    """
    What should end has ended; what should start cannot.
    """
    world = world_of("a")
    cell = world.cells[0]
    world.ask(Wish.REMOVE, cell)
    world.settle()
    errors = {wish: world.ask(wish, cell).answers[0].error for wish in Wish}

    assert errors == {
        Wish.REMOVE: None,
        Wish.STOP: None,
        Wish.START: "gone",
        Wish.RESTART: "gone",
    }


def test_what_ends_cannot_be_started_until_it_has() -> None:
    """
    It is said at once, as nobody knows how long it takes.
    """
    world = world_of("a")
    world.ask(Wish.STOP, world.cells[0])
    asker = world.ask(Wish.START, world.cells[0])

    assert [answer.error for answer in asker.answers] == ["stopping"]


def test_what_is_seen_stopped_can_be_started_before_its_container_knows() -> None:
    """
    Whoever waited for the stage may be faster than the report of it.
    """
    world = world_of("a")
    cell = world.cells[0]
    stopped = world.ask(Wish.STOP, cell)
    cell.stage = Stage.STOPPED
    asker = world.ask(Wish.START, cell)
    assert asker.answers == []

    world.settle()

    assert stopped.went_well
    assert asker.went_well
    assert world.status("a") is Status.UP


def test_a_stop_that_comes_after_such_a_start_is_what_counts() -> None:
    """
    Both are answered.
    """
    world = world_of("a")
    cell = world.cells[0]
    world.ask(Wish.STOP, cell)
    cell.stage = Stage.STOPPED
    asker = world.ask(Wish.START, cell)
    stopped = world.ask(Wish.STOP, cell)

    world.settle()

    assert [answer.error for answer in asker.answers] == ["failed"]
    assert stopped.went_well
    assert world.status("a") is Status.STOPPED


def test_a_restart_that_is_asked_for_during_a_start_follows_it() -> None:
    """
    The run that begins is not the one that was asked for: its asker waits longer.
    """
    world = World()
    world.given("a")
    world.begin()
    started = world.ask(Wish.START, world.cells[0])
    restarted = world.ask(Wish.RESTART, world.cells[0])
    life = world.life("a")
    life.move()
    life.move()
    world.arrive(life)

    assert (started.went_well, restarted.is_settled) == (True, False)

    world.settle()

    assert restarted.went_well
    assert world.cells[0].run == 2


def test_a_restart_that_is_asked_for_during_a_start_fails_with_it() -> None:
    """
    There is nothing left to restart.
    """
    world = world_of()
    added = world.add("a")
    restarted = world.ask(Wish.RESTART, world.cells[0])
    world.life("a").move("fail")
    world.arrive(world.life("a"))

    assert [added.answers[0].error, restarted.answers[0].error] == ["failed"] * 2


def test_a_restart_by_hand_survives_the_failure_of_a_sibling() -> None:
    """
    It is never restarted, but for those who ask; and somebody did.
    """
    world = World("one-for-all")
    world.given("a")
    world.given("b", policy=plain("never"))
    world.begin()
    world.settle()
    asker = world.ask(Wish.RESTART, world.cells[1])
    while world.status("b") is not Status.STARTING:
        assert world.step()
    world.fail("a")  # the group begins again, and b with it
    world.rest()

    assert asker.went_well
    assert world.status("b") is Status.UP


# -- the end -------------------------------------------------------------------------


def test_all_end_one_by_one_the_last_started_first() -> None:
    """
    The next one is told when the last one is TORN_DOWN, and then all is over.
    """
    world = world_of("a", "b")
    world.end()

    assert world.told() == ["tear down b"]

    world.settle()

    assert world.told() == ["tear down b", "tear down a"]
    assert world.happened[-1] == Ended()
    assert world.books.phase is Phase.IDLE
    assert world.said("a") == ["stopped with its container"]


def test_what_restarts_at_once_does_not_while_all_end() -> None:
    """
    Its run is over before it is its turn to be torn down.
    """
    world = world_of("a", "b")
    world.ask(Wish.RESTART, world.cells[0])
    world.end()
    world.life("a").obey()
    world.life("a").move()
    world.arrive(world.life("a"))

    assert world.told(Do.START_AGAIN) == []

    world.settle()

    assert world.container == "idle"


@pytest.mark.parametrize("wish", [Wish.STOP, Wish.REMOVE])
def test_who_waits_for_what_the_runtime_gives_up_on_is_answered(wish: Wish) -> None:
    """
    The child never ended, and the container's life is over all the same.
    """
    world = world_of("a")
    asker = world.ask(wish, world.cells[0])
    world.end()
    world.decide(Close())

    assert [answer.stopping for answer in asker.answers] == [True]


def test_starts_and_adds_are_refused_while_all_end() -> None:
    """
    And stops and removals are not.
    """
    world = world_of("a", "b")
    world.end()
    start = world.ask(Wish.START, world.cells[0])
    add = world.add("c")
    stop = world.ask(Wish.STOP, world.cells[0])
    world.settle()

    assert start.answers[0].stopping
    assert add.answers[0].stopping
    assert stop.went_well


def test_a_container_that_comes_up_looks_whether_all_in_it_have_finished() -> None:
    """
    Its last child may have finished before anybody knew that it was up.
    """
    world = world_of("a")
    world.given("box")
    box = world.books.children["box"]
    box.cell.supervisor = object()  # type: ignore[assignment]  # it has children
    world.ask(Wish.STOP, box.cell)
    world.ask(Wish.START, box.cell)
    life = world.life("box")
    life.move()
    life.move()
    world.arrive(life)

    assert world.books.ended_now


# -- in words ------------------------------------------------------------------------


def test_how_something_ended_is_explained_for_people() -> None:
    """
    The hook, how it ended and what it raised; or that it was stopped.
    """
    raised = Outcome(Result.RAISED, Stage.INITIALIZING, "init", ValueError("no port"))
    without = Outcome(Result.RAISED, Stage.SUBMITTED, None, RuntimeError("no thread"))

    assert explain(raised) == "init raised: ValueError: no port"
    assert explain(without) == "SUBMITTED raised: RuntimeError: no thread"
    assert explain(None) == "it was stopped"


def test_the_books_and_their_children_read_like_log_lines() -> None:
    """
    In a debugger, and in a failure of these tests.
    """
    world = world_of("a", "b")

    assert repr(world.books) == "<Books running 2 children>"
    assert repr(world.books.children["a"]) == "<Child /app/a up>"
    assert Say(world.cells[0], "hello").text == "hello"
