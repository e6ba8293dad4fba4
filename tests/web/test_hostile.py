"""Clients that do what no decent one does; each time others are served as ever."""

from __future__ import annotations

import contextlib
import logging
import os
import random
import signal
import socket
import ssl
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from kinesis.web.channels import PIECE
from kinesis.web.server import HTTPServer
from tests.web.serving import (
    PATIENCE,
    Application,
    ask,
    connect,
    eventually,
    read_all,
    read_until,
    say,
    serving,
)

PEM = str(Path(__file__).with_name("localhost.pem"))

GET = b"GET /hello HTTP/1.1\r\nHost: a\r\n\r\n"
WAIT = GET.replace(b"hello", b"wait")
POST = b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"

SEED = 20_261_124
ROUNDS = 300


@contextlib.contextmanager
def unharmed(app: Application | None = None, **settings) -> Iterator[HTTPServer]:
    """Serve; afterwards a decent client is answered, and nothing is left."""
    with serving(app or Application(), **settings) as server:
        yield server
        if server.cert is None:
            assert ask(server, "/hello").body == b"hello"
        eventually(lambda: server.load.connections == 0, "all are closed")
        eventually(lambda: server.load.busy == 0, "all threads are free")


def half_close_in_the_middle(app, server, client):
    """Ask for what takes long, and end our side of the connection meanwhile."""
    client.sendall(WAIT)
    assert app.entered.acquire(timeout=PATIENCE)
    client.shutdown(socket.SHUT_WR)
    (channel,) = server._running.listener.channels()
    eventually(lambda: channel.input_ended, "its end is seen")
    app.gate.set()


class TestHalfClosed:
    """A client that has ended its side, and waits for what it has asked for."""

    @pytest.mark.parametrize(
        ("sent", "answers"),
        [(GET, 1), (POST, 1), (GET * 3, 3), (GET + b"GET / HT", 1), (b"GET / HT", 0)],
    )
    def test_what_it_has_asked_for_is_answered(self, sent: bytes, answers: int):
        """
        All that came whole; then the connection is closed.
        """
        with unharmed() as server, connect(server) as client:
            client.sendall(sent)
            client.shutdown(socket.SHUT_WR)
            answer = read_all(client)

        assert answer.count(b"HTTP/1.1 200") == answers

    def test_also_if_that_takes_long(self):
        """
        Seen by the loop while the application still thinks.
        """
        app = Application()
        with unharmed(app) as server, connect(server) as client:
            half_close_in_the_middle(app, server, client)

            assert read_all(client).count(b"HTTP/1.1 200") == 1

    def test_also_what_does_not_fit_at_once(self):
        """
        The last bytes are sent before the connection is closed.
        """
        with unharmed() as server, connect(server) as client:
            client.sendall(GET.replace(b"hello", b"big?3000000"))
            client.shutdown(socket.SHUT_WR)
            head, _, body = read_all(client).partition(b"\r\n\r\n")

        assert head.startswith(b"HTTP/1.1 200")
        assert len(body) == 3_000_000

    def test_an_application_may_ask_whether_it_is_there(self):
        """
        By the function that waitress has for that.
        """
        app, seen = Application(), []

        def looking(environ, start_response):
            answer = app(environ, start_response)
            seen.append(environ["waitress.client_disconnected"]())
            return answer

        with unharmed(looking) as server, connect(server) as client:
            half_close_in_the_middle(app, server, client)
            read_all(client)

        assert seen[0] is True

    def test_over_tls_too(self):
        """
        Whose goodbye goes one way as well.
        """
        trust = ssl.create_default_context(cafile=PEM)
        trust.options |= getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", 0)
        app = Application()
        with unharmed(app, cert=PEM) as server, connect(server) as plain:
            into, out = ssl.MemoryBIO(), ssl.MemoryBIO()
            client = trust.wrap_bio(into, out, server_hostname="localhost")

            def until_done(do):
                while True:
                    with contextlib.suppress(ssl.SSLWantReadError):
                        return do()
                    plain.sendall(out.read())
                    part = plain.recv(65_536)
                    into.write(part) if part else into.write_eof()

            until_done(client.do_handshake)
            client.write(WAIT)
            plain.sendall(out.read())
            assert app.entered.acquire(timeout=PATIENCE)
            with contextlib.suppress(ssl.SSLWantReadError):
                client.unwrap()  # our goodbye; theirs is to come
            plain.sendall(out.read())
            (channel,) = server._running.listener.channels()
            eventually(lambda: channel.input_ended, "its end is seen")
            app.gate.set()
            answer = read_all(plain)

        assert len(answer) > 100  # encrypted; without the answer it were a goodbye


