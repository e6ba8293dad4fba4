"""
What type checkers must refuse, each line that is marked and no other.

It never runs. A mark is the comment that lets the usual run of mypy pass, which
complains of a mark that is not needed; the tests take the marks away.
"""

from __future__ import annotations

from tests.typing.accepted import Base, Box, Counter, Louder, Port

Counter(first=1)  # type: ignore[call-arg]
Counter(name="c")  # type: ignore[call-arg]
Counter("c", first=1)  # type: ignore[call-arg]
Counter(name="c", first="1")  # type: ignore[arg-type]
Counter(name="c", first=1, tags=[1])  # type: ignore[list-item]
Counter(name="c", first=1, nope=1)  # type: ignore[call-arg]
Counter(name="c", first=1, connection=None)  # type: ignore[call-arg]
Counter(name="c", first=1, later=b"")  # type: ignore[call-arg]
Counter(name="c", first=1, LIMIT=1)  # type: ignore[call-arg]
Counter(name="c", first=1, step=1)  # type: ignore[call-arg]
Counter(name="c", first=1).count = "x"  # type: ignore[assignment]
Counter(name="c", first=1).nope  # type: ignore[attr-defined]  # noqa: B018
Louder(name="l", first=1, extra="x")  # type: ignore[arg-type]
Louder(name="l", first=1, limit="x")  # type: ignore[arg-type]
Louder(name="l", first=1, cache={})  # type: ignore[call-arg]
Box[int](name="b", value="x")  # type: ignore[arg-type]
Box(name="b")  # type: ignore[call-arg]
Port(name="p")  # type: ignore[call-arg]


class Shadowed(Base):
    """A field in the place of a hook."""

    start: int = 0  # type: ignore[assignment]


class Restated(Counter):
    """A default of another type."""

    count: int = "x"  # type: ignore[assignment]
    limit = "x"  # type: ignore[assignment]
