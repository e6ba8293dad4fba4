"""What type checkers must accept of declared classes; it also runs."""

from __future__ import annotations

from typing import ClassVar, Generic, TypeVar, assert_type

from kinesis.declared import Declared, field, private, setting

T = TypeVar("T")


class Base(Declared):
    """Stands for Component."""

    name: str = setting()
    limit: int = setting(default=3)

    def start(self) -> None:
        """A hook."""


class Mixin:
    """No component."""

    def shout(self) -> str:
        """Return something."""
        return "!"


class Counter(Base):
    """Every kind of field."""

    first: int = field()
    count: int = 0
    tags: list[str] = field(factory=list)
    token: str = field(default="", secret=True, persist=False)
    connection: object = private(default=None)
    cache: dict[str, int] = private(factory=dict)
    later: bytes = private()
    LIMIT: ClassVar[int] = 9
    step = 2


class Louder(Mixin, Counter):
    """A subclass with a new default and a field more."""

    limit = 7
    extra: float | None = None


class Box(Base, Generic[T]):
    """A generic one."""

    value: T


class Port(Base):
    """An own constructor."""

    number: int = 0

    def __init__(self, device: str) -> None:
        self.__attrs_init__(name=device, number=5)


counter = Counter(name="c", first=1)
assert_type(counter.count, int)
assert_type(counter.tags, list[str])
assert_type(counter.token, str)
assert_type(counter.cache, dict[str, int])
assert_type(counter.LIMIT, int)
counter.count += counter.first
counter.later = b""

louder = Louder(name="l", first=1, count=2, tags=["x"], token="t", limit=8, extra=1.5)
assert_type(louder.extra, float | None)
assert_type(louder.limit, int)
assert_type(louder.shout(), str)

box = Box(name="b", value=[1])
assert_type(box, Box[list[int]])
assert_type(Box[str](name="b", value="x").value, str)

assert_type(Port("tty").number, int)
