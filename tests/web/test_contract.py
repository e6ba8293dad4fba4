"""
What the server relies on in waitress, one promise a test.

None of it is documented. A release that breaks a promise fails here, by name,
before it can break a program.
"""

from __future__ import annotations

import contextlib
import inspect
import os
import socket
import threading
from importlib.metadata import version

import pytest
import waitress.channel
import waitress.parser
import waitress.server
import waitress.task
from waitress import trigger, wasyncore
from waitress.adjustments import Adjustments

from kinesis.concurrency import SystemThreads
from kinesis.web.channels import ApplicationTask, Channel, RefusalTask
from kinesis.web.limits import Limits, adjustments
from kinesis.web.listener import Listener
from kinesis.web.parsing import Parser
from kinesis.web.pool import Pool
from kinesis.web.server import bind
from kinesis.web.streams import Detached, EventStream
from kinesis.web.tls import TLSChannel
from tests.web.serving import Application, open_files

LIMITS = Limits(
    connections=10,
    max_body=100,
    max_header=1_000,
    queue=10,
    request_timeout=5.0,
    idle_timeout=5.0,
    write_timeout=5.0,
)


@pytest.fixture
def listener():
    """
    A listener whose loop nobody runs.
    """
    threads = SystemThreads()
    pool = Pool(threads, 1, lambda number: f"pool-{number}")
    listener = Listener(
        Application(),
        bind("127.0.0.1", 0),
        pool=pool,
        limits=LIMITS,
        threads=threads,
        path="/http",
        context=None,
    )
    yield listener
    listener.dispose()


@pytest.fixture
def ends(listener):
    """
    The client's end of a connection, and its channel.
    """
    with contextlib.closing(socket.create_connection(listener.getsockname())) as client:
        client.settimeout(5)
        listener.handle_accept()
        (channel,) = listener.channels()
        yield client, channel


def test_the_release_is_one_that_is_known():
    """
    3.0.1 closed a race in requests that are read ahead; 4 may move anything.
    """
    major, minor, patch, *_ = (*version("waitress").split("."), "0")

    assert (3, 0, 1) <= (int(major), int(minor), int(patch[:1])) < (4, 0, 0)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (Channel, waitress.channel.HTTPChannel),
        (TLSChannel, waitress.channel.HTTPChannel),
        (ApplicationTask, waitress.task.WSGITask),
        (RefusalTask, waitress.task.ErrorTask),
        (Parser, waitress.parser.HTTPRequestParser),
        (Listener, waitress.server.TcpWSGIServer),
    ],
)
def test_what_is_overridden_is_still_there_with_the_same_arguments(ours, theirs):
    """
    A method that waitress has renamed would never be called again.
    """
    hooks = {
        Channel: "service received readable handle_read handle_write handle_close "
        "send _flush_some",
        TLSChannel: "readable writable handle_read handle_write handle_close recv send",
        ApplicationTask: "service write finish build_response_header get_environment",
        RefusalTask: "service write finish build_response_header execute",
        Parser: "received parse_header",
        Listener: "readable handle_accept run pull_trigger add_task",
    }
    for name in hooks[ours].split():
        here = list(inspect.signature(getattr(ours, name)).parameters)
        there = list(inspect.signature(getattr(theirs, name)).parameters)

        assert len(here) == len(there), name


def test_a_given_dispatcher_is_used_and_no_thread_started(listener):
    """
    The pool is ours.
    """
    assert isinstance(listener.task_dispatcher, Pool)
    assert not [t for t in threading.enumerate() if t.name.startswith("waitress")]


def test_a_listener_has_a_socket_and_a_trigger_and_closes_both(listener):
    """
    `dispatcher.close` the socket alone; `trigger.close` its descriptors.
    """
    before = open_files()
    wasyncore.dispatcher.close(listener)

    assert open_files() == before - 1
    assert (listener.socket, listener.accepting) == (None, False)
    assert list(listener._map.values()) == [listener.trigger]

    listener.trigger.close()

    assert open_files() == before - 4
    assert listener._map == {}


def test_one_turn_of_the_loop_is_one_poll(listener):
    """
    It returns when the trigger is pulled, and the byte is taken.
    """
    listener.trigger.pull_trigger()
    wasyncore.loop(timeout=5.0, use_poll=True, map=listener._map, count=1)

    with pytest.raises(BlockingIOError):
        os.read(listener.trigger.socket.fd, 1)


