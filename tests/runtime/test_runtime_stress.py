"""Programs of ten thousand components, and of many that hang."""

from __future__ import annotations

import sys
import time

import pytest

from kinesis import Component, Container, Runtime, Stage
from kinesis.errors import HungError
from tests.runtime.parts import PATIENCE, Hang, Loop, kinesis_threads, stubborn

pytestmark = pytest.mark.stress

BUSY = 10.0  # seconds that a busy machine may add


class Part(Component):
    """Is told to stop, and gives something back."""

    def start(self) -> None:
        """Run until asked to stop."""
        self.stopping.wait()

    def stop(self) -> None:
        """Be told."""

    def tear_down(self) -> None:
        """Give it back."""


def test_ten_thousand_components_start_and_stop() -> None:
    """
    In containers of a hundred; all are STARTED, all are joined, no thread is left.
    """
    sys.setswitchinterval(0.005)  # as usual: here the number is the stress
    boxes = [
        Container(name=f"b{n}", components=[Part(name=f"c{m}") for m in range(100)])
        for n in range(100)
    ]
    with Runtime(name="app", components=boxes, shutdown_deadline=300.0) as runtime:
        stages = {ref.stage for ref in runtime.root.walk()}
    told = runtime.stop()

    assert stages == {Stage.STARTED}
    assert {ref.stage for ref in runtime.root.walk()} == {Stage.TORN_DOWN}
    assert len(told.stopped) == 10_101
    assert told.late == ()
    assert kinesis_threads() == []


def test_a_thousand_that_hang_end_within_the_deadline_of_the_whole() -> None:
    """
    The report names all of them, and shows the stacks of some.
    """
    with Hang() as hang:
        parts = [stubborn("stop", hang, f"c{n}") for n in range(1000)]
        runtime = Runtime(
            name="app", components=[Loop(name="loop"), *parts], shutdown_deadline=2.0
        ).start()
        began = time.monotonic()
        with pytest.raises(HungError) as caught:
            runtime.stop()
        seconds = time.monotonic() - began
        threads = [each for ref in runtime for each in ref._cell.threads()]
    for thread in threads:
        thread.join(PATIENCE)

    assert len(caught.value.paths) >= 1000
    assert len(str(caught.value)) < 100_000
    assert seconds < 2.0 + 1.0 + BUSY
