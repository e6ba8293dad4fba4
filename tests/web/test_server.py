"""The server, from outside: real sockets on loopback."""

from __future__ import annotations

import contextlib
import errno
import http.client
import json
import logging
import socket
import threading
import time

import pytest

from kinesis.concurrency import SystemThreads
from kinesis.errors import ListenError, StageError
from kinesis.web import channels
from kinesis.web import server as server_module
from kinesis.web.server import HTTPServer, Load, bind, connections_within_files
from tests.web.serving import (
    PATIENCE,
    Application,
    ask,
    asked,
    connect,
    eventually,
    open_files,
    read_all,
    read_until,
    say,
    serving,
    threads_of,
)

GET = b"GET / HTTP/1.1\r\nHost: a\r\n"


def problem_in(answer: bytes) -> dict[str, object]:
    """Return the problem document at the end of a raw answer."""
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"application/problem+json" in head
    assert f"Content-Length: {len(body)}".encode() in head
    return json.loads(body)


def wait_for(semaphore: threading.Semaphore, times: int = 1) -> None:
    """Wait until something has happened so many times."""
    for _ in range(times):
        assert semaphore.acquire(timeout=PATIENCE), "it never happened"


class TestStarting:
    def test_any_free_port_is_taken_and_told(self):
        """
        Port 0 becomes a number that a client can use.
        """
        with serving() as server:
            assert server.port > 0
            assert server.address == f"http://127.0.0.1:{server.port}"
            assert ask(server, "/").body == b"hello"
            assert repr(server) == f"<HTTPServer /http {server.address} [running]>"

        assert repr(server).endswith("[stopped]>")

    def test_an_address_in_use_is_refused_by_name(self):
        """
        With what to do about it; nothing is left behind.
        """
        with serving() as first:
            before = open_files()
            second = HTTPServer(Application(), port=first.port, threads=SystemThreads())
            with pytest.raises(ListenError, match="choose another port") as caught:
                second.start()

            assert caught.value.port == first.port
            assert isinstance(caught.value, OSError)
            assert open_files() == before

    def test_a_host_of_another_machine_is_refused_by_name(self):
        """
        An address that is not here, and a name that is nowhere.
        """
        for host in ("203.0.113.7", "no-such-host.invalid"):
            server = HTTPServer(Application(), host=host, threads=SystemThreads())
            with pytest.raises(ListenError, match="of this machine"):
                server.start()

    def test_the_advice_fits_the_error(self):
        """
        A port below 1024 needs another word than one in use.
        """
        advice = server_module.advice(OSError(errno.EACCES, "Permission denied"))

        assert "below 1024" in advice

    def test_started_twice_is_an_error(self):
        """
        The first keeps running.
        """
        with serving() as server:
            with pytest.raises(StageError, match="Stop it first"):
                server.start()

            assert ask(server, "/").status == 200

    def test_it_starts_again_after_a_stop(self):
        """
        On the same port or another, as it is asked for.
        """
        server = HTTPServer(Application(), threads=SystemThreads())
        for _ in range(2):
            server.start()

            assert ask(server, "/").body == b"hello"
            assert server.stop(PATIENCE)

    def test_settings_that_cannot_work_are_refused(self):
        """
        When it is made, not when it starts.
        """
        for wrong in ({"port": 70_000}, {"threads_pool": 0}, {"request_timeout": 0}):
            with pytest.raises(ValueError):
                HTTPServer(Application(), threads=SystemThreads(), **wrong)

    def test_ipv6_is_spoken(self):
        """
        With brackets in the address.
        """
        with contextlib.closing(socket.socket(socket.AF_INET6)) as probe:
            try:
                probe.bind(("::1", 0))
            except OSError:
                pytest.skip("no IPv6 here")
        with serving(host="::1") as server:
            assert server.address == f"http://[::1]:{server.port}"
            assert ask(server, "/").body == b"hello"

    def test_its_threads_bear_its_path(self):
        """
        So that a stack trace of the process can be read.
        """
        with serving(path="/app/http", threads_pool=2) as server:
            assert threads_of(server) == {
                "kinesis:/app/http:http-loop",
                "kinesis:/app/http:http-1",
                "kinesis:/app/http:http-2",
            }

        assert threads_of(server) == set()

    @pytest.mark.parametrize("granted", [0, 1, 2])
    def test_a_thread_refused_by_the_system_leaves_nothing_behind(self, granted: int):
        """
        Whichever thread it is: no socket, no thread, and the error says so.
        """

        class Scarce(SystemThreads):
            left = granted

            def start(self, target, name, *, background=False):
                self.left -= 1
                if self.left < 0:
                    raise RuntimeError("can't start new thread")
                return super().start(target, name, background=background)

        before = open_files()
        server = HTTPServer(Application(), threads=Scarce(), threads_pool=2)
        with pytest.raises(RuntimeError, match="can't start"):
            server.start()

        assert open_files() == before
        assert threads_of(server) == set()
        assert server.stop()

    def test_few_open_files_mean_few_connections(self, monkeypatch, caplog):
        """
        So that connections never take the last descriptor of the process.
        """
        import resource

        monkeypatch.setattr(resource, "getrlimit", lambda which: (256, 4_096))

        assert connections_within_files(2_000, "/http") == 192
        assert connections_within_files(100, "/http") == 100
        assert "ulimit -n" in caplog.text


