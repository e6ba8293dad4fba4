"""Event streams and their hub, over a real server and without one."""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
from collections.abc import Iterator

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from waitress.channel import ClientDisconnected
from werkzeug import Request, Response
from werkzeug.test import Client

from kinesis.concurrency import SystemThreads
from kinesis.errors import ComponentStoppedError, TooManyReadersError
from kinesis.web import hub as hub_module
from kinesis.web.hub import Hub
from kinesis.web.problems import problem
from kinesis.web.streams import TASK_KEY, Detached, EventStream, format_event, respond
from tests.web.serving import (
    PATIENCE,
    ask,
    connect,
    eventually,
    open_files,
    read_all,
    read_until,
    say,
    serving,
    threads_of,
)


@contextlib.contextmanager
def running(**settings) -> Iterator[Hub]:
    """Run a hub for the block."""
    hub = Hub(SystemThreads(), **settings)
    hub.start()
    try:
        yield hub
    finally:
        assert hub.stop(PATIENCE), "the hub did not stop"


def application(hub: Hub):
    """Return an application that streams below ``/events``, and says hello."""

    @Request.application
    def app(request: Request) -> Response:
        if not request.path.startswith("/events"):
            return Response("hello")
        topic = request.args.get("topic", "")
        try:
            stream = hub.open(
                request.environ,
                wants=lambda name: name.startswith(topic),
                after=request.headers.get("Last-Event-ID"),
            )
        except TooManyReadersError as error:
            return problem(503, str(error))
        return respond(stream)

    return app