def test_the_trigger_writes_one_byte(listener):
    """
    Into a pipe, which is why it must not be pulled after it is closed.
    """
    assert isinstance(listener.trigger, trigger.trigger)

    listener.pull_trigger()
    listener.pull_trigger()

    assert os.read(listener.trigger.socket.fd, 10) == b"x"


def test_nothing_is_written_once_the_trigger_is_closed(listener):
    """
    Its number may be another file's by then.
    """
    listener.dispose()
    read, write = os.pipe()
    listener.trigger.trigger = write
    listener.pull_trigger()
    listener.call(listener.pull_trigger)
    os.set_blocking(read, False)
    with pytest.raises(BlockingIOError):
        os.read(read, 1)
    os.close(read)
    os.close(write)


def test_accept_says_when_nobody_waits(listener):
    """
    With None, not an exception.
    """
    assert listener.accept() is None


def test_a_channel_is_known_to_its_server_until_it_is_closed(ends, listener):
    """
    By its descriptor.
    """
    _, channel = ends

    assert listener.active_channels == {channel.socket.fileno(): channel}

    channel.handle_close()

    assert listener.active_channels == {}
    assert (channel.socket, channel.connected) == (None, False)


def test_its_output_lock_may_be_taken_twice_by_a_thread(ends):
    """
    `write_soon` holds it and flushes, which takes it again.
    """
    _, channel = ends
    with channel.outbuf_lock, channel.outbuf_lock:
        channel.outbuf_lock.notify()


def test_the_time_of_the_last_activity_is_ours(ends, listener):
    """
    Whatever time of day waitress writes there.
    """
    _, channel = ends
    channel.last_activity = 0.0

    assert abs(channel.last_activity - listener.monotonic()) < 60


