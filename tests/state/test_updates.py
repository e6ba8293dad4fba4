"""Ref.update: compare and set."""

from __future__ import annotations

import threading
from contextlib import suppress
from functools import partial
from typing import Any

import attrs
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from kinesis import (
    Component,
    ComponentChange,
    Container,
    Ref,
    Runtime,
    field,
    handles,
    private,
)
from kinesis.errors import (
    ComponentStoppedError,
    ETagMismatchError,
    InvalidStateError,
    WaitTimeoutError,
)
from tests.messages.parts import (
    LONG,
    PATIENCE,
    Add,
    Adder,
    Call,
    Hold,
    Looping,
    counts,
    in_thread,
    wait_until,
)


class Settings(Component):
    """State of several types, and what is no state."""

    limit: float = field(default=1.0)
    names: list[str] = field(factory=list)
    level: int | None = field(default=None)
    resource: object = private(default=None)

    @handles(str)
    def on(self, message: str) -> None:
        self.names.append(message)


def test_an_update_sets_fields_and_returns_the_state_after_it() -> None:
    """
    Only those that are given; the others stay.
    """
    with Runtime() as runtime:
        ref = runtime.add(Settings(name="settings"))
        after = ref.update({"limit": 2.5, "names": ["a"]})

        assert (after.limit, after.names, after.level) == (2.5, ["a"], None)
        assert ref.snapshot() == after


def test_an_update_with_a_snapshot_puts_its_state_back() -> None:
    """
    All of its fields.
    """
    with Runtime() as runtime:
        ref = runtime.add(Settings(name="settings"))
        before = ref.snapshot()
        ref.update({"limit": 2.5, "names": ["a"], "level": 3})
        back = ref.update(before)

        assert back.content == before.content


def test_an_update_shares_nothing_with_who_made_it() -> None:
    """
    What is given may be changed afterwards.
    """
    with Runtime() as runtime:
        ref = runtime.add(Settings(name="settings"))
        names = ["a"]
        ref.update({"names": names})
        names.append("b")

        assert ref.snapshot().names == ["a"]


def test_an_update_that_names_an_old_etag_changes_nothing() -> None:
    """
    The error has both; nothing is announced.
    """
    with Runtime() as runtime:
        ref = runtime.add(Settings(name="settings"))
        old = ref.snapshot()
        current = ref.update({"limit": 2.0}, etag=old.etag)
        with ref.subscribe(kinds=[ComponentChange]) as changes:
            with pytest.raises(ETagMismatchError) as raised:
                ref.update({"limit": 3.0}, etag=old.etag)
            with pytest.raises(WaitTimeoutError):
                changes.get(0.05)

        assert (raised.value.expected, raised.value.current) == (
            old.etag,
            current.etag,
        )
        assert old.etag in str(raised.value)
        assert current.etag in str(raised.value)
        assert ref.snapshot() == current


def test_an_etag_fits_again_once_the_content_does() -> None:
    """
    It is about the content, not about how often that was changed.
    """
    with Runtime() as runtime:
        ref = runtime.add(Settings(name="settings"))
        first = ref.snapshot()
        ref.update({"limit": 2.0})
        ref.update({"limit": 1.0})

        assert ref.update({"level": 1}, etag=first.etag).level == 1


def test_of_many_that_name_the_same_etag_one_wins() -> None:
    """
    The others learn that they have lost.
    """

    def try_to(number: int) -> int | None:
        start.wait(PATIENCE)
        try:
            return int(ref.update({"level": number}, etag=etag).level)
        except ETagMismatchError:
            return None

    start = threading.Event()
    with Runtime() as runtime:
        ref = runtime.add(Settings(name="settings"))
        etag = ref.snapshot().etag
        tries = [in_thread(partial(try_to, number)) for number in range(6)]
        start.set()
        won = [each.result() for each in tries]
        level = ref.snapshot().level

    assert [each for each in won if each is not None] == [level]


FAULTS: list[tuple[dict[str, Any], list[str]]] = [
    ({"limit": "high"}, ["limit: expected float, found str 'high'"]),
    ({"limt": 2.0}, ["limt: unknown. Did you mean 'limit'?"]),
    ({"resource": 1}, ["resource: is private"]),
    ({"name": "x"}, ["name: is a setting"]),
    ({"limit": float("nan")}, ["limit: NaN"]),
    ({"names": [1, "a", 2], "level": "x"}, ["names[0]:", "names[2]:", "level:"]),
]


@pytest.mark.parametrize(("values", "faults"), FAULTS)
def test_every_fault_of_an_update_is_named_and_nothing_is_changed(
    values: dict[str, Any], faults: list[str]
) -> None:
    """
    Unknown, of the wrong type, private, a setting, no number; one beside another.
    """
    with Runtime() as runtime:
        ref = runtime.add(Settings(name="settings"))
        before = ref.snapshot()
        with pytest.raises(InvalidStateError) as raised:
            ref.update({**values, "names": values.get("names", ["fine"])})

        assert len(raised.value.faults) == len(faults)
        for fault, expected in zip(raised.value.faults, faults, strict=True):
            assert fault.startswith(expected)
        assert ref.snapshot() == before


@attrs.define
class Nested:
    """What may have itself as a part."""

    inner: Nested | None = None


class Anything(Component):
    """State that may be of any form."""

    nested: Nested = field(factory=Nested)

    note: object = field(default=None)
    notes: dict[str, object] = field(factory=dict)
    any: Any = field(default=None)

    def start(self) -> None:
        self.stopping.wait()


