"""A signal to a running program is heard, whenever it comes."""

from __future__ import annotations

import signal
import threading

import pytest

from kinesis import Component, Runtime, private

PATIENCE = 10.0  # seconds


class Idle(Component):
    """Waits; says when it does."""

    waits: threading.Event = private(factory=threading.Event)

    def start(self) -> None:
        self.waits.set()
        self.stopping.wait()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_that_does_not_wake_the_main_thread_is_heard(
    number: signal.Signals,
) -> None:
    """
    The system gave it to another thread, or just before the main thread slept.

    Python calls handlers in the main thread, which may sleep for ever then.
    """
    idle = Idle(name="idle")
    runtime = Runtime(components=[idle])
    heard, never_heard = threading.Event(), threading.Event()

    def send() -> None:
        idle.waits.wait(PATIENCE)
        signal.pthread_kill(threading.get_ident(), number)
        if not heard.wait(PATIENCE):
            never_heard.set()
            runtime.stop()

    sender = threading.Thread(target=send)
    sender.start()
    code = runtime.run()
    heard.set()
    sender.join()

    assert not never_heard.is_set()
    assert code == 0