def listen(server, path: str = "/events", **headers: str) -> socket.socket:
    """Return a connection that has asked for events and got the first bytes."""
    client = connect(server)
    lines = [f"GET {path} HTTP/1.1", "Host: a"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    client.sendall("\r\n".join([*lines, "", ""]).encode())
    got = read_until(client, b"retry: 2000\n\n")
    assert got.startswith(b"HTTP/1.1 200"), got
    return client


class TestOverTheServer:
    def test_two_hundred_readers_cost_no_thread(self):
        """
        Each gets every event, in order; other requests are answered meanwhile.
        """
        with running() as hub, serving(application(hub), threads_pool=2) as server:
            before = threading.active_count()
            with contextlib.ExitStack() as clients:
                readers = [clients.enter_context(listen(server)) for _ in range(200)]
                eventually(lambda: server.load.streams == 200, "all listen")

                assert threading.active_count() == before
                eventually(lambda: server.load.busy == 0, "all threads are free")

                assert ask(server, "/").body == b"hello"

                for number in range(3):
                    assert hub.publish("/a", f"event {number}")
                for reader in readers:
                    got = read_until(reader, b"event 2\n\n")

                    assert got.index(b"event 0") < got.index(b"event 1")

            eventually(lambda: hub.readers == 0, "all have left")

    def test_the_headers_are_those_of_a_stream(self):
        """
        Not kept by a cache, not held back by a proxy.
        """
        with running() as hub, serving(application(hub)) as server:
            with connect(server) as client:
                client.sendall(b"GET /events HTTP/1.1\r\nHost: a\r\n\r\n")
                head = read_until(client, b"\r\n\r\n")

        assert b"Content-Type: text/event-stream; charset=utf-8\r\n" in head
        assert b"Cache-Control: no-store\r\n" in head
        assert b"X-Accel-Buffering: no\r\n" in head

    def test_head_gets_the_headers_and_takes_no_place(self):
        """
        Through Werkzeug or plain.
        """

        def plain(environ, start_response):
            start_response("200 OK", [("Content-Type", "text/event-stream")])
            return hub.open(environ)

        with running() as hub:
            for app in (application(hub), plain):
                with serving(app) as server:
                    got = say(server, b"HEAD /events HTTP/1.1\r\nHost: a\r\n\r\n")

                    assert got.startswith(b"HTTP/1.1 200")
                    assert got.endswith(b"\r\n\r\n")
                    assert got.count(b"\r\n\r\n") == 1
                    assert hub.readers == 0

    def test_a_reader_without_a_place_is_refused(self):
        """
        With 503; the place of one that left is given to the next.
        """
        with running(most_readers=2) as hub, serving(application(hub)) as server:
            first, second = listen(server), listen(server)

            assert ask(server, "/events").status == 503

            first.close()
            eventually(lambda: hub.readers == 1, "its place is free")
            listen(server).close()
            second.close()

    def test_a_reader_that_leaves_is_noticed_without_an_event(self):
        """
        By the loop, which still reads.
        """
        with running() as hub, serving(application(hub)) as server:
            listen(server).close()
            eventually(lambda: hub.readers == 0, "it has left")
            eventually(lambda: server.load.connections == 0, "all is forgotten")

    def test_a_reader_that_does_not_read_is_cut_and_delays_nobody(self):
        """
        Above 256 KiB that wait for it; the others get every event meanwhile.
        """
        big = "x" * 100_000
        with running() as hub, serving(application(hub)) as server:
            with listen(server, "/events?topic=/big") as deaf, listen(server) as good:
                for number in range(200):
                    hub.publish("/big", f"{big} {number}")
                    read_until(good, f" {number}\n\n".encode())
                eventually(lambda: hub.readers == 1, "the deaf one is cut")

                assert server.load.streams == 1

                with contextlib.suppress(ConnectionResetError):
                    assert len(read_all(deaf)) < 200 * len(big)

    def test_a_reader_that_takes_nothing_of_a_little_is_cut_too(self, caplog):
        """
        By the write timeout, though it is far below its bound.
        """
        caplog.set_level(logging.DEBUG, logger="kinesis.http")
        with running() as hub, serving(application(hub), write_timeout=0.2) as server:
            with listen(server):
                (channel,) = server._running.listener.channels()

                def gone() -> bool:
                    with channel.outbuf_lock:  # else between a write and its flush
                        if not channel.total_outbufs_len:
                            hub.publish("/a", "x" * 50_000)
                    return hub.readers == 0

                eventually(gone, "it is cut")

        assert "slow reader" in caplog.text

    def test_a_client_gone_before_the_stream_begins_leaves_nothing(self):
        """
        It left while the application was still thinking: there is no stream then.
        """
        entered, gate = threading.Semaphore(0), threading.Event()
        with running() as hub:
            stream_app = application(hub)

            def app(environ, start_response):
                entered.release()
                assert gate.wait(PATIENCE)
                return stream_app(environ, start_response)

            with serving(app) as server:
                with connect(server) as client:
                    client.sendall(b"GET /events HTTP/1.1\r\nHost: a\r\n\r\n")
                    assert entered.acquire(timeout=PATIENCE)
                gate.set()
                eventually(lambda: server.load.connections == 0, "it is gone")
                eventually(lambda: server.load.busy == 0, "its thread is free")

                assert hub.readers == 0

    def test_a_client_gone_while_the_stream_detaches_leaves_nothing(self):
        """
        The loop closed the connection after the first bytes, before the detach.
        """
        first, gate = threading.Event(), threading.Event()
        left = threading.Semaphore(0)
        begun = []

        class Slow(EventStream):
            def __next__(self):
                if self._first is None:
                    first.set()
                    assert gate.wait(PATIENCE)
                return super().__next__()

        def app(environ, start_response):
            start_response("200 OK", [])
            return Slow(
                environ,
                first=b"first",
                on_begin=begun.append,
                on_left=lambda stream: left.release(),
            )

        with serving(app, threads_pool=1) as server:
            with connect(server) as client:
                client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
                assert first.wait(PATIENCE)
            eventually(lambda: server.load.connections == 0, "it is gone")
            gate.set()

            assert left.acquire(timeout=PATIENCE)
            eventually(lambda: server.load.busy == 0, "its thread is free")
            assert begun == []
            assert not left.acquire(blocking=False)

    def test_a_stopping_server_ends_its_streams(self):
        """
        Each reader sees a whole answer; the stop is clean, and quick.
        """
        with running() as hub, serving(application(hub)) as server:
            readers = [listen(server) for _ in range(50)]

            assert server.stop(PATIENCE)

            for reader in readers:
                assert read_all(reader).endswith(b"0\r\n\r\n")
                reader.close()
            eventually(lambda: hub.readers == 0, "all have left")

        assert threads_of(server) == set()

    def test_a_reader_that_does_not_read_does_not_spoil_the_stop(self):
        """
        It has had its time; nobody waits for the deadline.
        """
        with running() as hub, serving(application(hub)) as server:
            with listen(server):
                for _ in range(30):
                    hub.publish("/a", "x" * 100_000)
                    eventually(lambda: hub._jobs.empty(), "it is sent")

                assert server.stop(PATIENCE)

    def test_a_stopping_hub_ends_the_streams(self):
        """
        The server goes on.
        """
        with running() as hub, serving(application(hub)) as server:
            with listen(server) as reader:
                hub.publish("/a", "the last")

                assert hub.stop(PATIENCE)
                assert b"data: the last\n\n" in (got := read_all(reader))
                assert got.endswith(b"0\r\n\r\n")
                assert ask(server, "/").status == 200

    def test_a_request_behind_a_stream_is_not_answered(self):
        """
        The stream never ends of its own, and closes its connection.
        """
        with running() as hub, serving(application(hub)) as server:
            with listen(server) as reader:
                reader.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 3)
                hub.publish("/a", "one")

                assert read_until(reader, b"data: one\n\n").count(b"HTTP/1.1") == 0

    def test_http_1_0_gets_the_events_unchunked(self):
        """
        Until the connection closes.
        """
        with running() as hub, serving(application(hub)) as server:
            with connect(server) as client:
                client.sendall(b"GET /events HTTP/1.0\r\n\r\n")
                read_until(client, b"retry: 2000\n\n")
                hub.publish("/a", "one")

                assert read_until(client, b"\n\n").endswith(b"\ndata: one\n\n")

    def test_an_access_line_is_written_when_a_stream_begins(self, caplog):
        """
        Not when it ends, perhaps days later.
        """
        caplog.set_level(logging.INFO, logger="kinesis.http")
        with running() as hub, serving(application(hub)) as server:
            with listen(server):
                eventually(lambda: "GET /events 200" in caplog.text, "it is logged")

    @pytest.mark.stress
    def test_readers_that_come_and_go_leave_nothing(self):
        """
        While events flow: no descriptor, no place.
        """
        with running() as hub, serving(application(hub)) as server:
            listen(server).close()
            eventually(lambda: server.load.connections == 0, "the first is gone")
            before = open_files()
            over = threading.Event()

            def publish() -> None:
                while not over.wait(0.0005):
                    hub.publish("/a", "x")

            publisher = threading.Thread(target=publish)
            publisher.start()
            for _ in range(1_000):
                listen(server).close()
            over.set()
            publisher.join(PATIENCE)
            eventually(lambda: hub.readers == 0, "all have left")
            eventually(lambda: server.load.connections == 0, "all are forgotten")

            assert open_files() == before


