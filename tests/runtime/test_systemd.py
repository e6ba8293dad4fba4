"""systemd is told how a service is, if it asks, and only of the program itself."""

from __future__ import annotations

import os
import secrets
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from kinesis import Runtime, Stage
from kinesis.systemd import Notifier
from tests.runtime.parts import PATIENCE, Brief, Hang, Loop, stubborn


class Listener:
    """The socket at which systemd listens to a service."""

    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.settimeout(PATIENCE)
        self.socket.bind(address.replace("@", "\0", 1))

    def next(self) -> str:
        """Wait for what is told next."""
        return self.socket.recv(1000).decode()

    def rest(self) -> list[str]:
        """Return what has been told beside that."""
        self.socket.setblocking(False)
        told = []
        while True:
            try:
                told.append(self.next())
            except BlockingIOError:
                return told


@pytest.fixture
def listener(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Listener]:
    """Listen as systemd does to a service that it starts."""
    address = str(tmp_path / "notify")
    made = Listener(address)
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    monkeypatch.delenv("WATCHDOG_USEC", raising=False)
    monkeypatch.delenv("WATCHDOG_PID", raising=False)
    yield made
    made.socket.close()


def run(runtime: Runtime, codes: list[int]) -> threading.Thread:
    """Run *runtime* on a thread; its exit code goes into *codes*."""
    thread = threading.Thread(target=lambda: codes.append(runtime.run()))
    thread.start()
    return thread


def test_ready_once_all_is_started_and_stopping_at_once(listener: Listener) -> None:
    """
    Not before: what comes after this service in its boot needs it.
    """
    codes: list[int] = []
    with Hang() as starts, Hang() as stops:
        parts = [stubborn("init", starts, "slow"), stubborn("stop", stops, "last")]
        runtime = Runtime(name="app", components=parts)
        thread = run(runtime, codes)
        starts.wait_entered()
        listener.socket.setblocking(False)
        with pytest.raises(BlockingIOError):
            listener.next()
        listener.socket.settimeout(PATIENCE)
        starts.over.set()

        assert listener.next() == "READY=1"
        stopping = threading.Thread(target=runtime.stop)
        stopping.start()
        stops.wait_entered()
        assert listener.next() == "STOPPING=1"
    for each in (stopping, thread):
        each.join(PATIENCE)
    assert codes == [0]
    assert listener.rest() == []


def test_a_runtime_that_was_started_is_ready_when_it_is_run(
    listener: Listener,
) -> None:
    """
    Only run() makes it the program; until then its host speaks for itself.
    """
    runtime = Runtime(name="app", components=[Brief(name="brief")]).start()
    runtime["brief"].wait_stopped(PATIENCE)

    assert listener.rest() == []
    assert runtime.run() == 0
    assert listener.rest() == ["READY=1", "STOPPING=1"]


def test_an_embedded_runtime_does_not_speak_for_its_host(listener: Listener) -> None:
    """
    Its end is not the end of the service: STOPPING would have that killed.
    """
    with Runtime(name="app", components=[Loop(name="loop")]):
        pass

    assert listener.rest() == []


def test_what_cannot_start_is_never_ready(listener: Listener) -> None:
    """
    systemd sees the exit code.
    """

    def broken() -> None:
        raise OSError

    runtime = Runtime(name="app", components=[stubborn("init", broken)])

    assert runtime.run() == 1
    assert listener.rest() == ["STOPPING=1"]


@pytest.mark.parametrize("busy", [False, True], ids=["idle", "busy"])
def test_the_watchdog_is_fed_also_when_there_is_always_something_to_do(
    listener: Listener, monkeypatch: pytest.MonkeyPatch, busy: bool
) -> None:
    """
    Twice in its time; components that finish all the while keep nobody from it.
    """
    monkeypatch.setenv("WATCHDOG_USEC", "100000")
    codes: list[int] = []
    runtime = Runtime(name="app", components=[Loop(name="loop")])
    thread = run(runtime, codes)
    runtime.root.wait_for(Stage.STARTED, PATIENCE)
    heard = threading.Event()

    def keep_busy() -> None:
        while not heard.is_set():
            runtime._services.on_ended()

    other = threading.Thread(target=keep_busy if busy else heard.wait)
    other.start()
    told = {listener.next() for _ in range(5)}
    heard.set()
    other.join(PATIENCE)
    runtime.stop()
    thread.join(PATIENCE)

    assert told == {"READY=1", "WATCHDOG=1"}


# -- the notifier alone -------------------------------------------------------------


def test_an_abstract_socket_is_found() -> None:
    """
    systemd writes its name with an @ for the zero byte.
    """
    address = f"@kinesis-test-{secrets.token_hex(8)}"
    listener = Listener(address)
    try:
        assert Notifier({"NOTIFY_SOCKET": address}).tell("READY=1")
        assert listener.next() == "READY=1"
    finally:
        listener.socket.close()


def test_without_anybody_who_listens_nothing_happens(tmp_path: Path) -> None:
    """
    No socket, or one that refuses: the service goes on.
    """
    assert not Notifier({}).tell("READY=1")
    assert not Notifier({"NOTIFY_SOCKET": str(tmp_path / "none")}).tell("READY=1")
    assert not Notifier({"NOTIFY_SOCKET": "vsock:2:1234"}).tell("READY=1")


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "3000000"}, 3.0),
        ({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": str(os.getpid())}, 3.0),
        ({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": "9" * 500}, None),
        ({"WATCHDOG_USEC": "9" * 30}, 3600.0),
    ],
)
def test_the_watchdog_is_wanted_where_the_environment_says_so(
    environ: dict[str, str], expected: float | None
) -> None:
    """
    A child of the service inherits the words, but they are not meant for it.
    """
    assert Notifier(environ).watchdog_seconds == expected
