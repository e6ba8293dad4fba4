"""A server, an application, and clients good and bad, for the tests beside this."""

from __future__ import annotations

import contextlib
import http.client
import os
import socket
import threading
import time
from collections.abc import Iterator

import attrs

from kinesis.concurrency import SystemThreads
from kinesis.web.server import HTTPServer

PATIENCE = 8.0  # seconds that a test waits for what must come
CHUNK = b"x" * 65_536


@attrs.frozen
class Reply:
    """A whole answer."""

    status: int
    headers: dict[str, str]
    body: bytes


@attrs.define(eq=False)
class Application:
    """
    A WSGI application whose path says what it does.

    Requests to ``/wait`` wait for *gate*; *entered* counts them.
    """

    gate: threading.Event = attrs.field(factory=threading.Event)
    entered: threading.Semaphore = attrs.field(factory=lambda: threading.Semaphore(0))
    closed: threading.Semaphore = attrs.field(factory=lambda: threading.Semaphore(0))
    seen: list[str] = attrs.field(factory=list)

    def __call__(self, environ, start_response):
        """Answer by the last word of the path."""
        path = environ["PATH_INFO"]
        self.seen.append(path)
        answer = getattr(self, path.rpartition("/")[2] or "hello")
        return answer(environ, start_response)

    def hello(self, environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"hello"]

    live = hello

    def wait(self, environ, start_response):
        self.entered.release()
        if not self.gate.wait(PATIENCE):
            raise AssertionError("the test never opened the gate")
        return self.hello(environ, start_response)

    def echo(self, environ, start_response):
        body = environ["wsgi.input"].read()
        start_response("200 OK", [("X-Length", str(len(body)))])
        return [body]

    def big(self, environ, start_response):
        """Answer with so many bytes as the query says."""
        size = int(environ["QUERY_STRING"])
        start_response("200 OK", [("Content-Length", str(size))])
        self.entered.release()
        return self.pieces(size)

    def pieces(self, size: int) -> Iterator[bytes]:
        try:
            for at in range(0, size, len(CHUNK)):
                yield CHUNK[: size - at]
        finally:
            self.closed.release()

    def chunked(self, environ, start_response):
        """Answer without a length."""
        start_response("200 OK", [])
        return iter([b"one", b"two"])

    def boom(self, environ, start_response):
        raise OSError("the disk is on fire")

    def leave(self, environ, start_response):
        raise SystemExit(7)

    def late(self, environ, start_response):
        """Fail when the answer has begun."""
        start_response("200 OK", [("Content-Length", "6")])
        yield b"one"
        raise ValueError("no more")


@contextlib.contextmanager
def serving(app=None, **settings) -> Iterator[HTTPServer]:
    """
    Run a server for the block; afterwards it stops clean, if it still runs.
    """
    server = HTTPServer(app or Application(), threads=SystemThreads(), **settings)
    server.start()
    try:
        yield server
    except BaseException:
        server.stop(1.0)
        raise
    assert server.stop(PATIENCE), "the server did not stop clean"


def connect(server: HTTPServer) -> socket.socket:
    """Return a connection that never waits longer than a test may."""
    return socket.create_connection((server.host, server.port), timeout=PATIENCE)


def ask(server: HTTPServer, path: str, *, method: str = "GET", **more: object) -> Reply:
    """Ask as a decent client does, on a connection of its own."""
    client = http.client.HTTPConnection(server.host, server.port, timeout=PATIENCE)
    with contextlib.closing(client):
        return asked(client, path, method=method, **more)


def asked(client: http.client.HTTPConnection, path: str, **more: object) -> Reply:
    """Ask over a connection that is kept."""
    method = str(more.pop("method", "GET"))
    client.request(method, path, **more)
    response = client.getresponse()
    return Reply(response.status, dict(response.getheaders()), response.read())


def say(server: HTTPServer, data: bytes) -> bytes:
    """Send bytes as they are; return all that comes until the server closes."""
    with connect(server) as client:
        client.sendall(data)
        return read_all(client)


def read_all(client: socket.socket) -> bytes:
    """Return what comes until the other side closes."""
    parts = []
    while part := client.recv(65_536):
        parts.append(part)
    return b"".join(parts)


def read_until(client: socket.socket, end: bytes) -> bytes:
    """Return what comes until *end* has come."""
    got = b""
    while end not in got:
        part = client.recv(65_536)
        assert part, f"closed before {end!r} came, after {got[-200:]!r}"
        got += part
    return got


def eventually(condition, what: str) -> None:
    """Wait until *condition* holds; it changes on another thread."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"{what}: never within {PATIENCE} s"
        time.sleep(0.005)  # a poll, not an order of events


def open_files() -> int:
    """Return how many descriptors this process has."""
    return len(os.listdir("/proc/self/fd"))


def threads_of(server: HTTPServer) -> set[str]:
    """Return the names of the server's threads that run."""
    prefix = f"kinesis:{server.path}:"
    return {t.name for t in threading.enumerate() if t.name.startswith(prefix)}