class TestStopping:
    def test_what_is_in_flight_is_answered(self):
        """
        And told that the connection ends; a stop that waits for it is clean.
        """
        app = Application()
        replies = []
        with serving(app) as server:
            clients = [
                threading.Thread(target=lambda: replies.append(ask(server, "/wait")))
                for _ in range(5)
            ]
            for client in clients:
                client.start()
            wait_for(app.entered, 5)
            idle = [connect(server) for _ in range(20)]
            stop = threading.Thread(
                target=lambda: replies.append(server.stop(PATIENCE))
            )
            stop.start()
            eventually(lambda: not accepts(server), "the port is closed")

            assert replies == []

            app.gate.set()
            for thread in [*clients, stop]:
                thread.join(PATIENCE)
            for client in idle:
                assert client.recv(1) == b""
                client.close()

        stopped = [reply for reply in replies if reply is True]
        answers = [reply for reply in replies if reply is not True]
        assert len(stopped) == 1
        assert [(reply.status, reply.headers["Connection"]) for reply in answers] == [
            (200, "close")
        ] * 5

    def test_a_request_that_is_on_its_way_is_answered(self):
        """
        Half of it had come before the stop, the rest comes in time.
        """
        with serving() as server, connect(server) as client:
            client.sendall(GET)
            eventually(lambda: server.load.connections == 1, "it is connected")
            stop = threading.Thread(target=server.stop, args=(PATIENCE,))
            stop.start()
            eventually(lambda: not accepts(server), "the port is closed")
            client.sendall(b"\r\n")

            assert read_all(client).startswith(b"HTTP/1.1 200")

            stop.join(PATIENCE)

    def test_what_outlives_the_deadline_is_cut(self, caplog):
        """
        The stop ends in time, says that it was not clean, and names the thread.
        """
        app = Application()
        server = HTTPServer(app, threads=SystemThreads(), path="/x", threads_pool=1)
        server.start()
        with connect(server) as client:
            client.sendall(b"GET /wait HTTP/1.1\r\nHost: a\r\n\r\n")
            wait_for(app.entered)
            began = time.monotonic()

            assert server.stop(0.4) is False
            assert time.monotonic() - began < PATIENCE
            assert client.recv(1) == b""
            assert "kinesis:/x:http-1" in caplog.text

            app.gate.set()
            eventually(lambda: not threads_of(server), "its thread ends")

    def test_requests_that_no_thread_had_taken_are_cut_too(self):
        """
        Their clients see the end of the connection, and no thread stays for them.
        """
        app = Application()
        server = HTTPServer(app, threads=SystemThreads(), threads_pool=1)
        server.start()
        with connect(server) as first, connect(server) as second:
            for client in (first, second):
                client.sendall(b"GET /wait HTTP/1.1\r\nHost: a\r\n\r\n")
            wait_for(app.entered)
            eventually(lambda: server.load.waiting == 1, "one waits")

            assert server.stop(0.2) is False
            assert second.recv(1) == b""

        app.gate.set()
        eventually(lambda: not threads_of(server), "its thread ends")
        assert len(app.seen) == 1

    def test_a_client_that_does_not_read_does_not_hold_up_the_thread(self):
        """
        The stop cuts it at its deadline; the thread that wrote to it ends.
        """
        app = Application()
        server = HTTPServer(app, threads=SystemThreads(), threads_pool=1)
        server.start()
        with connect(server) as client:
            client.sendall(b"GET /big?50000000 HTTP/1.1\r\nHost: a\r\n\r\n")
            wait_for(app.entered)

            assert server.stop(0.5) is False

        wait_for(app.closed)
        eventually(lambda: not threads_of(server), "its thread ends")

    def test_stopping_twice_or_before_the_start_is_harmless(self):
        """
        There is nothing to do, and that has been done.
        """
        server = HTTPServer(Application(), threads=SystemThreads())

        assert server.stop()

        server.start()

        assert server.stop()
        assert server.stop()
        assert server.load == Load()

    def test_the_port_is_free_for_the_next_one_at_once(self):
        """
        With SO_REUSEADDR, also while closed connections are in TIME_WAIT.
        """
        with serving() as server:
            for _ in range(5):
                ask(server, "/", headers={"Connection": "close"})
        bind("127.0.0.1", server.port).close()

    def test_fifty_starts_and_stops_leave_nothing(self):
        """
        No thread and no descriptor, after requests and connections left idle.
        """
        server = HTTPServer(Application(), threads=SystemThreads(), threads_pool=2)
        before = open_files()
        for number in range(50):
            server.start()
            with contextlib.ExitStack() as clients:
                if number % 10 == 0:
                    clients.enter_context(connect(server))

                assert ask(server, "/").status == 200
                assert server.stop(PATIENCE)

        assert threads_of(server) == set()
        assert open_files() == before

    @pytest.mark.stress
    def test_no_busy_client_loses_a_request_to_a_stop(self):
        """
        Twelve clients on kept connections; each answer that ends one says so.
        """
        for _ in range(20):
            lost: list[object] = []
            with serving() as server:
                clients = [
                    threading.Thread(target=ask_until_told, args=(server, lost))
                    for _ in range(12)
                ]
                for client in clients:
                    client.start()
                eventually(lambda s=server: s.load.connections == 12, "all ask")
                server.stop(PATIENCE)
                for client in clients:
                    client.join(PATIENCE)

            assert lost == []


