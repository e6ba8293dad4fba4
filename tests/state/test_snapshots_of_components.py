"""Snapshots: taken between messages, detached, and never in the way."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections import deque
from pathlib import Path
from typing import Any

import pytest

from kinesis import Component, ComponentChange, Runtime, Stage, field, handles
from kinesis.errors import (
    InvalidStateError,
    WaitTimeoutError,
    WouldDeadlockError,
)
from kinesis.snapshots import StateCodec
from kinesis.testing import simulate
from tests.messages.parts import (
    LONG,
    PATIENCE,
    Add,
    Adder,
    Call,
    Get,
    Hold,
    Looping,
    counts,
    in_thread,
    serving_of,
    wait_until,
)


class Nested(Component):
    """State that can be changed in place, in every way."""

    number: int = field(default=0)
    items: list[int] = field(factory=list)
    nested: dict[str, dict[str, list[int]]] = field(factory=dict)
    tags: set[str] = field(factory=set)
    queue: deque[int] = field(factory=deque)
    secret: str = field(default="s3cret", secret=True)

    @handles(Call)
    def call(self, message: Call) -> Any:
        return message.function(self)


def test_a_snapshot_is_detached() -> None:
    """
    Neither the component nor the reader changes the other's.
    """
    with Runtime() as runtime:
        nested = runtime.add(Nested(name="nested"))
        nested.send(Call(lambda me: me.nested.setdefault("a", {}).update(b=[1])))
        before = nested.snapshot()
        before.nested["a"]["b"].append(99)
        nested.send(Call(lambda me: me.nested["a"]["b"].append(2)))

        assert before.nested == {"a": {"b": [1]}}
        assert nested.snapshot().nested == {"a": {"b": [1, 2]}}
        with pytest.raises(AttributeError):
            before.number = 5  # type: ignore[attr-defined]  # on purpose


def test_it_says_where_it_was_taken_and_when() -> None:
    """
    Path, stage, state and class; secrets are not shown.
    """
    with Runtime() as runtime:
        nested = runtime.add(Nested(name="nested"))
        snapshot = nested.snapshot()
        nested.stop()

        assert (snapshot.path, snapshot.name) == ("/app/nested", "nested")
        assert (snapshot.stage, nested.snapshot().stage) == (
            Stage.STARTED,
            Stage.STOPPED,
        )
        assert snapshot.etag == nested.snapshot().etag
        assert "s3cret" not in repr(snapshot)
        assert snapshot.secret == "s3cret"


CHANGES: list[Any] = [
    lambda me: setattr(me, "number", me.number + 1),
    lambda me: me.items.append(1),
    lambda me: me.items.__setitem__(0, 5),
    lambda me: me.nested.setdefault("a", {}),
    lambda me: me.nested["a"].__setitem__("b", [1]),
    lambda me: me.nested["a"]["b"].append(2),
    lambda me: me.tags.add("x"),
    lambda me: me.queue.append(3),
    lambda me: me.queue.extend([4, 5]),
    lambda me: me.__dict__.update(number=-1),
]


def test_the_etag_changes_with_the_content_whatever_way_it_was_changed() -> None:
    """
    Assignment, append, nested dict, set, deque, and past all of them.
    """
    with Runtime() as runtime:
        nested = runtime.add(Nested(name="nested"))
        etags = [nested.snapshot().etag]
        for change in CHANGES:
            nested.send(Call(change))
            etags.append(nested.snapshot().etag)

    assert len(set(etags)) == len(etags)


SAME: list[Any] = [
    lambda me: None,
    lambda me: setattr(me, "items", [1, 2]),  # another list of the same content
    lambda me: me.items.append(3) or me.items.pop() and None,
    lambda me: setattr(me, "nested", {"b": {}, "a": {}}),  # in another order
    lambda me: setattr(me, "tags", {"y", "x"}),
]


def test_the_etag_stays_while_the_content_does_and_nothing_is_announced() -> None:
    """
    Other objects of the same content, and what is changed there and back.
    """
    with Runtime() as runtime:
        nested = runtime.add(
            Nested(
                name="nested", items=[1, 2], nested={"a": {}, "b": {}}, tags={"x", "y"}
            )
        )
        etag = nested.snapshot().etag
        with nested.subscribe(kinds=[ComponentChange]) as changes:
            for change in SAME:
                nested.send(Call(change))
                assert nested.snapshot().etag == etag
            nested.send(Call(CHANGES[0]))
            change = changes.get(PATIENCE)

        assert isinstance(change, ComponentChange)
        assert change.previous.etag == etag != change.current.etag
        assert len(changes) == 0


PROGRAM = """
from kinesis import Component, Runtime, field
class Nested(Component):
    tags: set[str] = field(factory=lambda: {"a", "b", "c", "d"})
    nested: dict[str, list[float]] = field(factory=lambda: {"x": [0.1], "y": []})
    def start(self):
        self.stopping.wait()
