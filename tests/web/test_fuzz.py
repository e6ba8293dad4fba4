"""
A public fuzzer against a real server and its own OpenAPI document.

It sends what the document allows and what it does not, and looks for answers of
5xx, and for answers that the document does not know. Run by ``make stress``, where
schemathesis is installed: ``pip install -e '.[fuzz]'``.
"""

from __future__ import annotations

import datetime
import decimal
import enum
import faulthandler
import importlib.util
import subprocess
import sys
import uuid
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import attrs
import msgspec
import pytest
from werkzeug import Request, Response

from kinesis import Component, Container, Message, Runtime, field, handles
from kinesis.routing import route

pytestmark = [
    pytest.mark.stress,
    pytest.mark.skipif(
        importlib.util.find_spec("schemathesis") is None,
        reason="schemathesis is not installed: it brings fifty packages",
    ),
]

PATIENCE = 900.0  # seconds for one run of the fuzzer
TOKEN = "a long random text"

# What the fuzzer's own defaults take for a fault, and is none. 412: its If-Match is
# made up, and the state another one. 428: how to refuse a change without one (RFC
# 6585), as 422 is how to refuse one without a body.
# 400 of a GET: as its good case it sends `If-None-Match: 0`, which is no entity tag.
CONFIG = """
[checks]
positive_data_acceptance.expected-statuses =
    ["2xx", "3xx", "401", "403", "404", "409", "412"]
negative_data_rejection.expected-statuses =
    ["400", "401", "403", "404", "405", "406", "409", "412", "415", "422", "428"]
missing_required_header.expected-statuses =
    ["400", "401", "403", "404", "415", "422", "428"]

[[operations]]
include-method = ["GET", "HEAD"]
checks.positive_data_acceptance.expected-statuses =
    ["2xx", "3xx", "400", "401", "403", "404"]
""".replace("=\n    ", "= ")

ANY_STATE = '[parameters]\n"header.If-Match" = "*"\n'

# Streams do not end, and the fuzzer would wait for that.
NO_STREAM = ("--exclude-path", "/-/events")

STEERING = "/-/(stop|start|restart)$"

# Once a component is removed, 404 is the right answer to whatever is asked of it.
OF_WHAT_IS_GONE = (
    "not_a_server_error,status_code_conformance,content_type_conformance,"
    "response_headers_conformance,response_schema_conformance"
)


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


@attrs.frozen
class Limits:
    low: float
    high: float = 3.0
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Place:
    row: int
    shelf: Literal["top", "middle"] = "top"


class Label(msgspec.Struct, tag="label"):
    text: str


class Mark(msgspec.Struct, tag="mark"):
    number: int


@attrs.frozen
class Deposit(Message[int]):
    """Put some in."""

    amount: int
    note: str | None = None
    where: Place | None = None


@attrs.frozen
class Look(Message[Limits]):
    """Ask for the limits."""


class Ping:
    """Nothing but its class."""


class Stock(Component):
    """
    Things on shelves.
    """

    count: int = field(default=0)
    weight: float = field(default=0.5)
    colour: Colour = field(default=Colour.RED)
    limits: Limits = field(factory=lambda: Limits(1.0))
    # No dict of objects: what a patch must give depends on which are there.
    places: dict[str, int] = field(factory=dict)
    shelf: list[Place] = field(factory=list)
    signs: list[Label | Mark] = field(factory=list)
    tags: set[str] = field(factory=set)
    last: deque[int] = field(factory=deque)
    home: Path = field(default=Path("home"))
    id: uuid.UUID = field(default=uuid.UUID(int=7))
    price: decimal.Decimal | None = field(default=None)
    day: datetime.date | None = field(default=None)
    other: object = field(default=None)
    key: str = field(default="abc", secret=True)

    @handles(Deposit)
    def deposit(self, message: Deposit) -> int:
        self.count += message.amount
        return self.count

    @handles(Look)
    def look(self, message: Look) -> Limits:
        return self.limits

    @handles(Ping)
    def ping(self, message: Ping) -> None:
        self.count += 1

    def report(self, request: Request) -> dict[str, int]:
        """Say how many there are."""
        return {"count": self.count}

    @route("/items/<int(min=1,max=9):number>", methods=["GET", "DELETE"])
    def item(self, number: int) -> dict[str, int] | None:
        return {"number": number} if number % 2 else None

    @route("/labels/<name>", methods=["GET", "PUT", "PATCH"])
    def label(self, request: Request, name: str) -> str:
        return f"{name}: {len(request.get_data())}"

    @route("/kinds/<any(a, b):kind>/<uuid:key>/<float(signed=True):score>")
    def kind(self, kind: str, key: uuid.UUID, score: float) -> list[str]:
        return [kind, str(key), str(score)]

    @route("/files/<path:name>", public=True)
    def file(self, name: str) -> Response:
        return Response(name)

    @route("/lines")
    def lines(self) -> Iterator[str]:
        yield from ("one\n", "two\n")