def accepts(server: HTTPServer) -> bool:
    """Whether a new connection is taken."""
    try:
        connect(server).close()
    except OSError:
        return False
    return True


def ask_until_told(server: HTTPServer, lost: list[object]) -> None:
    """Ask over one connection until an answer closes it; note one that is lost."""
    client = http.client.HTTPConnection(server.host, server.port, timeout=PATIENCE)
    with contextlib.closing(client):
        while True:
            try:
                reply = asked(client, "/")
            except (OSError, http.client.HTTPException) as error:
                lost.append(error)
                return
            if reply.headers.get("Connection") == "close":
                return


class TestDraining:
    def test_new_work_is_refused_while_old_work_is_finished(self):
        """
        With 503 and a time to come back; what the server itself tells goes on.
        """
        app = Application()
        replies = []
        with serving(app) as server:
            client = threading.Thread(
                target=lambda: replies.append(ask(server, "/wait"))
            )
            client.start()
            wait_for(app.entered)
            server.drain(retry_after=7)
            refused = ask(server, "/shop/hello")
            health = ask(server, "/-/live")
            app.gate.set()
            client.join(PATIENCE)

        assert (refused.status, refused.headers["Retry-After"]) == (503, "7")
        assert json.loads(refused.body)["instance"] == "/shop/hello"
        assert health.status == 200
        assert replies[0].status == 200

    def test_a_connection_that_was_open_is_told_to_go_elsewhere(self):
        """
        The next request on it is refused, and closes it.
        """
        with serving() as server:
            client = http.client.HTTPConnection(server.host, server.port, timeout=5)
            with contextlib.closing(client):
                assert asked(client, "/").status == 200

                server.drain()
                reply = asked(client, "/")

        assert (reply.status, reply.headers["Connection"]) == (503, "close")

    def test_draining_what_does_not_run_is_harmless(self):
        """
        And does not last into the next start.
        """
        server = HTTPServer(Application(), threads=SystemThreads())
        server.drain()
        server.start()

        assert ask(server, "/").status == 200
        assert server.stop()


