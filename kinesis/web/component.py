"""
The HTTP server as a component.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from kinesis.cells import Cell
from kinesis.component import Component
from kinesis.declared import private, setting
from kinesis.errors import StageError
from kinesis.web.application import Application
from kinesis.web.representation import Shows
from kinesis.web.security import VARIABLE, Guard
from kinesis.web.server import HTTPServer

NAME = "http"

STOP_SHARE = 0.8  # of the stop deadline: for the answers in flight


class HTTP(Shows, Component):
    """
    Serves the tree that it is in over HTTP.

    ``Runtime(http=…)`` and ``http:`` in a file put one in front of everything
    else: so it is the first to start, and shows how the others come up, and the
    last to stop. It may be added by hand as well.

    It has no state, but shows where it listens::

        GET /app/http  →  {…, "address": "http://127.0.0.1:8080"}

    Args:
        host: Where to listen. On any address but loopback, what changes something
            needs a token.
        port: 0 takes any free one.
        token: What ``Authorization: Bearer`` must carry to change something; None
            takes the environment's ``KINESIS_HTTP_TOKEN``, if it is set.
        hosts: More names of this server, such as those of a proxy before it.
        cert: PEM file of the certificate, for HTTPS.
        key: PEM file of its key; None if *cert* has it.
        stop_delay: Seconds between ``/-/ready`` failing and new work being
            refused, when the runtime stops.
        threads: How many requests are answered at once.
        connections: As many may be open.
        max_body: Bytes of a request's body.
        request_timeout: Seconds for a whole request to arrive.
    """

    background: ClassVar[bool] = True
    shown_types: ClassVar[Mapping[str, type]] = {"address": str}

    host: str = setting(default="127.0.0.1")
    port: int = setting(default=8080)
    token: str | None = setting(default=None)
    hosts: Sequence[str] = setting(default=())
    cert: str | None = setting(default=None)
    key: str | None = setting(default=None)
    stop_delay: float = setting(default=0.0)
    threads: int = setting(default=8)
    connections: int = setting(default=2_000)
    max_body: int = setting(default=2**20)
    request_timeout: float = setting(default=20.0)

    _app: Application | None = private(default=None)
    _server: HTTPServer | None = private(default=None)

    @property
    def app(self) -> Application:
        """The WSGI application; once the component is in a runtime."""
        if self._app is None:
            raise StageError(f"{self!r} is not in a runtime yet: it has no app.")
        return self._app

    @property
    def address(self) -> str:
        """
        Where it listens, or did last: ``http://127.0.0.1:8080``.

        Empty before the first time. No state: setting it would not move the server.
        """
        server = self._server
        return "" if server is None or not server.has_listened else server.address

    def shown(self) -> Mapping[str, object]:
        """Return where it listens now; an empty address if nowhere."""
        running = self._server is not None and self._server.is_running
        return {"address": self.address if running else ""}

    def attach(self, cell: Cell) -> None:
        """
        Make the application, for the tree that *cell* is in. Idempotent.

        Raises:
            TokenMissingError: Others can reach the address, and there is no token.
        """
        if self._app is not None:
            return
        guard = self._guard()
        root = cell
        while root.parent is not None:
            root = root.parent
        self._app = Application(root, guard=guard, carrier=cell)

    def _guard(self) -> Guard:
        """Return who lets requests pass, for the address that is asked for now."""
        token = self.token or os.environ.get(VARIABLE)
        return Guard.of(self.host, token, self.hosts)

    def init(self) -> None:
        """Make the server; and the guard anew, should the settings have changed."""
        cell: Cell = self.ref._cell
        self.attach(cell)
        self.app.guard = self._guard()
        self._server = HTTPServer(
            self.app,
            host=self.host,
            port=self.port,
            threads_pool=self.threads,
            cert=self.cert,
            key=self.key,
            connection_limit=self.connections,
            max_body=self.max_body,
            request_timeout=self.request_timeout,
            reserved=("/-/",),
            path=self.path,
            threads=cell.services.threads,
        )

    def start(self) -> None:
        """Serve until asked to stop, then answer what is in flight."""
        server = self._server
        assert server is not None
        doors = self.ref._cell.services.doors
        door = _Door(server, self.stop_delay)
        server.start()
        try:
            self.app.load = lambda: server.load
            doors.add(door)
            self.stopping.wait()
        finally:
            doors.remove(door)
            server.stop(self.stop_deadline * STOP_SHARE)
            self.app.events.stop()


class _Door:
    """The server, as what the runtime shuts before its parts stop."""

    def __init__(self, server: HTTPServer, delay: float) -> None:
        self._server = server
        self.delay = delay

    def shut(self) -> None:
        """Answer new requests with 503."""
        self._server.drain()

    def is_busy(self) -> bool:
        """Whether requests are being answered."""
        load = self._server.load
        return load.busy > 0 or load.waiting > 0


def component_for(wanted: Any, taken: set[str]) -> HTTP:
    """
    Return the component that ``Runtime(http=wanted)`` stands for.

    Args:
        wanted: True, a port, settings of `HTTP` by name, or an `HTTP`.
        taken: Names that it cannot have.
    """
    if isinstance(wanted, HTTP):
        return wanted
    name = NAME
    while name in taken:
        name = f"{name}-server"
    if wanted is True:
        return HTTP(name=name)
    if isinstance(wanted, int):
        return HTTP(name=name, port=wanted)
    if isinstance(wanted, Mapping):
        return HTTP(**{"name": name, **wanted})
    raise TypeError(
        f"http={wanted!r} says nothing: give True, a port, or a mapping of settings."
    )
