"""HTTPS, from outside."""

from __future__ import annotations

import contextlib
import http.client
import shutil
import socket
import ssl
import threading
from pathlib import Path

import pytest

from kinesis.concurrency import SystemThreads
from kinesis.errors import ListenError
from kinesis.web import tls
from kinesis.web.server import HTTPServer
from tests.web.serving import (
    PATIENCE,
    Application,
    Reply,
    asked,
    connect,
    eventually,
    open_files,
    read_all,
    read_until,
    serving,
    threads_of,
)

PEM = str(Path(__file__).with_name("localhost.pem"))


@pytest.fixture(scope="module")
def trust() -> ssl.SSLContext:
    """
    A client that trusts the test certificate, and checks the name.
    """
    return ssl.create_default_context(cafile=PEM)


def client_of(server: HTTPServer, trust: ssl.SSLContext):
    """Return a connection to ask over."""
    return contextlib.closing(
        http.client.HTTPSConnection(
            "127.0.0.1", server.port, context=trust, timeout=PATIENCE
        )
    )


def ask(server: HTTPServer, trust: ssl.SSLContext, path: str, **more) -> Reply:
    """Ask once."""
    with client_of(server, trust) as client:
        return asked(client, path, **more)


def test_requests_are_answered_on_a_kept_connection(trust):
    """
    Small ones, and bodies in both directions that take many records.
    """
    body = bytes(range(256)) * 4_000
    with serving(cert=PEM) as server, client_of(server, trust) as client:
        assert server.address == f"https://127.0.0.1:{server.port}"
        for _ in range(3):
            assert asked(client, "/").body == b"hello"
        assert asked(client, "/echo", method="POST", body=body).body == body
        assert len(asked(client, "/big?8000000").body) == 8_000_000


def test_a_request_may_come_in_many_records(trust):
    """
    Also when a record ends in the middle of the socket's bytes.
    """
    with serving(cert=PEM) as server, connect(server) as plain:
        with trust.wrap_socket(plain, server_hostname="localhost") as client:
            for byte in b"GET / HTTP/1.1\r\nHost: a\r\n\r\n":
                client.send(bytes([byte]))

            assert read_until(client, b"hello").startswith(b"HTTP/1.1 200")

            client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 2)

            assert read_until(client, b"hello").startswith(b"HTTP/1.1 200")


def test_the_application_is_told_the_scheme(trust):
    """
    For the links that it writes.
    """
    schemes = []

    def app(environ, start_response):
        schemes.append(environ["wsgi.url_scheme"])
        start_response("204 No Content", [])
        return []

    with serving(app, cert=PEM) as server:
        ask(server, trust, "/")

    assert schemes == ["https"]


def test_the_end_of_an_answer_is_told_from_a_cut(trust):
    """
    TLS says goodbye, so a body without a length is known to be whole.
    """
    with serving(cert=PEM) as server, connect(server) as plain:
        with trust.wrap_socket(
            plain, server_hostname="localhost", suppress_ragged_eofs=False
        ) as client:
            client.sendall(b"GET /chunked HTTP/1.0\r\n\r\n")

            assert read_all(client).endswith(b"onetwo")


def test_clients_that_never_shake_hands_delay_nobody(trust, monkeypatch):
    """
    And are cut after a while.
    """
    monkeypatch.setattr(tls, "HANDSHAKE_TIMEOUT", 0.5)
    with serving(cert=PEM, request_timeout=1) as server, contextlib.ExitStack() as all:
        silent = [all.enter_context(connect(server)) for _ in range(100)]
        for client in silent[::2]:
            client.sendall(b"\x16\x03\x01\x02\x00\x01")  # the beginning of a hello

        assert ask(server, trust, "/").status == 200
        assert silent[0].recv(1) == b""
        assert silent[1].recv(1) == b""


def test_clients_that_never_shake_hands_keep_nobody_out(trust, monkeypatch):
    """
    When there is no place left, they go first; so do those that have been idle.
    """
    monkeypatch.setattr(tls, "SLOW_HANDSHAKE", 0.1)
    with serving(cert=PEM, connection_limit=4) as server, contextlib.ExitStack() as all:
        for _ in range(3):
            all.enter_context(connect(server))
        kept = all.enter_context(client_of(server, trust))
        assert asked(kept, "/").status == 200
        for _ in range(4):
            assert ask(server, trust, "/").status == 200


def test_a_client_that_speaks_no_tls_is_cut(trust):
    """
    With the alert that OpenSSL sends, or nothing.
    """
    with serving(cert=PEM) as server, connect(server) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        with contextlib.suppress(ConnectionResetError):
            assert b"HTTP" not in read_all(client)

        assert ask(server, trust, "/").status == 200


def test_a_client_that_gives_up_its_handshake_leaves_nothing(trust):
    """
    It comes and goes, before the server has even looked.
    """
    with serving(cert=PEM) as server:
        for _ in range(20):
            connect(server).close()
        eventually(lambda: server.load.connections == 0, "all are forgotten")

        assert ask(server, trust, "/").status == 200


def test_bad_requests_get_their_answer(trust):
    """
    A refused client that is still sending can read why.
    """
    with serving(cert=PEM) as server:
        reply = ask(server, trust, "/echo", method="POST", body=b"a" * 3_000_000)

        assert reply.status == 413
        assert ask(server, trust, "/a//b").status == 400