class TestBusy:
    def test_when_the_queue_is_full_the_next_is_told_so_at_once(self):
        """
        503 from the loop: no thread is free to say it.
        """
        app = Application()
        with serving(app, threads_pool=1, queue_limit=1) as server:
            with connect(server) as running, connect(server) as waiting:
                running.sendall(b"GET /wait HTTP/1.1\r\nHost: a\r\n\r\n")
                wait_for(app.entered)
                waiting.sendall(b"GET /x/hello HTTP/1.1\r\nHost: a\r\n\r\n")
                eventually(lambda: server.load.waiting == 1, "one waits")

                assert server.load.busy == 1

                full = ask(server, "/y/hello")
                head = say(server, b"HEAD /y/hello HTTP/1.1\r\nHost: a\r\n\r\n")
                app.gate.set()
                first = read_until(running, b"hello")
                second = read_until(waiting, b"hello")

        assert (full.status, full.headers["Retry-After"]) == (503, "1")
        assert json.loads(full.body)["instance"] == "/y/hello"
        assert head.startswith(b"HTTP/1.1 503")
        assert head.endswith(b"\r\n\r\n")
        assert first.startswith(b"HTTP/1.1 200")
        assert second.startswith(b"HTTP/1.1 200")

    def test_requests_behind_a_refused_one_are_not_run(self):
        """
        Their connection is closed; the client asks again elsewhere.
        """
        app = Application()
        with serving(app) as server:
            server.drain()
            answer = say(server, (GET + b"\r\n") * 3)

        assert answer.count(b"HTTP/1.1 503") == 1
        assert app.seen == []

    def test_connections_over_the_limit_wait_until_another_ends(self, caplog):
        """
        In the system's backlog, while all have asked for something.
        """
        app = Application()
        with serving(app, connection_limit=2) as server:
            with connect(server) as first, connect(server) as second:
                for client in (first, second):
                    client.sendall(b"GET /wait HTTP/1.1\r\nHost: a\r\n\r\n")
                wait_for(app.entered, 2)
                with connect(server) as third:
                    third.sendall(GET + b"Connection: close\r\n\r\n")
                    eventually(lambda: "as many as may be" in caplog.text, "it says so")

                    assert server.load.connections == 2

                    app.gate.set()

                    assert read_all(third).startswith(b"HTTP/1.1 200")

    def test_idle_connections_do_not_keep_others_out(self):
        """
        The one that has been silent for longest goes; those that have asked stay.
        """
        app = Application()
        with serving(app, connection_limit=20) as server, contextlib.ExitStack() as all:
            asking = all.enter_context(connect(server))
            asking.sendall(b"GET /wait HTTP/1.1\r\nHost: a\r\n\r\n")
            half = all.enter_context(connect(server))
            half.sendall(GET)
            idle = [all.enter_context(connect(server)) for _ in range(18)]
            eventually(lambda: server.load.connections == 20, "all are in")
            wait_for(app.entered)
            for _ in range(50):
                assert ask(server, "/hello").status == 200
                assert server.load.connections <= 20

            assert idle[0].recv(1) == b""  # closed

            app.gate.set()
            half.sendall(b"\r\n")

            assert b"hello" in read_until(asking, b"hello")
            assert b"hello" in read_until(half, b"hello")

    def test_without_descriptors_it_waits_and_goes_on(self, monkeypatch, caplog):
        """
        It neither spins nor dies: it accepts again a little later.
        """
        with serving() as server:
            listener = server._running.listener
            accept, failures = listener.accept, [errno.EMFILE, errno.ECONNABORTED]

            def scarce():
                if failures:
                    raise OSError(failures.pop(), "none left")
                return accept()

            monkeypatch.setattr(listener, "accept", scarce)

            assert ask(server, "/").body == b"hello"
            assert "cannot accept" in caplog.text
            assert failures == []


class TestTrouble:
    def test_a_turn_of_the_loop_that_fails_is_logged_and_the_next_goes_on(
        self, monkeypatch, caplog
    ):
        """
        A mistake of ours must not end the server.
        """
        with serving() as server:
            listener = server._running.listener
            sweep, failures = listener._sweep, [ZeroDivisionError("ours")]

            def fail(now: float) -> None:
                if failures:
                    raise failures.pop()
                sweep(now)

            monkeypatch.setattr(listener, "_sweep", fail)

            assert ask(server, "/").status == 200
            assert ask(server, "/").status == 200
            assert "a turn of the loop failed" in caplog.text

    def test_a_job_that_fails_does_not_end_its_thread(self, caplog):
        """
        Nor is it lost in silence.
        """
        failing = threading.Semaphore(0)

        class Bad:
            def service(self) -> None:
                failing.release()
                raise SystemExit(1)

        with serving(threads_pool=1) as server:
            server._running.pool.add_task(Bad())
            wait_for(failing)

            assert ask(server, "/").status == 200

        assert "outside of its handler" in caplog.text