@pytest.mark.parametrize("depth", [100, 300, 450, 480, 490, 500, 700, 5000])
def test_what_cannot_be_read_again_is_refused_and_not_kept(depth: int) -> None:
    """
    At any depth, of any type: the state is readable, and can be set again.
    """
    deep: list[object] = []
    nested: dict[str, object] = {}
    for _ in range(depth):
        deep, nested = [deep], {"inner": nested}
    with Runtime() as runtime:
        ref = runtime.add(Anything(name="anything"))
        for fields in (
            {"note": deep},
            {"notes": {"x": deep}},
            {"any": deep},
            {"nested": nested},
        ):
            before = ref.snapshot()
            with suppress(InvalidStateError):
                before = ref.update(fields)
            assert ref.snapshot().etag == before.etag
        assert ref.update({"note": 1, "notes": {}, "any": 2}).note == 1


def test_a_field_that_was_deleted_is_not_there_after_an_update_that_fails() -> None:
    """
    One that sets all that is missing mends the state.
    """
    with Runtime() as runtime:
        adder = runtime.add(Adder(name="adder"))
        adder.send(Call(lambda me: (delattr(me, "sum"), delattr(me, "seen"))))
        with pytest.raises(InvalidStateError, match="seen: not set"):
            adder.update({"sum": 5})
        assert not adder.send(Call(lambda me: hasattr(me, "sum")))
        assert adder.update({"sum": 5, "seen": []}).sum == 5


@pytest.mark.parametrize("component", [Adder, Looping])
def test_an_update_waits_its_turn_among_the_messages(
    component: type[Adder],
) -> None:
    """
    No handler runs beside it; it counts as a message.
    """
    with Runtime() as runtime:
        adder = runtime.add(component(name="adder"))
        hold = Hold()
        adder.post(hold)
        hold.wait_entered()
        updating = in_thread(lambda: adder.update({"sum": 10}))
        wait_until(lambda: counts(adder).depth == 1)
        adder.post(Add(1))
        hold.go.set()

        assert updating.result().sum == 10
        wait_until(lambda: adder.snapshot().sum == 11)


def test_a_component_without_handlers_whose_start_blocks_is_updated_too() -> None:
    """
    A thread for it is made at the first one; its start sees what was set.
    """

    class Polls(Component):
        interval: float = field(default=60.0)
        seen: float = field(default=0.0)

        def start(self) -> None:
            while not self.stopping.wait(0.001):
                with self.edit():
                    self.seen = self.interval

    with Runtime() as runtime:
        polls = runtime.add(Polls(name="polls"))
        after = polls.update({"interval": 0.5}, etag=None)
        wait_until(lambda: polls.snapshot().seen == 0.5)

    assert after.interval == 0.5


def test_a_container_is_updated_too() -> None:
    """
    It has a thread for messages only once there is one.
    """

    class Group(Container):
        motto: str = field(default="")

    with Runtime() as runtime:
        group = runtime.add(Group(name="group", components=[Adder(name="a")]))

        assert group.update({"motto": "all for one"}).motto == "all for one"


def test_a_stopped_component_refuses_an_update() -> None:
    """
    As it refuses every message.
    """
    with Runtime() as runtime:
        ref = runtime.add(Settings(name="settings"))
        ref.stop()
        with pytest.raises(ComponentStoppedError):
            ref.update({"limit": 2.0})
        ref.start()

        assert ref.update({"limit": 2.0}).limit == 2.0


class CompareAndSet(RuleBasedStateMachine):
    """Updates, messages and transactions against a plain dict."""

    def __init__(self) -> None:
        super().__init__()
        self.runtime = Runtime().start()
        self.ref: Ref[Settings] = self.runtime.add(Settings(name="settings"))
        self.model: dict[str, Any] = {"limit": 1.0, "names": [], "level": None}
        self.etags: dict[str, dict[str, Any]] = {}

    @rule()
    def look(self) -> None:
        """Remember the ETag of what is there now."""
        self.etags[self.ref.snapshot().etag] = {
            **self.model,
            "names": list(self.model["names"]),
        }

    @rule(limit=st.sampled_from([1.0, 2.0]), level=st.sampled_from([None, 1]))
    def update(self, limit: float, level: int | None) -> None:
        """Set two fields whatever is there."""
        self.ref.update({"limit": limit, "level": level})
        self.model.update(limit=limit, level=level)

    @rule(name=st.sampled_from(["a", "b"]))
    def append(self, name: str) -> None:
        """Change a list in place, by a message."""
        self.ref.send(name)
        self.model["names"] = [*self.model["names"], name]

    @rule()
    def clear(self) -> None:
        """Set one back."""
        self.ref.update({"names": []})
        self.model["names"] = []

    @precondition(lambda self: self.etags)
    @rule(data=st.data(), level=st.sampled_from([None, 1, 2]))
    def compare_and_set(self, data: st.DataObject, level: int | None) -> None:
        """Name an ETag of before: it fits exactly if the content is that of then."""
        etag = data.draw(st.sampled_from(sorted(self.etags)))
        if self.etags[etag] == self.model:
            assert self.ref.update({"level": level}, etag=etag).level == level
            self.model["level"] = level
        else:
            with pytest.raises(ETagMismatchError):
                self.ref.update({"level": level}, etag=etag)

    @invariant()
    def the_state_is_that_of_the_model(self) -> None:
        """Whatever has happened."""
        assert self.ref.snapshot().fields() == self.model

    def teardown(self) -> None:
        self.runtime.stop(LONG)


TestCompareAndSet = CompareAndSet.TestCase
TestCompareAndSet.settings = settings(max_examples=30, stateful_step_count=25)