def test_a_client_that_never_reads_gives_its_thread_back(trust):
    """
    As without TLS.
    """
    app = Application()
    with serving(app, cert=PEM, threads_pool=1, write_timeout=0.3) as server:
        with connect(server) as plain:
            with trust.wrap_socket(plain, server_hostname="localhost") as client:
                client.sendall(b"GET /big?50000000 HTTP/1.1\r\nHost: a\r\n\r\n")

                assert app.entered.acquire(timeout=PATIENCE)
                assert ask(server, trust, "/").status == 200


def test_what_is_in_flight_is_answered_at_a_stop(trust):
    """
    Silent handshakes do not hold it up.
    """
    app = Application()
    replies = []
    with serving(app, cert=PEM) as server, connect(server):
        clients = [
            threading.Thread(target=lambda: replies.append(ask(server, trust, "/wait")))
            for _ in range(5)
        ]
        for client in clients:
            client.start()
        for _ in clients:
            assert app.entered.acquire(timeout=PATIENCE)
        stop = threading.Thread(target=server.stop, args=(PATIENCE,))
        stop.start()
        app.gate.set()
        for thread in [*clients, stop]:
            thread.join(PATIENCE)

    assert [reply.status for reply in replies] == [200] * 5


def test_nothing_is_left_after_starts_and_stops(trust):
    """
    No descriptor and no thread.
    """
    server = HTTPServer(Application(), threads=SystemThreads(), cert=PEM)
    before = open_files()
    for _ in range(5):
        server.start()

        assert ask(server, trust, "/").status == 200
        assert server.stop(PATIENCE)

    assert open_files() == before
    assert threads_of(server) == set()


def test_files_that_cannot_be_used_are_an_error_that_names_them(tmp_path):
    """
    Missing, no certificate, or a key alone; the port is not taken.
    """
    empty = tmp_path / "empty.pem"
    empty.write_text("nothing")
    for cert, key in (
        ("no.pem", None),
        (str(empty), None),
        (PEM, str(empty)),
        (None, PEM),
    ):
        server = HTTPServer(Application(), threads=SystemThreads(), cert=cert, key=key)
        with pytest.raises(ListenError, match=str(cert or "no certificate")):
            server.start()


def test_a_renewed_certificate_is_used_without_a_restart(trust, tmp_path):
    """
    A broken one is refused, and the old one stays.
    """
    cert = tmp_path / "live.pem"
    shutil.copy(PEM, cert)
    with serving(cert=str(cert)) as server:
        server.reload_certificate()

        assert ask(server, trust, "/").status == 200

        cert.write_text("nothing")
        with pytest.raises(ListenError):
            server.reload_certificate()

        assert ask(server, trust, "/").status == 200


def test_there_is_nothing_to_reload_without_tls():
    """
    It does nothing.
    """
    with serving() as server:
        server.reload_certificate()


class Broken:
    """A TLS socket that has an error ready for everything."""

    def __init__(self, error: OSError) -> None:
        self.error = error
        self.shut = False

    def fail(self, *args: object) -> None:
        raise self.error

    do_handshake = recv = send = unwrap = fail

    def close(self) -> None:
        self.shut = True

    def pending(self) -> int:
        return 0


@contextlib.contextmanager
def broken(error: OSError):
    """Yield a TLS channel over such a socket, on a loop that nobody runs."""
    with serving(cert=PEM) as server:
        listener = server._running.listener
        here, there = socket.socketpair()
        with contextlib.closing(there):
            channel = tls.TLSChannel(listener, here, ("there", 1), listener.adj, map={})
            here.close()
            channel.socket = Broken(error)
            yield channel
            if channel.socket is not None:
                channel.handle_close()


def test_a_handshake_waits_for_what_openssl_wants():
    """
    For reading always, for writing when it says so.
    """
    with broken(ssl.SSLWantWriteError()) as channel:
        assert (channel.readable(), channel.writable()) == (True, False)

        channel.handle_write()

        assert (channel.readable(), channel.writable()) == (True, True)

    with broken(ssl.SSLWantReadError()) as channel:
        channel.handle_read()

        assert (channel.readable(), channel.writable()) == (True, False)
        assert not channel.is_between_requests()


def test_a_record_that_is_not_whole_is_not_the_end():
    """
    The socket was readable, and still there is nothing to read.
    """
    with broken(ssl.SSLWantReadError()) as channel:
        channel.shaken = True
        channel.handle_read()

        assert channel.connected
        assert channel.send(b"x") == 0
        assert channel.connected


def test_an_error_of_tls_closes_the_connection():
    """
    Read on the loop it does at once; a thread that writes leaves that to the loop.
    """
    with broken(ssl.SSLError("bad record")) as channel:
        channel.shaken = True

        assert channel.send(b"x", do_close=False) == 0
        assert (channel.connected, channel.will_close) == (True, True)

        channel.handle_read()

        assert not channel.connected
        assert channel.send(b"x") == 0


def test_old_versions_of_tls_are_refused():
    """
    1.2 and later are spoken.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with pytest.warns(DeprecationWarning, match="deprecated"):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    with serving(cert=PEM) as server, connect(server) as plain:
        with pytest.raises((ssl.SSLError, OSError)):
            context.wrap_socket(plain).close()


def test_a_second_stream_of_bytes_below_tls_is_harmless(trust):
    """
    Garbage after the handshake ends that connection, and no other.
    """
    with serving(cert=PEM) as server, connect(server) as plain:
        client = trust.wrap_socket(plain, server_hostname="localhost")
        below = socket.socket(fileno=client.detach())
        below.sendall(b"garbage garbage garbage")
        below.settimeout(PATIENCE)
        with contextlib.closing(below), contextlib.suppress(OSError):
            read_all(below)

        assert ask(server, trust, "/").status == 200