class TestSlowClients:
    def test_many_idle_and_dripping_clients_do_not_delay_a_request(self):
        """
        500 that say nothing, 100 that stop half way: eight threads stay free.
        """
        with serving() as server, contextlib.ExitStack() as clients:
            for number in range(600):
                client = clients.enter_context(connect(server))
                if number % 6 == 0:
                    client.sendall(
                        GET if number % 12 else GET + b"Content-Length: 9\r\n\r\nabc"
                    )
            eventually(lambda: server.load.connections == 600, "all are in")
            for _ in range(20):
                assert ask(server, "/").status == 200

            eventually(lambda: server.load.busy == 0, "all threads are free")

    @pytest.mark.parametrize(
        "half",
        [
            b"GET / HT",
            GET,
            GET + b"Content-Length: 9\r\n\r\nabc",
            GET + b"Transfer-Encoding: chunked\r\n\r\n3\r\na",
            b"GET / HTTP/1.1\nHost: a\n\n",  # bare line feeds: it never ends
        ],
    )
    def test_a_request_that_does_not_end_is_answered_with_408(self, half: bytes):
        """
        However many bytes trickle in meanwhile.
        """
        with serving(request_timeout=0.2) as server, connect(server) as client:
            client.sendall(half)
            answer = read_all(client)

        assert answer.startswith(b"HTTP/1.1 408")
        assert "0.2 s" in problem_in(answer)["detail"]

    def test_bytes_that_trickle_in_do_not_win_time(self):
        """
        The limit is for the whole request, not for the pause between bytes.
        """
        with serving(request_timeout=0.3) as server, connect(server) as client:
            client.settimeout(0.05)
            answer = b""
            client.sendall(GET)
            for _ in range(100):
                with contextlib.suppress(TimeoutError):
                    answer = client.recv(4_096)
                    break
                client.sendall(b"X")

        assert answer.startswith(b"HTTP/1.1 408")

    def test_a_connection_between_requests_is_closed_after_a_while(self):
        """
        Silently: it has asked for nothing.
        """
        with serving(idle_timeout=0.2) as server, connect(server) as client:
            client.sendall(GET + b"\r\n")

            assert read_until(client, b"hello").startswith(b"HTTP/1.1 200")
            assert client.recv(1) == b""

    def test_a_request_that_takes_long_is_not_idle(self):
        """
        The deadlines are for clients; how long an answer takes is ours.
        """
        app = Application()
        limits = {"idle_timeout": 0.1, "request_timeout": 0.1, "write_timeout": 0.1}
        with serving(app, **limits) as server, connect(server) as client:
            client.sendall(b"GET /wait HTTP/1.1\r\nHost: a\r\n\r\n" + GET)
            wait_for(app.entered)
            with contextlib.suppress(TimeoutError):
                client.settimeout(0.4)

                assert client.recv(1) == b"never"

            client.settimeout(PATIENCE)
            client.sendall(b"\r\n")
            app.gate.set()

            assert read_until(client, b"hello").count(b"HTTP/1.1 200") >= 1

    def test_clients_that_never_read_give_their_threads_back(self):
        """
        As stopped processes do: the write timeout ends them, others are served.
        """
        app = Application()
        with serving(app, threads_pool=2, write_timeout=0.3) as server:
            with connect(server) as one, connect(server) as two:
                for client in (one, two):
                    client.sendall(b"GET /big?50000000 HTTP/1.1\r\nHost: a\r\n\r\n")
                wait_for(app.entered, 2)

                assert ask(server, "/").status == 200

                wait_for(app.closed, 2)
                eventually(lambda: server.load.connections == 0, "both are cut")

    def test_an_answer_that_was_long_in_the_making_is_not_a_slow_reader(self):
        """
        The client's time begins when there is something to take.
        """
        app = Application()
        with serving(app, write_timeout=5.0) as server, connect(server) as client:
            client.sendall(b"GET /wait HTTP/1.1\r\nHost: a\r\n\r\n")
            wait_for(app.entered)
            (channel,) = server._running.listener.channels()
            now = channel.server.monotonic()
            channel._activity = now - 100.0  # the request came so long ago
            looked = []

            def look_before_it_is_sent(do_close=True):
                looked.append(channel.overdue(channel.server.monotonic()))
                return type(channel)._flush_some(channel, do_close=do_close)

            channel._flush_some = look_before_it_is_sent
            app.gate.set()

            assert b"hello" in read_until(client, b"hello")
            assert looked
            assert set(looked) == {None}

    def test_a_slow_client_that_does_read_gets_everything(self):
        """
        It may be slower than the write timeout, as long as it takes some.
        """
        size = 12_000_000
        with serving(write_timeout=0.5) as server, connect(server) as client:
            client.sendall(f"GET /big?{size} HTTP/1.0\r\n\r\n".encode())
            got = len(read_until(client, b"\r\n\r\n").partition(b"\r\n\r\n")[2])
            pause = threading.Event()
            while part := client.recv(1_500_000):
                got += len(part)
                pause.wait(0.02)

        assert got == size

    @pytest.mark.parametrize("asked_for", [b"GET /big?50000000", b"GET /wait"])
    def test_clients_that_vanish_leave_nothing_behind(self, asked_for: bytes):
        """
        In the middle of an answer, or before it.
        """
        app = Application()
        with serving(app, threads_pool=4) as server:
            for _ in range(20):
                with connect(server) as client:
                    client.sendall(asked_for + b" HTTP/1.1\r\nHost: a\r\n\r\n")
                    if asked_for.endswith(b"0"):
                        assert client.recv(1_000)
            app.gate.set()
            eventually(lambda: server.load == Load(), "all is forgotten")

            assert ask(server, "/").status == 200