@pytest.fixture
def runtime() -> Iterator[Runtime]:
    """
    A program with what there is to ask for, behind a token.
    """
    # The fuzzer takes minutes, and has a deadline of its own.
    faulthandler.cancel_dump_traceback_later()
    parts = [Stock(name="stock"), Container(name="Box", components=[Stock(name="In")])]
    with Runtime(components=parts, http={"port": 0, "token": TOKEN}) as runtime:
        app = runtime.http.app
        app.add_route("/hooks/<uuid:key>", _hook, methods=["POST"], public=True)
        yield runtime


def _hook(request: Request, key: uuid.UUID) -> str:
    """Answer a web hook."""
    return f"{key}: {len(request.get_data())}"


def fuzz(
    runtime: Runtime, tmp_path: Path, *options: str, config: str = CONFIG
) -> subprocess.CompletedProcess[str]:
    """
    Run the fuzzer; return what it said.
    """
    file = tmp_path / "schemathesis.toml"
    file.write_text(config)
    command = [sys.executable, "-c", "from schemathesis.cli import schemathesis as run"]
    command[-1] += "; run()"
    command += ["--config-file", str(file), "run"]
    command += [f"{runtime.http.address}/-/openapi.json", *NO_STREAM, *options]
    command += ["--header", f"Authorization: Bearer {TOKEN}"]
    command += ["--no-color", "--continue-on-failure", "--request-timeout", "30"]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=PATIENCE, cwd=tmp_path
    )


def check(done: subprocess.CompletedProcess[str]) -> None:
    """
    The fuzzer tested something, and found nothing.
    """
    assert " passed" in done.stdout, done.stdout + done.stderr
    assert done.returncode == 0, done.stdout + done.stderr


def test_nothing_that_is_asked_breaks_the_document(runtime, tmp_path):
    """
    All operations but those after which there is less to ask for.
    """
    less = ("--exclude-method", "DELETE", "--exclude-path-regex", STEERING)

    check(fuzz(runtime, tmp_path, *less, "--max-examples", "50"))


def test_values_are_taken_exactly_if_the_document_allows_them(runtime, tmp_path):
    """
    Changes that are not refused for what the state was.
    """
    changes = ("--include-method", "PUT", "--include-method", "PATCH")
    config = ANY_STATE + CONFIG

    check(fuzz(runtime, tmp_path, *changes, "--max-examples", "100", config=config))


def test_stopping_and_starting_in_any_order_breaks_nothing(runtime, tmp_path):
    """
    Containers and what is in them, the server's own part too.
    """
    steps = ("--include-path-regex", STEERING)

    check(fuzz(runtime, tmp_path, *steps, "--max-examples", "20"))


def test_removing_everything_breaks_nothing(runtime, tmp_path):
    """
    What is gone answers 404, as the document says.
    """
    removals = ("--include-method", "DELETE", "--checks", OF_WHAT_IS_GONE)

    check(fuzz(runtime, tmp_path, *removals, "--max-examples", "20"))