with Runtime() as runtime:
    print(runtime.add(Nested(name="nested")).snapshot().etag)
"""


def test_the_etag_is_the_same_in_another_process() -> None:
    """
    Though sets of strings have another order in each.
    """
    etags = {
        subprocess.run(
            [sys.executable, "-c", PROGRAM],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
            cwd=Path(__file__).parents[2],
            check=True,
            capture_output=True,
            text=True,
            timeout=LONG,
        ).stdout
        for seed in ("1", "2")
    }

    assert len(etags) == 1


def test_no_etag_is_computed_when_nobody_asks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    Nor is anything encoded, while nobody looks.
    """
    done: list[str] = []
    originals = {name: getattr(StateCodec, name) for name in ("encode", "etag")}

    def noted(name: str) -> Any:
        def call(*arguments: Any) -> Any:
            done.append(name)
            return originals[name](*arguments)

        return call

    for name in originals:
        monkeypatch.setattr(StateCodec, name, noted(name))
    with Runtime() as runtime:
        adder = runtime.add(Adder(name="adder"))
        for _ in range(5):
            adder.send(Add())
        unseen = list(done)
        adder.snapshot()
        looked = list(done)
        assert adder.snapshot().etag == adder.snapshot().etag

    assert unseen == []
    assert looked == ["encode"]
    assert done.count("etag") <= 2


# -- readers and long handlers ---------------------------------------------------------


@pytest.mark.parametrize("component", [Adder, Looping])
def test_a_long_handler_does_not_block_the_readers_of_what_is_being_read(
    component: type[Adder],
) -> None:
    """
    They get the state from before it, at once.
    """
    with Runtime() as runtime:
        adder = runtime.add(component(name="adder"))
        adder.send(Add(1))
        adder.snapshot()
        adder.send(Add(1))
        hold = Hold()
        adder.post(hold)
        hold.wait_entered()
        seen = [adder.snapshot(timeout=0.0).sum for _ in range(3)]
        hold.go.set()

    assert seen == [2, 2, 2]


def test_a_reader_that_comes_between_two_handlers_waits_for_neither() -> None:
    """
    The state is known from the end of the one on, before the next one begins.
    """
    with Runtime() as runtime:
        adder = runtime.add(Adder(name="adder"))
        adder.snapshot()
        adder.send(Add(1))
        access = serving_of(adder)
        turn = Between(access.turn, lambda: adder.snapshot(timeout=0.0))
        access.turn = turn  # type: ignore[assignment]  # it stands for one
        adder.send(Add(2))

    [seen] = turn.seen
    assert not isinstance(seen, WaitTimeoutError), seen
    assert seen.sum == 1


class Between:
    """A turn of which somebody takes advantage between its taking and its use."""

    def __init__(self, turn: Any, look: Any) -> None:
        self._turn = turn
        self._look = look
        self.seen: list[Any] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._turn, name)

    def claim(self) -> None:
        """Take it; let another thread look at the state before going on."""
        self._turn.claim()
        if not self.seen:
            try:
                self.seen.append(in_thread(self._look).result())
            except WaitTimeoutError as error:
                self.seen.append(error)


def test_however_many_messages_come_between_two_looks() -> None:
    """
    Readers are expected for a minute; not for a number of messages.
    """
    with Runtime() as runtime:
        adder = runtime.add(Adder(name="adder"))
        adder.snapshot()
        adder.send_all([Add(1)] * 10)
        for _ in range(1500):
            adder.post(Add(1))
        hold = Hold()
        adder.post(hold)
        hold.wait_entered()

        assert adder.snapshot(timeout=0.0).sum == 1510
        hold.go.set()


