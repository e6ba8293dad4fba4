"""The wait-for graph refuses exactly the waits that would wait for themselves."""

from __future__ import annotations

import threading
from collections.abc import Hashable

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kinesis.concurrency import SystemThreads
from kinesis.errors import WouldDeadlockError
from kinesis.waits import Edges, WaitGraph


@attrs.define(eq=False)
class Token:
    """What one component at a time holds."""

    holder: Hashable = None


@attrs.frozen
class Loop:
    """A node that is only a part of a component."""

    path: str


def graph_of(*edges: tuple[Hashable, Hashable]) -> WaitGraph:
    """Return a graph with *edges*."""
    graph = WaitGraph(SystemThreads())
    for waiter, target in edges:
        graph.add(waiter, target)
    return graph


def test_a_wait_for_oneself_is_refused_with_the_path_twice() -> None:
    """
    The shortest cycle is a component that sends to itself.
    """
    with pytest.raises(WouldDeadlockError, match="'/app/a' would wait for itself") as e:
        graph_of().add("/app/a", "/app/a")

    assert e.value.chain == ("/app/a", "/app/a")


def test_a_wait_that_closes_a_cycle_is_refused_with_the_whole_chain() -> None:
    """
    The error names who waits for whom, in order, and nothing is noted.
    """
    graph = graph_of(("/b", "/c"), ("/c", "/a"))

    with pytest.raises(WouldDeadlockError, match="/a -> /b -> /c -> /a") as e:
        graph.add("/a", "/b")

    assert e.value.chain == ("/a", "/b", "/c", "/a")
    assert len(graph) == 2


def test_two_ways_to_the_same_target_are_no_cycle() -> None:
    """
    A diamond of waits is fine.
    """
    graph = graph_of(("/a", "/b"), ("/a", "/c"), ("/b", "/d"), ("/c", "/d"))

    assert graph.reaches("/a", "/d") in {("/a", "/b", "/d"), ("/a", "/c", "/d")}
    assert graph.reaches("/d", "/a") is None


def test_an_edge_noted_twice_is_there_until_removed_twice() -> None:
    """
    Two threads of a component may wait for the same target.
    """
    graph = graph_of(("/a", "/b"), ("/a", "/b"))

    graph.remove("/a", "/b")

    assert graph.reaches("/a", "/b") == ("/a", "/b")
    graph.remove("/a", "/b")
    assert graph.reaches("/a", "/b") is None
    assert len(graph) == 0


@pytest.mark.parametrize("edge", [("/x", "/b"), ("/a", "/x")])
def test_removing_an_edge_that_is_not_there_is_an_error(edge: tuple[str, str]) -> None:
    """
    A wait that ends twice is a mistake of ours, and not hidden.
    """
    graph = graph_of(("/a", "/b"))

    with pytest.raises(KeyError):
        graph.remove(*edge)


def test_an_edge_is_gone_after_its_block_whatever_it_raised() -> None:
    """
    The context manager pairs add and remove.
    """
    graph = graph_of()

    with pytest.raises(ZeroDivisionError), graph.edge("/a", "/b"):
        assert graph.reaches("/a", "/b") == ("/a", "/b")
        raise ZeroDivisionError

    assert len(graph) == 0


def test_a_token_leads_to_whoever_holds_it_now() -> None:
    """
    The holder is looked up when the graph is walked, not when the edge is added.
    """
    token = Token()
    graph = graph_of(("/a", token))

    assert graph.reaches("/a", "/b") is None
    with graph.locked():
        token.holder = "/b"
    assert graph.reaches("/a", "/b") == ("/a", "/b")
    assert graph.reaches(token, "/b") == ("/b",)


def test_a_wait_through_a_token_closes_a_cycle_too() -> None:
    """
    The chain in the error shows the holder in the token's place.
    """
    token = Token("/b")
    graph = graph_of(("/a", token))

    with pytest.raises(WouldDeadlockError) as e:
        graph.add("/b", "/a")

    assert e.value.chain == ("/b", "/a", "/b")


def test_a_part_of_a_component_is_a_node_of_its_own() -> None:
    """
    The thread of a blocking start may wait for the handlers of its component.
    """
    graph = graph_of((Loop("/a"), "/a"))

    with pytest.raises(WouldDeadlockError) as e:
        graph.add("/a", Loop("/a"))

    assert e.value.chain == ("/a", "/a", "/a")


def test_look_and_add_are_one_step_while_the_graph_is_locked() -> None:
    """
    Another thread that wants to add waits until the block has ended.
    """
    graph = graph_of()
    added = threading.Event()

    def add() -> None:
        graph.add("/b", "/a")
        added.set()

    other = threading.Thread(target=add)
    with graph.locked() as edges:
        other.start()
        assert edges.reaches("/b", "/a") is None
        assert not added.wait(0.05)
        edges.add("/b", "/c")
    other.join(5.0)

    assert added.is_set()
    assert len(graph) == 2


def test_of_two_threads_that_would_wait_for_each_other_one_is_refused() -> None:
    """
    Never both, and never none: the check and the edge are under one lock.
    """
    graph = graph_of()
    outcomes: list[str] = []
    for _ in range(200):
        ready, done = threading.Barrier(2), threading.Barrier(2)

        def wait(
            me: str,
            other: str,
            ready: threading.Barrier = ready,
            done: threading.Barrier = done,
        ) -> None:
            ready.wait(5.0)
            try:
                graph.add(me, other)
            except WouldDeadlockError:
                outcomes.append("refused")
                done.wait(5.0)
            else:
                outcomes.append("waits")
                done.wait(5.0)
                graph.remove(me, other)

        pair = [
            threading.Thread(target=wait, args=names)
            for names in [("/a", "/b"), ("/b", "/a")]
        ]
        for thread in pair:
            thread.start()
        for thread in pair:
            thread.join(5.0)

    assert sorted(outcomes) == ["refused"] * 200 + ["waits"] * 200
    assert len(graph) == 0


nodes = st.integers(0, 6)


@given(st.lists(st.tuples(nodes, nodes), max_size=30))
def test_whatever_is_added_the_graph_never_has_a_cycle(
    wanted: list[tuple[int, int]],
) -> None:
    """
    An edge is refused exactly when the edges so far lead from its target to it.
    """
    edges = Edges()
    reach: dict[int, set[int]] = {node: {node} for node in range(7)}
    for waiter, target in wanted:
        closes = waiter in reach[target]
        try:
            edges.add(waiter, target)
        except WouldDeadlockError:
            assert closes
        else:
            assert not closes
            for reached in reach.values():
                if waiter in reached:
                    reached |= reach[target]

    for start in range(7):
        for goal in range(7):
            chain = edges.reaches(start, goal)
            assert (chain is not None) == (goal in reach[start])
            assert chain is None or (chain[0], chain[-1]) == (start, goal)