class TestPipelines:
    def test_thousands_at_once_are_answered_in_order_and_delay_nobody(self):
        """
        They take their turns with those of others.
        """
        with unharmed(threads_pool=1) as server, connect(server) as client:
            client.sendall(GET * 2_000)
            for _ in range(5):
                assert ask(server, "/hello").status == 200
            client.shutdown(socket.SHUT_WR)

            assert read_all(client).count(b"HTTP/1.1 200") == 2_000

    def test_no_more_is_read_than_may_wait(self):
        """
        A piece of some fifty at a time: all else waits as bytes, not as requests.
        """
        app = Application()
        with unharmed(app) as server, connect(server) as client:
            client.sendall(WAIT + GET * 1_000)
            assert app.entered.acquire(timeout=PATIENCE)
            (channel,) = server._running.listener.channels()
            eventually(lambda: channel in server._running.listener.behind, "it waits")

            assert len(channel.requests) <= PIECE / len(GET) + 1

            app.gate.set()
            client.shutdown(socket.SHUT_WR)

            assert read_all(client).count(b"HTTP/1.1 200") == 1_001

    def test_what_fails_in_reading_on_ends_that_client_alone(self):
        """
        As it does when it fails in a first read.
        """
        app = Application()
        with unharmed(app) as server, connect(server) as client:
            client.sendall(WAIT + GET * 1_000)
            assert app.entered.acquire(timeout=PATIENCE)
            (channel,) = server._running.listener.channels()
            eventually(lambda: channel in server._running.listener.behind, "it waits")

            def fail() -> bool:
                raise ZeroDivisionError("ours")

            channel.read_on = fail
            app.gate.set()
            read_all(client)
            eventually(lambda: server.load.connections == 0, "it is closed")

    def test_a_client_that_pipelines_and_never_reads_is_cut(self):
        """
        What it may have waiting is bounded, in requests and in bytes.
        """
        asked = GET.replace(b"hello", b"big?500000")
        with unharmed(write_timeout=0.3, threads_pool=2) as server:
            with connect(server) as client:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
                client.sendall(asked * 100)
                eventually(lambda: server.load.connections == 0, "it is cut")

    def test_what_follows_a_bad_one_is_not_run(self):
        """
        Where it would begin is anybody's guess.
        """
        app = Application()
        with unharmed(app) as server, connect(server) as client:
            client.sendall(GET + b"GET / HTTP/1.1\r\nBad Header\r\n\r\n" + GET * 3)
            answer = read_all(client)

        assert answer.count(b"HTTP/1.1 200") == 1
        assert answer.count(b"HTTP/1.1 400") == 1
        assert app.seen.count("/hello") == 2  # the other is from `unharmed`


class TestSpaces:
    """Patterns that take time squared would keep the loop for a minute."""

    @pytest.mark.parametrize(
        ("before", "after", "status"),
        [
            (b"Transfer-Encoding: chunked", b",", 400),
            (b"Transfer-Encoding:", b"chunked,", 400),
            (b"X:", b"a", 200),
            (b"X:", b"\0", 400),
            (b"X: a", b"\0", 400),
            (b"X:\r\n", b"a", 400),
            (b"X", b": a", 400),
        ],
    )
    def test_thousands_of_them_in_a_header_keep_nobody_waiting(
        self, before: bytes, after: bytes, status: int
    ):
        """
        The answer comes before the client loses patience.
        """
        header = before + b" " * 60_000 + after + b"\r\n"
        end = b"Connection: close\r\n\r\n"
        with unharmed() as server:
            answer = say(server, GET.removesuffix(b"\r\n") + header + end)

        assert answer.startswith(b"HTTP/1.1 %d " % status)