def test_after_a_minute_without_readers_nothing_is_kept_for_them() -> None:
    """
    The next look is a first look again; it may wait for the handler.
    """

    class Slow(Component):
        done: int = field(default=0)

        @handles(float)
        def take(self, seconds: float) -> None:
            self.ref._cell.services.threads.sleep(seconds)
            self.done += 1

    with simulate() as simulation, simulation.runtime() as runtime:
        slow = runtime.add(Slow(name="slow", stall_after=LONG))
        slow.snapshot()
        simulation.advance(59.0)
        slow.send(0.0)
        slow.post(10.0)
        simulation.advance(5.0)
        kept = slow.snapshot(timeout=0.0).done
        simulation.advance(100.0)
        slow.send(0.0)
        slow.post(10.0)
        simulation.advance(5.0)
        with pytest.raises(WaitTimeoutError, match="the handler of float still runs"):
            slow.snapshot(timeout=0.5)
        before = simulation.now
        waited = slow.snapshot(timeout=LONG).done

        assert (kept, waited) == (1, 4)
        assert simulation.now - before == pytest.approx(4.5)


def test_a_first_look_waits_for_one_handler_and_not_for_those_behind_it() -> None:
    """
    The turn is handed to who has waited longest.
    """
    with Runtime() as runtime:
        adder = runtime.add(Adder(name="adder"))
        holds = [Hold() for _ in range(3)]
        for hold in holds:
            adder.post(hold)
        holds[0].wait_entered()
        looks = [in_thread(adder.snapshot) for _ in range(3)]
        wait_until(lambda: len(adder._cell.serving.turn._waiting) == 3)  # type: ignore[union-attr]  # it has begun
        holds[0].go.set()
        seen = [look.result().sum for look in looks]

        assert seen == [0, 0, 0]
        assert not holds[2].entered.is_set()
        for hold in holds:
            hold.go.set()


def test_edits_and_messages_take_turns() -> None:
    """
    Neither a loop of edits nor a flood of messages keeps the other out.
    """

    class Greedy(Component):
        edits: int = field(default=0)
        messages: int = field(default=0)

        def start(self) -> None:
            self.ready()
            while not self.stopping.is_set():
                with self.edit():
                    self.edits += 1
                    sum(range(2000))

        @handles(Add)
        def add(self, message: Add) -> None:
            self.messages += 1
            sum(range(2000))

    with Runtime() as runtime:
        greedy = runtime.add(Greedy(name="greedy"))
        before = greedy.snapshot().edits
        for _ in range(500):
            greedy.post(Add())
        wait_until(lambda: counts(greedy).depth == 0)
        after = greedy.snapshot()

    assert after.messages >= 499
    # One for one, but for when the worker had nothing to do.
    assert after.edits - before > 300
    assert after.edits - before < 10_000


def test_a_sender_that_got_its_answer_reads_at_least_that() -> None:
    """
    Its own message is in what it reads next, whoever else reads and sends.
    """

    def send_and_look() -> list[tuple[int, int]]:
        return [(adder.send(Add(1)), adder.snapshot().sum) for _ in range(200)]

    with Runtime() as runtime:
        adder = runtime.add(Adder(name="adder"))
        senders = [in_thread(send_and_look) for _ in range(3)]
        pairs = [pair for sender in senders for pair in sender.result()]

    assert all(seen >= replied for replied, seen in pairs)


def test_no_reader_sees_half_an_update() -> None:
    """
    Two fields that are always equal, and many readers.
    """

    class Pair(Component):
        left: int = field(default=0)
        right: int = field(default=0)

        @handles(int)
        def take(self, number: int) -> None:
            self.left = number
            threading.Event().wait(0.0005)
            self.right = number

    with Runtime() as runtime:
        pair = runtime.add(Pair(name="pair"))
        stop = threading.Event()

        def read() -> list[tuple[int, int]]:
            seen = []
            while not stop.is_set():
                snapshot = pair.snapshot()
                seen.append((snapshot.left, snapshot.right))
            return seen

        readers = [in_thread(read) for _ in range(2)]
        for number in range(30):
            pair.send(number)
        stop.set()
        seen = [each for reader in readers for each in reader.result()]

    assert all(left == right for left, right in seen)


