"""A restart storm: a thousand components whose start fails at once, for ever."""

from __future__ import annotations

import resource
import time

import pytest

from kinesis import Backoff, Component, Container, Restart, Runtime, Stage
from kinesis.testing import Simulation
from kinesis.testing.simulation import untraced

COUNT = 1_000
MOST = 30.0  # seconds
SETTLED = 5.0  # seconds after which all wait for the longest time


class Broken(Component):
    """Says that it works, and then it does not."""

    restart = Restart(
        limit=1_000_000, backoff=Backoff(first=1.0, factor=30.0, most=MOST, jitter=0.1)
    )

    def start(self) -> None:
        self.ready()
        raise OSError("no such host")


def storm() -> Container:
    """Return a container full of them."""
    parts = [Broken(name=f"n{number}") for number in range(COUNT)]
    return Container(name="storm", components=parts)


@pytest.mark.seeds(1, limit=5_000_000)
def test_a_thousand_that_fail_at_once_back_off_and_stop_at_once(
    simulation: Simulation,
) -> None:
    """
    Each is tried once in the longest wait, not all at the same moment.
    """
    with untraced():  # five seconds of coverage, and no line that others do not show
        blow(simulation)


def blow(simulation: Simulation) -> None:
    """Let it blow, and stop it."""
    runtime = simulation.runtime().start()
    refs = list(runtime.add(storm()))
    simulation.sleep(SETTLED)
    before = sum(ref.report().restarts for ref in refs)
    per_second = []
    for _ in range(int(MOST)):
        simulation.sleep(1.0)
        after = sum(ref.report().restarts for ref in refs)
        per_second.append(after - before)
        before = after

    assert COUNT * 0.85 <= sum(per_second) <= COUNT * 1.15
    assert max(per_second) <= COUNT / 2, "the jitter does not spread them"

    begins = simulation.now
    told = runtime.stop()

    assert simulation.now == begins
    assert told.late == ()
    assert {ref.stage for ref in refs} == {Stage.TORN_DOWN}


def cpu_seconds() -> float:
    """Return the processor time that this process has taken, in all its threads."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


@pytest.mark.stress
def test_a_thousand_that_fail_at_once_take_a_tenth_of_a_core(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """
    Once backed off, measured over one longest wait, with every failure logged.
    """
    with Runtime(name="app") as runtime:
        runtime.add(storm())
        time.sleep(SETTLED)
        cpu, began = cpu_seconds(), time.monotonic()
        time.sleep(MOST)
        share = (cpu_seconds() - cpu) / (time.monotonic() - began)
        with capsys.disabled():
            print(f"\n{COUNT} broken components: {share:.1%} of a core")  # noqa: T201  # it is the result

        began = time.monotonic()
    stopped = time.monotonic() - began

    assert share <= 0.10
    assert stopped <= 5.0
