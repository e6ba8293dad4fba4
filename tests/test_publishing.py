"""What others see of a state while it changes, and what they are told."""

from __future__ import annotations

import threading

from kinesis import Component, ComponentChange, Runtime, field, handles

PATIENCE = 10.0  # seconds


class Look:
    """Ask a component for its own snapshot."""


class Pair(Component):
    """Two fields that are always equal between messages."""

    left: int = field(default=0)
    right: int = field(default=0)

    @handles(int)
    def take(self, number: int) -> None:
        self.left = number
        self.right = number

    @handles(Look)
    def look(self, _: Look) -> tuple[int, int]:
        """Change one half, look, change the other."""
        self.left += 1
        seen = self.ref.snapshot()
        self.right += 1
        return seen.left, seen.right


def test_an_update_is_announced_like_any_other_change() -> None:
    """
    With an ETag and without: each listener hears of it, once.
    """
    with Runtime() as runtime:
        pair = runtime.add(Pair(name="pair"))
        with pair.subscribe(kinds=[ComponentChange]) as changes:
            pair.send(1)
            pair.update({"left": 2, "right": 2})
            pair.update({"left": 3, "right": 3}, etag=pair.snapshot().etag)
            pair.update({"left": 3})
            pair.send(4)
            heard = [changes.get(PATIENCE) for _ in range(4)]
    pairs = [
        (change.previous.left, change.current.left)
        for change in heard
        if isinstance(change, ComponentChange)
    ]

    assert pairs == [(0, 1), (1, 2), (2, 3), (3, 4)]


def test_an_update_answers_with_the_state_after_it() -> None:
    """
    Its ETag is the one that the next reader sees.
    """
    with Runtime() as runtime:
        pair = runtime.add(Pair(name="pair"))
        answered = pair.update({"left": 2, "right": 2})

        assert (answered.left, answered.right) == (2, 2)
        assert answered.etag == pair.snapshot().etag


def test_a_component_that_looks_at_itself_hides_no_change() -> None:
    """
    In the middle of a handler it sees its own half; a listener gets the whole.
    """
    with Runtime() as runtime:
        pair = runtime.add(Pair(name="pair"))
        with pair.subscribe(kinds=[ComponentChange]) as changes:
            own = pair.send(Look())
            change = changes.get(PATIENCE)

    assert own == (1, 0)
    assert isinstance(change, ComponentChange)
    assert (change.previous.left, change.previous.right) == (0, 0)
    assert (change.current.left, change.current.right) == (1, 1)


def test_a_component_that_looks_at_itself_shows_nobody_half_of_it() -> None:
    """
    Others get the state from before, until its handler has ended.
    """
    looked, go_on = threading.Event(), threading.Event()

    class Slow(Pair):
        @handles(str)
        def slow(self, _: str) -> None:
            self.left = 7
            self.ref.snapshot()
            looked.set()
            go_on.wait(PATIENCE)
            self.right = 7

    with Runtime() as runtime:
        pair = runtime.add(Slow(name="pair"))
        pair.snapshot()  # from now on readers are expected
        pair.post("go")
        try:
            assert looked.wait(PATIENCE)
            seen = pair.snapshot()
        finally:
            go_on.set()

    assert (seen.left, seen.right) == (0, 0)