def test_two_handlers_that_look_at_one_another_learn_of_the_deadlock() -> None:
    """
    A first look waits for a handler; here that one waits for the reader.
    """

    def look(me: Adder) -> int:
        return int(me.find("a").snapshot(timeout=LONG).sum)

    with Runtime() as runtime:
        a, _ = (runtime.add(Adder(name=name)) for name in "ab")
        with pytest.raises(WouldDeadlockError) as raised:
            a.send(Call(lambda me: me.find("b").send(Call(look), timeout=LONG)))

    assert raised.value.chain == ("/app/b", "/app/a", "/app/b")


def test_a_component_sees_its_own_state_as_it_is() -> None:
    """
    In the middle of a handler, without showing it to anybody.
    """

    def change_and_look(me: Adder) -> int:
        me.sum += 5
        return int(me.ref.snapshot().sum)

    with Runtime() as runtime:
        adder = runtime.add(Adder(name="adder"))

        assert adder.send(Call(change_and_look)) == 5


# -- what cannot be encoded ------------------------------------------------------------


class Loose(Component):
    """State of any type."""

    value: Any = field(default=None)
    number: int = field(default=0)

    @handles(Call)
    def call(self, message: Call) -> Any:
        return message.function(self)


def test_a_value_that_cannot_be_encoded_harms_neither_handler_nor_sender(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """
    Readers learn which field it is; the log says it once, not at each message.
    """

    def spoil(me: Loose) -> str:
        me.value = object()
        return "spoilt"

    def count(me: Loose) -> int:
        me.number += 1
        return me.number

    with Runtime() as runtime:
        loose = runtime.add(Loose(name="loose"))
        with loose.subscribe(kinds=[ComponentChange]) as changes:
            loose.snapshot()
            replies = [loose.send(Call(each)) for each in (spoil, *[count] * 4)]
            with pytest.raises(InvalidStateError, match="value"):
                loose.snapshot()
            loose.send(Call(lambda me: setattr(me, "value", None)))
            change = changes.get(PATIENCE)
        after = loose.snapshot()

    told = [each for each in caplog.records if "cannot be read" in each.message]
    assert replies == ["spoilt", 1, 2, 3, 4]
    assert after.number == 4
    assert len(told) == 1
    assert isinstance(change, ComponentChange)
    assert (change.previous.number, change.current.number) == (0, 4)


def test_whatever_the_encoding_of_a_value_raises_the_message_is_answered() -> None:
    """
    A SystemExit out of a value's own code, as well.
    """

    class Exits(list[int]):
        def __iter__(self) -> Any:
            raise SystemExit(1)

    def spoil(me: Loose) -> str:
        me.value = Exits([1])
        return "spoilt"

    with Runtime() as runtime:
        loose = runtime.add(Loose(name="loose"))
        with loose.subscribe(kinds=[ComponentChange]):
            assert loose.send(Call(spoil)) == "spoilt"
            assert loose.send(Call(lambda me: "next")) == "next"


# -- before and after ------------------------------------------------------------------


def test_there_are_snapshots_before_the_start_and_after_the_end() -> None:
    """
    A component that nobody has begun with, and one that is gone.
    """
    go = threading.Event()

    class Slow(Adder):
        def init(self) -> None:
            assert go.wait(PATIENCE)

    with Runtime() as runtime:
        first = runtime.add_nowait(Slow(name="first"))
        second = runtime.add_nowait(Adder(name="second", sum=7))
        wait_until(lambda: "second" in runtime)
        early = runtime["second"].snapshot()
        go.set()
        first.result(PATIENCE)
        adder = second.result(PATIENCE)
        adder.send(Add(1))
        runtime.remove("second")

        assert (early.sum, early.stage) == (7, Stage.SUBMITTED)
        assert (adder.snapshot().sum, adder.snapshot().stage) == (8, Stage.TORN_DOWN)


def test_a_component_without_handlers_is_read_as_well() -> None:
    """
    Its blocking start edits, and readers come in between.
    """

    class Counts(Component):
        number: int = field(default=0)

        def start(self) -> None:
            while not self.stopping.wait(0.001):
                with self.edit():
                    self.number += 1

    with Runtime() as runtime:
        number = runtime.add(Counts(name="counts"))
        wait_until(lambda: number.snapshot().number > 3)


def test_a_message_that_only_reads_changes_nothing() -> None:
    """
    The snapshot before it and the one after it have the same content.
    """
    with Runtime() as runtime:
        adder = runtime.add(Adder(name="adder"))
        before = adder.snapshot()
        adder.send(Get())

        assert adder.snapshot() == before