@attrs.define(eq=False)
class FakeTask:
    """What a stream needs of the server, in memory."""

    wire: bytearray = attrs.field(factory=bytearray)
    waiting: int = 0
    fails: bool = False
    cuts: int = 0
    ends: int = 0

    @property
    def channel(self):
        return self

    @property
    def server(self):
        return self

    @property
    def threads(self):
        return SystemThreads()

    @property
    def total_outbufs_len(self) -> int:
        return self.waiting

    def write(self, data: bytes) -> None:
        if self.fails:
            raise ClientDisconnected
        self.wire += data

    def finish(self) -> None:
        self.write(b"END")

    def cut(self) -> None:
        self.cuts += 1

    def end_stream(self) -> None:
        self.ends += 1


def detached(task: FakeTask, hub: Hub | None = None, **settings) -> EventStream:
    """Return a stream as it is once its thread has gone."""
    environ = {TASK_KEY: task}
    stream = hub.open(environ, **settings) if hub else EventStream(environ, **settings)
    next(stream)
    with pytest.raises(Detached):
        next(stream)
    stream.close()
    stream.begin()
    return stream


class TestStream:
    def test_under_another_server_it_is_its_first_bytes(self):
        """
        A test client reads them, and is not kept waiting.
        """
        with running() as hub:
            reply = Client(application(hub)).get("/events")

            assert reply.data == b":\n\n"
            assert hub.readers == 0

    def test_more_than_the_bound_cuts_the_reader(self):
        """
        Up to it, everything is taken.
        """
        task = FakeTask(waiting=90)
        stream = detached(task, bound=100)

        assert stream.write(b"x" * 10)
        assert not stream.write(b"x" * 11)
        assert (task.cuts, stream.is_open) == (1, False)
        assert not stream.write(b"x")
        assert task.cuts == 1

    def test_one_event_above_the_bound_is_sent(self):
        """
        It is large; only a reader for whom something waits already is slow.
        """
        task = FakeTask()
        stream = detached(task, bound=100)

        assert stream.write(b"x" * 500)
        assert (task.cuts, stream.is_open) == (0, True)

        task.waiting = 1

        assert not stream.write(b"x" * 500)
        assert task.cuts == 1

    def test_a_write_to_a_client_that_has_gone_says_so(self):
        """
        And the stream is closed for good.
        """
        task = FakeTask(fails=True)
        stream = detached(task)

        assert not stream.write(b"x")
        assert not stream.is_open

    def test_ending_twice_ends_once(self):
        """
        Whether or not the client is still there.
        """
        for task in (FakeTask(), FakeTask(fails=True)):
            stream = detached(task)
            stream.end()
            stream.end()

            assert task.ends == 1
            assert not stream.write(b"x")

    def test_that_it_is_over_is_told_once(self):
        """
        Whoever says so first.
        """
        told = []
        stream = detached(FakeTask(), on_left=told.append)
        stream.left()
        stream.left()
        stream.close()

        assert told == [stream]

    def test_one_that_left_in_the_moment_of_its_beginning_does_not_begin(self):
        """
        Nothing would ever end it.
        """
        begun = []
        stream = EventStream({TASK_KEY: FakeTask()}, on_begin=begun.append)
        stream.left()
        stream.begin()

        assert (begun, stream.is_open) == ([], False)

    def test_without_a_server_there_is_nothing_to_write_to(self):
        """
        Both are harmless.
        """
        stream = EventStream({})
        stream.end()

        assert not stream.write(b"x")