def test_a_whole_request_goes_to_the_server_under_its_lock(ends, listener):
    """
    So `add_task` may take the request away again, and nobody sees it half.
    """
    _, channel = ends
    held = []
    listener.add_task = lambda channel: held.append(channel.requests_lock.locked())
    channel.received(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")

    assert held == [True]
    assert [request.path for request in channel.requests] == ["/"]
    assert channel.request is None


def test_a_base_exception_leaves_the_request_running(ends):
    """
    That is how a stream gets out, and its connection stays open.
    """
    client, channel = ends

    def app(environ, start_response):
        start_response("200 OK", [])
        return EventStream(environ, first=b"first")

    channel.server.application = app
    channel.server.add_task = lambda channel: None
    channel.received(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    request = channel.requests[0]
    with pytest.raises(Detached):
        waitress.channel.HTTPChannel.service(channel)

    assert channel.requests == [request]
    assert channel.connected
    assert b"first" in client.recv(1_000)
    assert channel.readable()  # with a look ahead of one, an end is still noticed


def test_a_write_goes_out_at_once_if_the_client_takes_it(ends):
    """
    Without a turn of the loop.
    """
    client, channel = ends

    assert channel.write_soon(b"hello") == 5
    assert client.recv(10) == b"hello"
    assert channel.total_outbufs_len == 0


def test_a_write_to_a_closed_channel_raises(ends):
    """
    Which is how a task learns that its client has gone.
    """
    _, channel = ends
    channel.handle_close()
    with pytest.raises(waitress.channel.ClientDisconnected):
        channel.write_soon(b"hello")


def test_closing_a_channel_wakes_a_task_that_waits_to_write(ends):
    """
    It waits above the high-water mark, for a client that does not read.
    """
    _, channel = ends
    failed = threading.Semaphore(0)

    def write() -> None:
        try:
            while True:
                channel.write_soon(b"x" * 1_000_000)
        except waitress.channel.ClientDisconnected:
            failed.release()

    writer = threading.Thread(target=write)
    writer.start()
    mark = channel.adj.outbuf_high_watermark
    with channel.outbuf_lock:  # let go while the writer waits
        pass
    while channel.total_outbufs_len <= mark:
        assert writer.is_alive()
    with channel.outbuf_lock:
        channel.handle_close()

    assert failed.acquire(timeout=5)
    writer.join(5)


def test_a_refusal_written_by_the_loop_is_flushed_and_closes(ends):
    """
    The fields that say how much waits, and what to do after it.
    """
    client, channel = ends
    with channel.outbuf_lock:
        channel.outbufs[-1].append(b"no")
        channel.total_outbufs_len += 2
        channel.close_when_flushed = True

    assert channel.writable()
    assert not channel.readable()

    channel.handle_write()

    assert client.recv(10) == b"no"
    assert client.recv(10) == b""


def test_a_socket_that_fails_closes_its_channel(ends, listener):
    """
    Whether it is read, or its output ended.
    """

    def fail(*args: object) -> None:
        raise OSError("it is gone")

    _, channel = ends
    channel.end_of_output = fail
    channel.unread = channel.close_when_flushed = True
    channel.handle_write()

    assert listener.channels() == []

    with contextlib.closing(socket.create_connection(listener.getsockname())):
        listener.handle_accept()
        (channel,) = listener.channels()
        channel.recv = fail
        channel.handle_read()

        assert listener.channels() == []


def test_a_read_before_anything_has_come_is_not_the_end(ends, listener):
    """
    The loop may be woken for nothing.
    """
    client, channel = ends
    channel.handle_read()

    assert listener.channels() == [channel]

    client.shutdown(socket.SHUT_WR)
    channel.handle_read()

    assert listener.channels() == []


def test_a_client_that_ends_its_side_gets_what_waits_for_it(ends, listener):
    """
    Bytes that the system has not taken yet; then the connection is closed.
    """
    client, channel = ends
    with channel.outbuf_lock:
        channel.outbufs[-1].append(b"late")
        channel.total_outbufs_len += 4
    client.shutdown(socket.SHUT_WR)
    channel.handle_read()

    assert listener.channels() == [channel]

    channel.handle_write()

    assert client.recv(10) == b"late"
    assert listener.channels() == []


def test_a_cut_of_what_is_closed_does_nothing(ends, listener):
    """
    Two may want it at once.
    """
    _, channel = ends
    channel.cut()
    channel.cut()
    listener._make_calls()

    assert listener.channels() == []


def test_a_write_to_what_is_closed_in_this_moment_sends_nothing(ends, listener):
    """
    A thread of the pool has looked before, and finds no socket.
    """
    _, channel = ends
    channel.cut()
    listener._make_calls()

    assert channel.socket is None
    assert channel.send(b"late") == 0


def test_a_socket_that_is_not_one_is_no_such_moment(ends, monkeypatch):
    """
    An error of somebody else's is not hidden.
    """
    _, channel = ends
    monkeypatch.setattr(
        "waitress.wasyncore.dispatcher.send",
        lambda *_, do_close: object().nothing,
    )
    with pytest.raises(AttributeError):
        channel.send(b"x")


def test_a_client_gone_while_it_is_accepted_is_forgotten(listener, monkeypatch):
    """
    Its socket is closed; the loop goes on.
    """

    def fail(connection: socket.socket) -> None:
        raise OSError("it is gone")

    monkeypatch.setattr(listener, "set_socket_options", fail)
    with contextlib.closing(socket.create_connection(listener.getsockname())) as client:
        listener.handle_accept()

        assert listener.channels() == []
        assert client.recv(1) == b""


def test_the_limits_are_what_is_taken_at_most():
    """
    Waitress's own are where it begins to refuse.
    """
    settings = adjustments(LIMITS, "http")

    assert settings.max_request_body_size == LIMITS.max_body + 1
    assert settings.max_request_header_size == LIMITS.max_header + 1


def test_a_parser_says_bad_request_for_a_parsing_error():
    """
    And is complete, so that the refusal can be sent.
    """
    parser = waitress.parser.HTTPRequestParser(Adjustments())
    parser.received(b"nonsense\r\n\r\n")

    assert parser.completed
    assert (parser.error.code, parser.error.reason) == (400, "Bad Request")
    assert isinstance(parser.error.body, str)


def test_too_long_a_head_is_parsed_as_another():
    """
    As GET /, which is why the log must not say so.
    """
    parser = Parser(adjustments(LIMITS, "http"))
    parser.received(b"POST /x HTTP/1.1\r\nX: " + b"a" * 1_000)

    assert parser.error.code == 431
    assert (parser.command, parser.path) == ("", "")
