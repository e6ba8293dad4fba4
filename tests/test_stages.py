"""The table of stages: every cell of it, any way through it, and its drawings."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kinesis.errors import InternalError, KinesisError, StageError
from kinesis.stages import (
    HOOKS,
    TABLE,
    Event,
    Outcome,
    Result,
    Stage,
    State,
    accepts,
    advance,
    render,
)

DOCS = Path(__file__).parents[1] / "docs" / "stages.md"

# The table once more, written by hand from the design: stage, then event and target.
WRITTEN = """
SUBMITTED        activate PREINITIALIZING  failed TORN_DOWN  stop TORN_DOWN
PREINITIALIZING  done PREINITIALIZED       failed ABORTING   stop ABORTING
PREINITIALIZED   next INITIALIZING                           stop ABORTING
INITIALIZING     done INITIALIZED          failed ABORTING   stop ABORTING
INITIALIZED      next STARTING                               stop ABORTING
STARTING         done STARTED              failed ABORTING   stop STOPPING
STARTING         ready STARTED             restart RESTARTING
STARTED          restart RESTARTING        failed ABORTING   stop STOPPING
RESTARTING       start STARTING            failed ABORTING   stop STOPPING
STOPPING         done STOPPED              failed ABORTING
STOPPED          start STARTING            tear-down TEARING_DOWN
ABORTING         tear-down TEARING_DOWN
TEARING_DOWN     done TORN_DOWN            failed TORN_DOWN
"""

WAY_UP = [
    Stage.SUBMITTED,
    Stage.PREINITIALIZING,
    Stage.PREINITIALIZED,
    Stage.INITIALIZING,
    Stage.INITIALIZED,
    Stage.STARTING,
    Stage.STARTED,
]
WAY_DOWN = [
    Stage.STARTED,
    Stage.STOPPING,
    Stage.STOPPED,
    Stage.TEARING_DOWN,
    Stage.TORN_DOWN,
]


def written() -> dict[tuple[Stage, Event], Stage]:
    """Return the table that `WRITTEN` spells out."""
    table = {}
    for line in WRITTEN.strip().splitlines():
        stage, *words = line.split()
        for event, target in zip(words[::2], words[1::2], strict=True):
            key = Stage[stage], Event(event.replace("-", " "))
            table[key] = Stage[target]
    return table


def walk(events: Sequence[Event]) -> list[Stage]:
    """Return the stages passed when *events* come, those not accepted left out."""
    passed = [Stage.SUBMITTED]
    for event in events:
        if event in accepts(passed[-1]):
            passed.append(advance(passed[-1], event))
    return passed


# -- the table, cell by cell ---------------------------------------------------------


def test_the_table_is_the_one_that_was_designed() -> None:
    """
    Nothing more and nothing less than what is written here.
    """
    assert dict(TABLE) == written()


@pytest.mark.parametrize("stage", Stage)
@pytest.mark.parametrize("event", Event)
def test_every_event_leads_where_the_table_says_or_is_a_named_error(
    stage: Stage, event: Event
) -> None:
    """
    All of them, in every stage: an event that is not accepted is never ignored.
    """
    expected = written().get((stage, event))
    if expected is not None:
        assert advance(stage, event, "/app/a") is expected
        return
    with pytest.raises(StageError) as caught:
        advance(stage, event, "/app/a")
    error = caught.value

    assert (error.path, error.stage, error.event) == ("/app/a", stage, event)
    assert f"'/app/a' is {stage} and does not accept '{event}'" in str(error)
    assert all(str(accepted) in str(error) for accepted in accepts(stage))
    assert error.__cause__ is None, "the lookup that failed is no news"


def test_the_error_after_the_end_says_that_the_life_is_over() -> None:
    """
    There is nothing that TORN_DOWN accepts.
    """
    with pytest.raises(StageError, match="its life is over"):
        advance(Stage.TORN_DOWN, Event.START, "/app/a")


@pytest.mark.parametrize("way", [WAY_UP, WAY_DOWN], ids=["up", "down"])
def test_the_straight_ways_are_in_the_table(way: list[Stage]) -> None:
    """
    Up to STARTED, and down to TORN_DOWN: each stage leads to the next.
    """
    for before, after in pairwise(way):
        assert after in {TABLE[before, event] for event in accepts(before)}


def test_whatever_runs_hooks_can_fail() -> None:
    """
    A hook may always raise or hang; a failed start or stop aborts, a failed end ends.
    """
    for stage in HOOKS:
        assert Event.FAILED in accepts(stage)


def test_the_state_is_active_from_initialized_to_started() -> None:
    """
    And inactive everywhere else, between two runs as well.
    """
    active = {stage for stage in Stage if stage.state is State.ACTIVE}

    assert active == {Stage.INITIALIZED, Stage.STARTING, Stage.STARTED}


def test_every_hook_belongs_to_one_stage_but_for_stop() -> None:
    """
    `stop` ends a run, and runs end for a restart as well.
    """
    hooks = [hook for names in HOOKS.values() for hook in names]

    assert {hook for hook in hooks if hooks.count(hook) > 1} == {"stop"}
    assert sorted(set(hooks)) == sorted(
        ["pre_init", "init", "post_init", "pre_start", "start", "stop", "tear_down"]
    )


# -- any way through it --------------------------------------------------------------


@given(st.lists(st.sampled_from(Event), max_size=60))
def test_no_stage_is_reached_that_the_table_does_not_allow(
    events: list[Event],
) -> None:
    """
    From any sequence of events, each step is one of those written above.
    """
    allowed = {(stage, target) for (stage, _), target in written().items()}

    assert set(pairwise(walk(events))) <= allowed


@given(st.lists(st.sampled_from(Event), max_size=60))
def test_nothing_moves_after_torn_down(events: list[Event]) -> None:
    """
    Once it is reached it is the last, whatever else comes.
    """
    passed = walk(events)

    assert Stage.TORN_DOWN not in passed[:-1]


@given(st.lists(st.sampled_from(Event), max_size=60))
def test_every_way_ends_in_torn_down(events: list[Event]) -> None:
    """
    From wherever any events have led, stopping and what follows leads to the end.
    """
    stage, steps = walk(events)[-1], 0
    while stage is not Stage.TORN_DOWN:
        event = next(
            event
            for event in (Event.STOP, Event.TEAR_DOWN, Event.DONE, Event.FAILED)
            if event in accepts(stage)
        )
        stage, steps = advance(stage, event), steps + 1

        assert steps <= 5


@given(st.lists(st.sampled_from(Event), max_size=60))
def test_every_way_ends_in_torn_down_also_if_every_hook_fails(
    events: list[Event],
) -> None:
    """
    Failing is never a way back up.
    """
    stage, steps = walk(events)[-1], 0
    while stage is not Stage.TORN_DOWN:
        event = next(
            event
            for event in (Event.FAILED, Event.TEAR_DOWN, Event.STOP)
            if event in accepts(stage)
        )
        stage, steps = advance(stage, event), steps + 1

        assert steps <= 4


@given(st.lists(st.sampled_from(Event), max_size=60))
def test_a_component_that_began_is_torn_down_once(events: list[Event]) -> None:
    """
    TEARING_DOWN comes between its hooks and its end, and comes once.
    """
    passed = walk(events)

    assert passed.count(Stage.TEARING_DOWN) <= 1
    if passed[-1] is Stage.TORN_DOWN and Stage.PREINITIALIZING in passed:
        assert passed[-2] is Stage.TEARING_DOWN


def test_every_stage_can_be_reached() -> None:
    """
    None is there for nothing.
    """
    reached, found = {Stage.SUBMITTED}, 0
    while len(reached) > found:
        found = len(reached)
        reached |= {TABLE[s, e] for s, e in TABLE if s in reached}

    assert reached == set(Stage)


# -- how a stage ended ---------------------------------------------------------------


@pytest.mark.parametrize("result", Result)
def test_an_outcome_that_did_not_return_has_failed(result: Result) -> None:
    """
    Raised or hung, that is the same.
    """
    outcome = Outcome(result, Stage.STARTING, "start", None)

    assert outcome.failed is (result is not Result.RETURNED)


# -- its drawings --------------------------------------------------------------------


@pytest.mark.parametrize("form", ["text", "dot", "mermaid"])
def test_each_drawing_shows_every_stage_and_event(form: str) -> None:
    """
    A line for each cell of the table.
    """
    drawn = render(form)
    arrows = [line for line in drawn.splitlines() if "->" in line]
    ends = [line for line in arrows if "[*]" in line]

    assert len(arrows) - len(ends) == len(TABLE)
    assert all(str(stage) in drawn for stage in Stage)


@pytest.mark.parametrize(("form", "arrow"), [("dot", "->"), ("mermaid", "-->")])
def test_a_drawing_has_the_arrows_of_the_table(form: str, arrow: str) -> None:
    """
    Read back, it is the table.
    """
    pattern = re.compile(rf'(\w+) {arrow} (\w+)(?: \[label="|: )([a-z ]+)')
    read = {
        (Stage[stage], Event(event.strip())): Stage[target]
        for stage, target, event in pattern.findall(render(form))
    }

    assert read == dict(TABLE)


def test_the_text_says_where_hooks_run_and_what_is_active() -> None:
    """
    A line for each stage, as people read it.
    """
    text = render()

    assert "INITIALIZING  [INACTIVE]  init, post_init\n" in text
    assert "STARTING  [ACTIVE]  pre_start, start\n" in text
    assert "TORN_DOWN  [INACTIVE]  no hooks\n" in text
    assert "    tear down -> TEARING_DOWN\n" in text


def test_an_unknown_drawing_is_an_error_that_names_those_there_are() -> None:
    """
    The command checks it first, so this is ours.
    """
    with pytest.raises(InternalError, match="text, dot or mermaid") as caught:
        render("gif")

    assert isinstance(caught.value, KinesisError)


@pytest.mark.parametrize("form", ["text", "mermaid"])
def test_the_documentation_shows_the_table_as_it_is(form: str) -> None:
    """
    `kinesis stages --format …` prints what docs/stages.md shows.
    """
    page = DOCS.read_text(encoding="utf-8")

    assert f"```{form}\n{render(form)}```\n" in page


def test_the_documentation_names_every_hook() -> None:
    """
    With its contract: who runs it, and by when it must be done.
    """
    page = DOCS.read_text(encoding="utf-8")
    hooks = {hook for names in HOOKS.values() for hook in names}

    assert [hook for hook in sorted(hooks) if f"| `{hook}` |" not in page] == []
