"""
The small project that ``kinesis new`` makes.

Its module has the same name in every project. Named after the project it could
hide another module: a project may well be called ``json`` or ``kinesis``.
"""

from __future__ import annotations

from pathlib import Path

from kinesis.component import check_name

NAME = "@NAME@"  # where the project's name goes

COMPONENTS = '''\
"""The components of @NAME@."""

from __future__ import annotations

import attrs

from kinesis import Component, Message, field, handles


@attrs.frozen
class Greet(Message[str]):
    """Ask for a greeting; the text is the answer."""

    who: str


class Greeter(Component):
    """Greets whoever asks, and the world every so many seconds."""

    greeting: str = field(default="Hello")
    interval: float = field(default=1.0)
    greeted: int = field(default=0)

    def start(self) -> None:
        """Be the component's loop until it is asked to stop."""
        while not self.stopping.wait(self.interval):
            with self.edit():
                self.log.info(self.greet(Greet("world")))

    @handles(Greet)
    def greet(self, message: Greet) -> str:
        """Answer a message: one at a time, never beside the loop's `edit`."""
        self.greeted += 1
        return f"{self.greeting}, {message.who}!"
'''

PROGRAM = """\
# What runs, and in which order it starts.
# See it checked: kinesis check ./@NAME@.yaml
name: "@NAME@"
components:
  - name: greeter
    type: components:Greeter
    config:
      greeting: ${GREETING:-Hello}
      interval: 1.0
    restart:
      when: on-failure
"""

TEST = '''\
"""How the components of @NAME@ behave."""

from components import Greet, Greeter

from kinesis import Runtime


def test_whoever_asks_is_greeted() -> None:
    """A message is answered, and counted in the state."""
    with Runtime(name="test") as runtime:
        greeter = runtime.add(Greeter(name="greeter", interval=60.0))

        assert greeter.send(Greet("Ada")) == "Hello, Ada!"
        assert greeter.snapshot().greeted == 1
'''

README = """\
# @NAME@

    python3 -m venv .venv && . .venv/bin/activate
    pip install -r requirements.txt
    kinesis run ./@NAME@.yaml     # ctrl-c stops it
    pytest

| file | what it is |
| --- | --- |
| `components.py` | what the program is made of |
| `@NAME@.yaml` | which components run, with which settings |
| `test_components.py` | how they behave |

`kinesis schema > kinesis.schema.json` lets an editor complete and check the YAML.
"""

REQUIREMENTS = """\
kinesis-runtime
pytest
"""


def make(name: str, parent: Path | None = None) -> list[Path]:
    """
    Make the project *name* in a new directory; return its files.

    Args:
        parent: Where the directory goes; None is the current directory.

    Raises:
        InvalidNameError: *name* could not be the first part of a path.
        FileExistsError: There is something of that name.
    """
    root = (parent or Path()) / check_name(name)
    try:
        root.mkdir()
    except FileExistsError:
        raise FileExistsError(
            f"cannot make '{root}': it is there already. Choose another name."
        ) from None
    return [_write(root / file, text, name) for file, text in _files(name).items()]


def _files(name: str) -> dict[str, str]:
    """Return what each file of the project *name* is made from."""
    return {
        "README.md": README,
        "requirements.txt": REQUIREMENTS,
        f"{name}.yaml": PROGRAM,
        "components.py": COMPONENTS,
        "test_components.py": TEST,
    }


def _write(path: Path, template: str, name: str) -> Path:
    """Write *template* for the project *name* to *path*; return it."""
    path.write_text(template.replace(NAME, name), encoding="utf-8")
    return path