class TestBadInput:
    def test_a_megabyte_of_headers_is_refused_with_431(self):
        """
        The client can read why, though it was still sending.
        """
        head = GET + b"X: " + b"a" * 1_048_576 + b"\r\n\r\n"
        with serving() as server:
            answer = say(server, head)
            normal = ask(server, "/").status

        assert answer.startswith(b"HTTP/1.1 431 Request Header Fields Too Large")
        assert problem_in(answer)["detail"] == "the head is longer than 65536 bytes."
        assert normal == 200

    def test_a_body_over_the_limit_is_refused_with_413(self):
        """
        A decent client that sends all of it first reads the answer too.
        """
        app = Application()
        with serving(app) as server:
            reply = ask(server, "/echo", method="POST", body=b"a" * 3_000_000)
            chunks = iter([b"a" * 100_000] * 30)
            chunked = ask(server, "/echo", method="POST", body=chunks)
            most = ask(server, "/echo", method="POST", body=b"a" * 1_048_576)

        assert (reply.status, chunked.status, most.status) == (413, 413, 200)
        assert reply.headers["Content-Type"] == "application/problem+json"
        assert json.loads(reply.body) == {
            "type": "about:blank",
            "title": reply_title(413),
            "status": 413,
            "detail": "the body is longer than 1048576 bytes.",
            "instance": "/echo",
        }
        assert app.seen == ["/echo"]

    def test_a_client_that_sends_for_ever_after_a_refusal_is_cut(self):
        """
        It is listened to for a while only, and for so many bytes.
        """
        with serving() as server, connect(server) as client:
            client.sendall(GET + b"Content-Length: 99999999999\r\n\r\n")
            with pytest.raises(OSError):
                for _ in range(1_000):
                    client.sendall(b"a" * 1_000_000)

    def test_a_client_that_stays_after_a_refusal_is_cut(self, monkeypatch):
        """
        It had time enough to read why.
        """
        monkeypatch.setattr(channels, "DISCARD_SECONDS", 0.1)
        with serving(idle_timeout=0.4) as server, connect(server) as client:
            client.sendall(b"nonsense\r\n\r\n")
            read_until(client, b"}")
            eventually(lambda: server.load.connections == 0, "it is cut")

    @pytest.mark.parametrize(
        "garbage",
        [
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
            b"\0" * 100 + b"\r\n\r\n",
            b"hello\r\n\r\n",
            b"GET / HTTP/1.1\r\n\r\n",
            b"GET /a//b HTTP/1.1\r\nHost: a\r\n\r\n",
            b"GET http://evil.example/ HTTP/1.1\r\nHost: a\r\n\r\n",
        ],
    )
    def test_garbage_is_refused_with_400(self, garbage: bytes):
        """
        And the application never hears of it.
        """
        app = Application()
        with serving(app) as server:
            answer = say(server, garbage)

        assert answer.startswith(b"HTTP/1.1 400")
        assert problem_in(answer)["status"] == 400
        assert app.seen == []

    def test_a_smuggled_request_is_not_run(self):
        """
        Two lengths: one refusal, and the connection ends before the second request.
        """
        app = Application()
        with serving(app) as server:
            answer = say(
                server,
                b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n"
                b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
                b"GET /secret HTTP/1.1\r\nHost: a\r\n\r\n",
            )

        assert answer.count(b"HTTP/1.1 ") == 1
        assert answer.startswith(b"HTTP/1.1 400")
        assert app.seen == []

    def test_a_refusal_of_head_has_no_body(self):
        """
        Its Content-Length says what GET would have got.
        """
        with serving() as server:
            answer = say(server, b"HEAD /a//b HTTP/1.1\r\nHost: a\r\n\r\n")

        assert answer.startswith(b"HTTP/1.1 400")
        assert answer.endswith(b"\r\n\r\n")

    def test_too_long_a_path_is_refused_with_414(self):
        """
        Before it is routed.
        """
        with serving() as server:
            assert ask(server, "/" + "a" * 3_000).status == 414

    def test_a_version_that_is_not_spoken_is_refused_with_505(self):
        """
        In the version that is.
        """
        with serving() as server:
            answer = say(server, b"GET / HTTP/3.0\r\nHost: a\r\n\r\n")

        assert answer.startswith(b"HTTP/1.1 505 HTTP Version Not Supported")