class TestGarbage:
    def test_mutated_requests_do_no_harm(self, caplog):
        """
        Good requests with bytes changed, doubled or left out, under a seed. None
        is answered with a failure of ours, and nothing is logged as one.
        """
        dice = random.Random(SEED)
        chunked = POST.replace(b"Content-Length: 3", b"Transfer-Encoding: chunked")
        chunked = chunked.replace(b"abc", b"3\r\nabc\r\n0\r\n\r\n")
        seeds = [GET, POST, chunked, GET * 2, POST + GET]
        answers = b""
        with unharmed(Application().hello, request_timeout=0.5) as server:
            for _ in range(ROUNDS):
                with contextlib.suppress(ConnectionError), connect(server) as client:
                    client.sendall(mutated(dice.choice(seeds), dice))
                    if dice.random() < 0.9:
                        client.shutdown(socket.SHUT_WR)
                        answers += read_all(client)

        assert b"HTTP/1.1 200" in answers
        assert b"HTTP/1.1 400" in answers
        assert b"HTTP/1.1 500" not in answers
        assert not [r for r in caplog.records if r.levelno >= logging.ERROR]

    def test_garbage_in_place_of_tls_does_no_harm(self, caplog):
        """
        Before, in the middle of, and after the handshake.
        """
        dice = random.Random(SEED)
        trust = ssl.create_default_context(cafile=PEM)
        with unharmed(cert=PEM) as server:
            for number in range(60):
                with contextlib.suppress(OSError), connect(server) as client:
                    client.settimeout(0.5)
                    if number % 3 == 0:
                        client.sendall(dice.randbytes(dice.randrange(1, 2_000)))
                    elif number % 3 == 1:
                        client.sendall(mutated(hello_of(trust), dice))
                    else:
                        with trust.wrap_socket(
                            client,
                            server_hostname="localhost",
                            do_handshake_on_connect=True,
                        ) as shaken:
                            raw = socket.socket(fileno=os.dup(shaken.fileno()))
                            with raw:
                                raw.sendall(dice.randbytes(500))
                                raw.recv(1)
                    client.recv(100)
            eventually(lambda: server.load.connections == 0, "all are closed")
            with connect(server) as plain:
                with trust.wrap_socket(plain, server_hostname="localhost") as client:
                    client.sendall(GET)

                    assert b"hello" in read_until(client, b"hello")

        assert not [r for r in caplog.records if r.levelno >= logging.ERROR]


def mutated(data: bytes, dice: random.Random) -> bytes:
    """Return *data* with some of it changed."""
    made = bytearray(data)
    for _ in range(dice.randrange(1, 6)):
        at = dice.randrange(len(made) + 1)
        match dice.randrange(5):
            case 0:
                made[at:at] = bytes([dice.choice(b"\r\n\0 :;,/%\xff0")])
            case 1:
                del made[at : at + dice.randrange(1, 8)]
            case 2:
                made[at:at] = made[at : at + 20]
            case 3:
                made[at : at + 1] = dice.randbytes(1)
            case _:
                made[at:at] = dice.choice([b"\r\n", b"99999999999", b"\r\n\r\n", b"-"])
    return bytes(made)


def hello_of(trust: ssl.SSLContext) -> bytes:
    """Return the first bytes that a client of TLS sends."""
    out = ssl.MemoryBIO()
    client = trust.wrap_bio(ssl.MemoryBIO(), out, server_hostname="localhost")
    with contextlib.suppress(ssl.SSLWantReadError):
        client.do_handshake()
    return out.read()


READER = """\
import socket, sys
client = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
client.sendall(b"GET /big?50000000 HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n")
print(len(client.recv(1)), flush=True)
while client.recv(65536):
    pass
"""


class TestStoppedProcesses:
    def test_a_reader_that_is_stopped_is_cut_and_others_are_served(self):
        """
        A process that is there and reads nothing any more; its thread comes back.
        """
        app = Application()
        command = [sys.executable, "-c", READER]
        with unharmed(app, write_timeout=0.5, threads_pool=1) as server:
            with subprocess.Popen(
                [*command, str(server.port)], stdout=subprocess.PIPE
            ) as reader:
                try:
                    assert reader.stdout.readline() == b"1\n"
                    os.kill(reader.pid, signal.SIGSTOP)

                    assert ask(server, "/hello").status == 200
                    assert app.closed.acquire(timeout=PATIENCE)
                finally:
                    os.kill(reader.pid, signal.SIGKILL)


class TestVanishing:
    @pytest.mark.parametrize("path", [b"hello", b"big?5000000", b"wait", b"chunked"])
    def test_a_client_that_resets_leaves_nothing(self, path: bytes, caplog):
        """
        At any moment; with a reset, not a goodbye.
        """
        dice = random.Random(SEED)
        app = Application()
        with unharmed(app, threads_pool=4) as server:
            for _ in range(30):
                with connect(server) as client:
                    client.sendall(GET.replace(b"hello", path))
                    time.sleep(dice.random() * 0.002)  # any moment, not an order
                    linger = struct.pack("ii", 1, 0)
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            app.gate.set()

        assert not [r for r in caplog.records if r.levelno >= logging.ERROR]
