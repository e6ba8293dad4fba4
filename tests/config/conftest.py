"""A directory with a module of components and a file beside it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

from kinesis.config import Plan, load
from kinesis.errors import ConfigError

PARTS = '''\
"""Components for files to name."""

from __future__ import annotations

from abc import abstractmethod

from kinesis.component import Component
from kinesis.container import Container
from kinesis.declared import field, private
from kinesis.restarts import Restart


class Counter(Component):
    """Counts."""

    count: int = field(default=0)
    step: float = field(default=1.0)


class Poller(Component):
    """Polls; has fields of all sorts."""

    url: str = field()
    tags: list[str] = field(factory=list)
    limits: dict[str, float] = field(factory=dict)
    note: str | None = field(default=None)
    token: str = field(default="", secret=True)
    socket: object = private()

    restart = Restart(when="always", limit=3)


class Shelf(Container):
    """A container with a field of its own."""

    label: str = field(default="")


class Picky(Component):
    """Refuses some values itself."""

    size: int = field()

    def __init__(self, **fields: object) -> None:
        if fields["size"] == 13:
            raise ValueError("13 is no size")
        self.__attrs_init__(**fields)


class Unfinished(Component):
    """Cannot be made."""

    @abstractmethod
    def work(self) -> None: ...

    __abstractmethods__ = frozenset({"work"})


class Plain:
    """No component."""


def function() -> None:
    """No class."""
'''


@attrs.define(eq=False)
class Shop:
    """A directory with modules and a file; `load` reads the file."""

    path: Path
    environ: dict[str, str] = attrs.field(factory=dict)

    def write(self, name: str, text: str) -> Path:
        """Write the file *name*, in folders of its own if need be."""
        file = self.path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        return file

    def load(self, text: str) -> Plan:
        """Return the plan of a file that says *text*."""
        return load(self.write("app.yaml", text), environ=self.environ)

    def faults(self, text: str) -> list[str]:
        """Return the faults of such a file, without its path."""
        with pytest.raises(ConfigError) as caught:
            self.load(text)
        file = f"{self.path / 'app.yaml'}:"
        return [line.removeprefix(file) for line in str(caught.value).splitlines()]

    def component(self, text: str, type_: str = "parts:Counter") -> str:
        """Return a file with one component that says *text* below its type."""
        lines = "".join(f"    {line}\n" for line in text.splitlines())
        return (
            "name: app\ncomponents:\n"
            f"  - name: one\n    type: {type_}\n{lines}"  # from line 5 on
        )


def forget(directory: Path) -> None:
    """Take out of ``sys.modules`` what came from *directory*."""
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", "")).startswith(str(directory)):
            del sys.modules[name]


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    """Give a directory with ``parts.py``; what was imported from it is forgotten."""
    path = list(sys.path)
    shop = Shop(tmp_path)
    shop.write("parts.py", PARTS)

    yield shop

    sys.path[:] = path
    forget(tmp_path)
