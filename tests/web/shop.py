"""A small program with resources, messages and routes, for the tests beside this."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

import attrs
from werkzeug import Request, Response
from werkzeug.exceptions import Conflict
from werkzeug.test import Client

from kinesis import (
    Component,
    Container,
    Message,
    Runtime,
    field,
    handles,
    private,
    route,
)
from kinesis.web.application import Application

PATIENCE = 8.0  # seconds that a test waits for what must come


@attrs.frozen
class Deposit(Message[int]):
    """Put something in."""

    amount: int
    note: str = ""


@attrs.frozen
class Fail:
    """Have the handler raise."""


@attrs.frozen
class Wait:
    """Have the handler wait for the test's gate."""


class Ping:
    """A message whose class declares nothing."""


@attrs.frozen
class Rule:
    """A value that a field holds."""

    above: int
    text: str = ""


class Stock(Component):
    """It has a bit of everything."""

    count: int = field(default=0)
    price: float = field(default=1.5)
    label: str | None = field(default=None)
    parts: dict[str, int] = field(factory=dict)
    rules: list[Rule] = field(factory=list)
    pin: str = field(default="4711", secret=True)
    _gate: threading.Event = private(factory=threading.Event)
    _entered: threading.Semaphore = private(factory=lambda: threading.Semaphore(0))

    @handles(Deposit)
    def deposit(self, message: Deposit) -> int:
        self.count += message.amount
        return self.count

    @handles(Fail)
    def fail(self, message: Fail) -> None:
        raise ValueError("the secret reason")

    @handles(Wait)
    def wait(self, message: Wait) -> str:
        self._entered.release()
        assert self._gate.wait(PATIENCE), "the test never opened the gate"
        return "waited"

    @handles(Ping)
    def ping(self, message: Ping) -> object:
        return {"pong": [1, None]}

    def report(self, request: Request) -> dict[str, int]:
        """Say how many there are."""
        return {"count": self.count}

    def Shout(self, request: Request) -> str:
        return "!"

    def bump(self, request: Request) -> str:
        self.count += 1
        return str(self.count)

    def boom(self, request: Request) -> str:
        raise ValueError("the secret reason")

    def leave(self, request: Request) -> str:
        raise SystemExit(3)

    def conflict(self, request: Request) -> str:
        raise Conflict("not like that")

    def slow(self, request: Request) -> str:
        self._entered.release()
        assert self._gate.wait(PATIENCE), "the test never opened the gate"
        return "slow"

    def nothing(self, request: Request) -> None:
        return None

    def raw(self, request: Request) -> bytes:
        return b"\x00\x01"

    def response(self, request: Request) -> Response:
        return Response("made", 201, {"X-Own": "yes"})

    def rule(self, request: Request) -> Rule:
        return Rule(5, "x")

    def odd(self, request: Request) -> object:
        return 5

    def parts_of(self, request: Request) -> Iterator[str]:
        yield "one "
        yield f"two of {self.name}"

    def broken(self, request: Request) -> Iterator[str]:
        raise ValueError("before the first part")
        yield "never"

    def ask_itself(self, request: Request) -> str:
        return str(self.ref.send(Deposit(1)))

    @route("/free", alone=False)
    def free(self, request: Request) -> str:
        return str(self.ref.send(Deposit(1)))

    @route("/items/<int:id>", methods=["GET", "DELETE"])
    @route("/items/<int:id>/Parts/<path:rest>")
    def item(self, request: Request, id: int, rest: str = "") -> str:
        return f"{request.method} item {id} {rest}".rstrip()

    @route("/hook", methods=["POST"], public=True)
    def hook(self, request: Request) -> str:
        return request.get_data(as_text=True)

    @route
    def plain(self) -> str:
        return "without a request"

    def helper(self, text: str) -> str:
        return text

    def _hidden(self, request: Request) -> str:
        return "hidden"


class Shop(Container):
    """A container with state and a route of its own."""

    sign: str = field(default="open")

    @route("/<name>/where")
    def where(self, request: Request, name: str) -> str:
        return f"{name} is in {self.path}"


@attrs.define
class World:
    """A running program, its application, and a client of that."""

    runtime: Runtime
    app: Application
    client: Client

    @property
    def stock(self) -> Stock:
        """The live component: tests may look."""
        found = self.runtime["/app/shop/stock"]._cell.component
        assert isinstance(found, Stock)
        return found

    def ask(self, path: str, method: str = "GET", **more: object):
        """Ask the application; more arguments are those of Werkzeug's client."""
        return self.client.open(path, method=method, **more)

    def etag(self, path: str = "/app/shop/stock") -> str:
        """Return the entity tag of a resource."""
        return self.ask(path).headers["ETag"]


@contextlib.contextmanager
def world(**options: object) -> Iterator[World]:
    """Run the shop for the block, without a server."""
    shop = Shop(name="shop", components=[Stock(name="stock")])
    with Runtime("app", [shop]) as runtime:
        app = Application(runtime.root._cell, **options)
        made = World(runtime, app, Client(app))
        try:
            yield made
        finally:
            app.events.stop()
            if "shop" in runtime and "stock" in runtime["/app/shop"]:
                made.stock._gate.set()