def reply_title(status: int) -> str:
    """Return the phrase that this Python has for *status*; 3.13 changed some."""
    return http.HTTPStatus(status).phrase


class TestAnswers:
    def test_what_an_application_raises_is_a_500_with_a_number_from_the_log(
        self, caplog
    ):
        """
        No traceback on the wire; the connection can be used again.
        """
        with serving() as server:
            client = http.client.HTTPConnection(server.host, server.port, timeout=5)
            with contextlib.closing(client):
                failed = asked(client, "/boom")
                left = asked(client, "/leave")
                again = asked(client, "/")

        document = json.loads(failed.body)
        assert (failed.status, left.status, again.status) == (500, 500, 200)
        assert document["instance"] == "/boom"
        assert b"disk" not in failed.body
        assert document["id"] in caplog.text
        assert "the disk is on fire" in caplog.text

    def test_an_answer_that_fails_half_way_is_broken_off(self, caplog):
        """
        The client sees that it is not whole.
        """
        with serving() as server:
            with pytest.raises(http.client.IncompleteRead):
                ask(server, "/late")

            assert ask(server, "/").status == 200

        assert "no more" in caplog.text

    def test_an_answers_head_and_body_are_sent_at_once(self, monkeypatch):
        """
        One call of the system, one packet; later parts as they come.
        """
        sent: list[bytes] = []
        real = channels.Channel.send

        def send(channel, data, do_close=True):
            sent.append(bytes(data))
            return real(channel, data, do_close)

        monkeypatch.setattr(channels.Channel, "send", send)
        with serving() as server:
            assert ask(server, "/").body == b"hello"
            assert len(sent) == 1
            assert ask(server, "/chunked").body == b"onetwo"

        assert b"".join(sent).count(b"HTTP/1.1 200 OK") == 2

    def test_head_has_headers_and_nothing_else(self):
        """
        Also where the answer has no length: no last, empty chunk either.
        """
        with serving() as server:
            plain = say(
                server, b"HEAD / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
            )
            chunked = say(server, b"HEAD /chunked HTTP/1.1\r\nHost: a\r\n\r\n")

        assert b"Content-Length: 5\r\n" in plain
        assert plain.endswith(b"\r\n\r\n")
        assert chunked.endswith(b"\r\n\r\n")
        assert chunked.count(b"\r\n\r\n") == 1

    def test_an_answer_without_a_length_comes_in_chunks(self):
        """
        And closes the connection, as waitress does.
        """
        with serving() as server:
            reply = ask(server, "/chunked")

        assert reply.body == b"onetwo"
        assert reply.headers["Transfer-Encoding"] == "chunked"

    def test_requests_sent_at_once_are_answered_in_order(self):
        """
        Pipelining: one connection, three requests, three answers.
        """
        requests = b"".join(
            b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n%s\r\n%d"
            % (b"Connection: close\r\n" if number == 3 else b"", number)
            for number in (1, 2, 3)
        )
        with serving() as server:
            answer = say(server, requests)

        bodies = [part[-1:] for part in answer.split(b"HTTP/1.1 200 OK")[1:]]
        assert bodies == [b"1", b"2", b"3"]

    def test_a_client_that_asks_before_it_sends_a_body_is_told_to_go_on(self):
        """
        ``Expect: 100-continue``.
        """
        head = b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n"
        with serving() as server, connect(server) as client:
            client.sendall(head + b"Expect: 100-continue\r\n\r\n")

            assert read_until(client, b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"

            client.sendall(b"hi")

            assert read_until(client, b"hi").startswith(b"HTTP/1.1 200")

    def test_a_proxy_that_nobody_trusts_is_not_believed(self):
        """
        Its headers are taken out before the application sees them.
        """
        seen = {}

        def app(environ, start_response):
            seen.update(environ)
            start_response("204 No Content", [])
            return []

        with serving(app) as server:
            ask(server, "/", headers={"X-Forwarded-For": "10.0.0.1", "X-Other": "1"})

        assert "HTTP_X_FORWARDED_FOR" not in seen
        assert seen["HTTP_X_OTHER"] == "1"
        assert seen["REMOTE_ADDR"] == "127.0.0.1"
        assert seen["SERVER_SOFTWARE"] == "kinesis"


class TestAccessLog:
    def test_every_answer_has_a_line_whose_parts_are_attributes(self, caplog):
        """
        Also those that the application never saw, and failures.
        """
        caplog.set_level(logging.INFO, logger="kinesis.http")
        with serving(path="/app/http") as server:
            ask(server, "/shop/hello?a=1")
            ask(server, "/a//b")
            ask(server, "/boom")
            say(server, GET + b"X: " + b"a" * 70_000 + b"\r\n\r\n")
            server.drain()
            ask(server, "/hello", method="HEAD")

        lines = [record for record in caplog.records if hasattr(record, "status")]
        assert [(r.method, r.target, r.status, r.path) for r in lines] == [
            ("GET", "/shop/hello?a=1", 200, "/app/http"),
            ("GET", "/a//b", 400, "/app/http"),
            ("GET", "/boom", 500, "/app/http"),
            ("-", "-", 431, "/app/http"),
            ("HEAD", "/hello", 503, "/app/http"),
        ]
        assert (lines[0].size, lines[0].client) == (5, "127.0.0.1")
        assert lines[0].seconds >= 0
        assert "127.0.0.1 GET /shop/hello?a=1 200 5 B" in lines[0].getMessage()

    def test_the_application_may_leave_a_trace_id_for_it(self, caplog):
        """
        In the environ, as ``kinesis.trace``.
        """

        def app(environ, start_response):
            environ["kinesis.trace"] = "abc"
            start_response("204 No Content", [])
            return []

        caplog.set_level(logging.INFO, logger="kinesis.http")
        with serving(app) as server:
            ask(server, "/")

        assert [r.trace for r in caplog.records if hasattr(r, "trace")] == ["abc"]

    def test_a_client_cannot_write_lines_of_its_own(self, caplog):
        """
        Control characters in a target are shown as escapes.
        """
        caplog.set_level(logging.INFO, logger="kinesis.http")
        with serving() as server:
            say(server, b"GET /\x1b[2J\x07 HTTP/1.1\r\nHost: a\r\n\r\n")

        assert "/\\x1b[2J\\x07 400" in caplog.text

    def test_a_client_that_left_is_logged_as_such(self, caplog):
        """
        With 499, nginx's number, since no answer was sent whole.
        """
        caplog.set_level(logging.INFO, logger="kinesis.http")
        app = Application()
        with serving(app) as server:
            with connect(server) as client:
                client.sendall(b"GET /big?50000000 HTTP/1.1\r\nHost: a\r\n\r\n")
                wait_for(app.entered)
            eventually(lambda: server.load.connections == 0, "it is gone")
            wait_for(app.closed)

        assert [r.status for r in caplog.records if hasattr(r, "status")] == [499]
