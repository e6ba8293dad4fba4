"""Fixtures and settings that keep threaded tests honest."""

from __future__ import annotations

import faulthandler
import gc
import signal
import sys
import threading
import time
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

PATIENCE = 2.0  # seconds that the threads of one test have to end, all together

# The default suite gives the same result every time, on a slow machine too;
# the stress profile looks for new examples.
settings.register_profile(
    "default",
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile(
    "stress", settings.get_profile("default"), derandomize=False, max_examples=2_000
)
settings.load_profile("default")


def pytest_configure(config: pytest.Config) -> None:
    """
    Hear ctrl-c as a program in the foreground does, and the processes of tests too.

    A shell starts what it puts into the background with SIGINT ignored, and that is
    handed down.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if hands_out_tests(config):
        sys.settrace(None)  # it runs nothing of ours: coverage would only slow it down
        threading.settrace(None)


def hands_out_tests(config: pytest.Config) -> bool:
    """Return whether this process leaves all tests to others, as with ``-n 2``."""
    is_one_of_them = hasattr(config, "workerinput")
    return bool(config.getoption("numprocesses", None)) and not is_one_of_them


def pytest_collection_finish() -> None:
    """Spare the collector the tests and what they have imported: it stays."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _no_thread_left_behind() -> Iterator[None]:
    """
    A test that starts a thread also sees it end.
    """
    before = set(threading.enumerate())

    yield

    started = [thread for thread in threading.enumerate() if thread not in before]
    deadline = time.monotonic() + PATIENCE
    for thread in started:
        thread.join(timeout=max(0.0, deadline - time.monotonic()))
    alive = [thread.name for thread in started if thread.is_alive()]

    assert not alive, f"still running after the test: {alive}. Stop them in the test."


@pytest.fixture(autouse=True)
def _eager_switches(request: pytest.FixtureRequest) -> Iterator[None]:
    """
    A stress test changes threads a thousand times as often as usual.
    """
    usual = sys.getswitchinterval()
    if request.node.get_closest_marker("stress"):
        sys.setswitchinterval(5e-6)
        # It is long on purpose; and a dump, which reads the frames of threads that
        # run, has taken the interpreter down.
        faulthandler.cancel_dump_traceback_later()

    yield

    sys.setswitchinterval(usual)
