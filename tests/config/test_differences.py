"""Two readings of a file differ in what was added, removed and changed."""

from __future__ import annotations

import attrs
from hypothesis import given
from hypothesis import strategies as st

from kinesis.component import Component
from kinesis.config import ComponentPlan, Difference, HttpPlan, Plan, difference
from kinesis.config.nodes import Place
from kinesis.container import Container


def leaf(name: str, **config: object) -> ComponentPlan:
    """Return the plan of a component without children."""
    return ComponentPlan(name, Component, config=config)


def box(name: str, *components: ComponentPlan) -> ComponentPlan:
    """Return the plan of a container."""
    return ComponentPlan(name, Container, components=components)


def names(difference: Difference) -> tuple[list[str], list[str], list[str]]:
    """Return the paths added, removed and changed."""
    return (
        list(difference.added),
        list(difference.removed),
        list(difference.changed),
    )


def test_what_comes_goes_and_changes_is_told_by_path() -> None:
    """
    Added in the order of the file, removed from its end.
    """
    old = Plan("app", (leaf("a"), leaf("b"), leaf("c", x=1), leaf("d")))
    new = Plan("app", (leaf("e"), leaf("c", x=2), leaf("d"), leaf("f")))
    found = difference(old, new)

    assert names(found) == (
        ["/app/e", "/app/f"],
        ["/app/b", "/app/a"],
        ["/app/c"],
    )
    assert found.changed["/app/c"] == leaf("c", x=2)
    assert found.removed["/app/a"] == leaf("a")


def test_a_container_is_not_replaced_for_its_children() -> None:
    """
    Only what differs in it is named, to any depth.
    """
    old = Plan("app", (box("a", box("b", leaf("c"), leaf("d", x=1)), leaf("e")),))
    new = Plan("app", (box("a", box("b", leaf("d", x=2), leaf("f"))),))

    assert names(difference(old, new)) == (
        ["/app/a/b/f"],
        ["/app/a/e", "/app/a/b/c"],
        ["/app/a/b/d"],
    )


def test_a_container_that_changed_itself_is_replaced_whole() -> None:
    """
    Its children come with it and are not named.
    """
    old = Plan("app", (box("a", leaf("b")),))
    new = Plan("app", (attrs.evolve(box("a", leaf("c")), strategy="one-for-all"),))

    assert names(difference(old, new)) == ([], [], ["/app/a"])
    assert names(difference(old, Plan("app", (leaf("a"),)))) == ([], [], ["/app/a"])


def test_order_and_places_are_no_difference() -> None:
    """
    What runs is not stopped to run in another order.
    """
    moved = attrs.evolve(leaf("a"), place=Place("f", 3, 4))
    old = Plan("app", (leaf("a"), leaf("b")), file="x")
    found = difference(old, Plan("app", (leaf("b"), moved), file="y"))

    assert not found
    assert names(found) == ([], [], [])


def test_what_concerns_the_program_itself_is_named_apart() -> None:
    """
    It takes effect when the program is started again; paths keep the old name.
    """
    old = Plan("app", (leaf("a"),))
    new = Plan("new", (leaf("b"),), "one-for-all", 3.0, HttpPlan())
    found = difference(old, new)

    assert found.program == ("name", "strategy", "shutdown_deadline", "http")
    assert names(found) == (["/app/b"], ["/app/a"], [])
    assert difference(old, attrs.evolve(old, http=HttpPlan(enabled=False)))


NAMES = st.sampled_from("abc")
LEAVES = st.builds(lambda name, x: leaf(name, x=x), NAMES, st.integers(0, 1))
COMPONENTS = st.recursive(
    LEAVES,
    lambda inner: st.builds(
        lambda name, parts: box(name, *parts),
        NAMES,
        st.lists(inner, max_size=3, unique_by=lambda plan: plan.name),
    ),
    max_leaves=8,
)
PLANS = st.lists(COMPONENTS, max_size=3, unique_by=lambda plan: plan.name).map(
    lambda plans: Plan("app", tuple(plans))
)

Tree = dict[str, object]


def tree_of(components: tuple[ComponentPlan, ...]) -> Tree:
    """Return what *components* are, in no order."""
    return {
        plan.name: (plan.type, dict(plan.config), tree_of(plan.components))
        for plan in components
    }


def applied(
    path: str, components: tuple[ComponentPlan, ...], found: Difference
) -> tuple[ComponentPlan, ...]:
    """Return *components* with *found* done to them."""
    kept = []
    for plan in components:
        own = f"{path}/{plan.name}"
        if own in found.removed:
            continue
        inner = applied(own, plan.components, found)
        kept.append(found.changed.get(own, attrs.evolve(plan, components=inner)))
    added = [
        plan for own, plan in found.added.items() if own.rpartition("/")[0] == path
    ]
    return (*kept, *added)


@given(PLANS, PLANS)
def test_doing_the_difference_to_the_old_gives_the_new(old: Plan, new: Plan) -> None:
    """
    And only then is there nothing left to do.
    """
    found = difference(old, new)
    after = applied("/app", old.components, found)

    assert tree_of(after) == tree_of(new.components)
    assert bool(found) == (tree_of(old.components) != tree_of(new.components))
    assert not difference(attrs.evolve(old, components=after), new)