class TestHub:
    def test_a_reader_that_comes_back_gets_what_it_missed(self):
        """
        Once each, in order, then what is new.
        """
        with running() as hub:
            for number in range(5):
                hub.publish("/a", f"event {number}")
            seen = FakeTask()
            detached(seen, hub, after=None)
            hub.publish("/a", "event 5")
            eventually(lambda: b"event 5" in seen.wire, "it arrives")
            last = seen.wire.split(b"id: ")[1].split(b"\n")[0].decode()
            boot, _, number = last.partition("-")
            again = FakeTask()
            detached(again, hub, after=f"{boot}-{int(number) - 3}")
            hub.publish("/a", "event 6")
            eventually(lambda: b"event 6" in again.wire, "it arrives")

        assert b"event 4" not in seen.wire
        assert events_in(again.wire) == [f"event {n}" for n in (3, 4, 5, 6)]

    @pytest.mark.parametrize(
        "after", ["", "nonsense", "0-1", "{}-", "{}-9", "{}-²", "{}--1"]
    )
    def test_an_id_that_is_not_known_is_a_gap(self, after: str):
        """
        Of an earlier run, or made up: the reader must read everything anew.
        """
        with running() as hub:
            hub.publish("/a", "old")
            task = FakeTask()
            detached(task, hub, after=after.format(hub._boot))
            hub.publish("/a", "new")
            eventually(lambda: b"new" in task.wire, "it arrives")

        assert task.wire.count(b"event: gap") == 1
        assert events_in(task.wire) == ["{}", "new"]

    def test_an_id_of_another_hub_of_the_same_second_is_a_gap(self):
        """
        A server that is restarted at once has another hub, and counts anew.
        """
        with running() as earlier, running() as hub:
            hub.publish("/a", "old")
            task = FakeTask()
            detached(task, hub, after=f"{earlier._boot}-1")
            eventually(lambda: b"event: gap" in task.wire, "it is told")

        assert earlier._boot != hub._boot

    def test_events_older_than_the_memory_are_a_gap(self, monkeypatch):
        """
        The memory is bounded in bytes.
        """
        monkeypatch.setattr(hub_module, "HISTORY", 1_000)
        with running() as hub:
            for number in range(50):
                hub.publish("/a", f"event {number}")
            late, known = FakeTask(), FakeTask()
            detached(late, hub, after=f"{hub._boot}-3")
            detached(known, hub, after=f"{hub._boot}-49")
            eventually(lambda: b"event 49" in known.wire, "it arrives")

            assert hub._history_bytes <= 1_000

        assert b"event: gap" in late.wire
        assert events_in(known.wire) == ["event 49"]

    def test_a_hub_that_is_far_behind_drops_events_and_says_so(self, monkeypatch):
        """
        Publishers never wait; readers are told, those that come back later too.
        """
        monkeypatch.setattr(hub_module, "MOST_WAITING", 3)
        gate, busy = threading.Event(), threading.Event()

        def wants(topic: str) -> bool:
            busy.set()
            return gate.wait(PATIENCE)

        with running() as hub:
            task = FakeTask()
            detached(task, hub, wants=wants)
            hub.publish("/a", "first")
            assert busy.wait(PATIENCE)
            taken = [hub.publish("/a", f"event {number}") for number in range(5)]
            gate.set()
            eventually(lambda: b"event 2" in task.wire, "they arrive")
            again = FakeTask()
            detached(again, hub, after=f"{hub._boot}-1")
            eventually(lambda: b"event: gap" in again.wire, "it is told")

        assert taken == [True, True, True, False, False]
        assert b"event: gap" in task.wire

    def test_each_reader_gets_what_it_wants(self):
        """
        Its filter is asked with the topic.
        """
        with running() as hub:
            a, b = FakeTask(), FakeTask()
            detached(a, hub, wants=lambda topic: topic == "/a")
            detached(b, hub)
            for topic in ("/a", "/b", "/a"):
                hub.publish(topic, f"of {topic}", event="change")
            eventually(lambda: len(events_in(b.wire)) == 3, "they arrive")

        assert events_in(a.wire) == ["of /a", "of /a"]
        assert events_in(b.wire) == ["of /a", "of /b", "of /a"]
        assert a.wire.count(b"event: change\n") == 2

    def test_a_filter_that_fails_ends_its_reader_alone(self, caplog):
        """
        The others get the event.
        """

        def wants(topic: str) -> bool:
            raise LookupError(topic)

        with running() as hub:
            bad, good = FakeTask(), FakeTask()
            detached(bad, hub, wants=wants)
            detached(good, hub)
            hub.publish("/a", "one")
            eventually(lambda: events_in(good.wire) == ["one"], "it arrives")

            assert bad.ends == 1

        assert "LookupError" in caplog.text

    def test_what_cannot_be_sent_is_logged_and_the_next_goes_on(self, caplog):
        """
        The hub's thread outlives a bad event.
        """
        with running() as hub:
            task = FakeTask()
            detached(task, hub)
            hub.publish("/a", 7)
            hub.publish("/a", "one")
            eventually(lambda: events_in(task.wire) == ["one"], "it arrives")

        assert "an event is lost" in caplog.text

    def test_a_silent_connection_gets_a_comment_now_and_then(self):
        """
        Also when other readers are busy; those that have gone are forgotten.
        """
        with running(heartbeat=0.05) as hub:
            silent, gone = FakeTask(), FakeTask(fails=True)
            detached(silent, hub, wants=lambda topic: False)
            detached(gone, hub, wants=lambda topic: False)
            for number in range(100):
                hub.publish("/a", f"{number}")
            eventually(lambda: silent.wire.count(b": still here\n\n") >= 2, "it beats")

            assert len(hub._readers) == 1

    def test_a_hub_that_has_stopped_takes_no_reader_and_no_event(self):
        """
        It says so; a reader that was on its way is ended.
        """
        with running() as hub:
            task, late = FakeTask(), FakeTask()
            detached(task, hub)
            stream = hub.open({TASK_KEY: late})

            assert hub.stop(PATIENCE)
            assert hub.stop(PATIENCE)
            with pytest.raises(ComponentStoppedError):
                hub.open({})
            assert not hub.publish("/a", "one")

            stream.begin()

        assert (task.ends, late.ends) == (1, 1)

    def test_a_reader_that_left_on_its_way_is_not_added(self):
        """
        Its place is free already.
        """
        with running() as hub:
            stream = hub.open({TASK_KEY: FakeTask()})
            stream.left()
            hub._enter(stream, hub_module.everything, None)
            eventually(hub._jobs.empty, "it is done")

            assert hub.readers == 0

        assert hub._readers == {}

    def test_a_hub_that_never_started_stops(self):
        """
        At once.
        """
        assert Hub(SystemThreads()).stop(0.0)


def events_in(wire: bytes) -> list[str]:
    """Return the data of each event."""
    parts = bytes(wire).decode().split("\n\n")
    return [
        line.removeprefix("data: ")
        for part in parts
        for line in part.split("\n")
        if line.startswith("data: ")
    ]


def test_an_event_has_an_id_a_name_and_its_data():
    """
    A line each; an empty line ends it.
    """
    wire = format_event("a\nb", event="change", id="1-2")

    assert wire == b"id: 1-2\nevent: change\ndata: a\ndata: b\n\n"


@given(st.text(), st.text(), st.text())
def test_no_text_can_begin_a_field_of_its_own(data: str, event: str, id: str):
    """
    A reader gets the data as it was, line breaks made alike, and one event.
    """
    text = format_event(data, event=event, id=id).decode()
    names = [line.partition(":")[0] for line in text.split("\n")]

    assert "\r" not in text
    assert set(names) == {"id", "event", "data", ""}
    assert names.count("id") == names.count("event") == 1
    assert text.count("\n\n") == 1
    assert data.replace("\r\n", "\n").replace("\r", "\n") == "\n".join(
        line.removeprefix("data: ")
        for line in text[:-2].split("\n")
        if line.startswith("data: ")
    )
