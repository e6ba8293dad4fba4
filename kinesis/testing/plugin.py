"""
The pytest plugin: runs under seeds, and the thread that was left behind.

::

    @pytest.mark.seeds(200)
    def test_every_deposit_is_counted(simulation):
        with simulation.runtime() as runtime:
            ...

The test is one item that runs 200 times, each time in a new simulation, under the
seeds 0 to 199; it stops at the first that fails, and says which and how to repeat
it. Without the marker it runs once, under seed 0. Arguments of the marker by name
are those of `simulate`: ``@pytest.mark.seeds(200, step_seconds=0.001)``.

Other fixtures are made once for all seeds of an item. If one of them asks for
`simulation` itself, it must be made for each: then every seed is an item. A test of a
`unittest.TestCase` runs once, so the marker is refused there.

--kinesis-seed=N          run under that seed only
--kinesis-seeds=N         run each test that has the marker under N seeds, 1 or more
--kinesis-traced-seeds=N  let coverage, and debuggers, see N seeds of each item; the
                          others are three times as fast for it, and go through the
                          same lines in another order
"""

from __future__ import annotations

import argparse
import os
import shlex
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Any

import pytest

from kinesis.concurrency import SystemThreads
from kinesis.testing.runs import Simulation, simulate
from kinesis.testing.simulation import keep_carriers, threads_alive, untraced

__all__ = ["no_thread_left_behind", "simulation"]

PATIENCE = 2.0  # real seconds that the threads of a test have to end, all together
NO_FAILURE = (pytest.skip.Exception, pytest.exit.Exception, KeyboardInterrupt)
HAS_FAILED = pytest.StashKey[bool]()  # of an item whose failure has been told


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    group = parser.getgroup("kinesis", "simulated threads")
    group.addoption(
        "--kinesis-seed",
        type=int,
        metavar="N",
        help="run the tests that use `simulation` under this seed only",
    )
    group.addoption(
        "--kinesis-seeds",
        type=_count,
        metavar="N",
        help="run each test marked `seeds` under N seeds, whatever it says",
    )
    group.addoption(
        "--kinesis-traced-seeds",
        type=int,
        metavar="N",
        help="let coverage and debuggers see only the first N seeds of each test, "
        "which makes the others about three times as fast",
    )


def _count(text: str) -> int:
    """Read a number of seeds, which is 1 or more: no seed would be no test."""
    if not text.strip().isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"write 1 or more, not {text}")
    return int(text)


def pytest_configure(config: pytest.Config) -> None:
    """Describe the marker."""
    config.addinivalue_line(
        "markers",
        "seeds(count, **options): run the test in a new `simulation` under each of "
        "*count* seeds; options are those of kinesis.testing.simulate",
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make an item of each seed where another fixture needs the simulation."""
    item = metafunc.definition
    if item.get_closest_marker("seeds") is None or _refusal(item):
        return
    if _is_needed_by_fixtures(item):
        seeds = list(_seeds(item))
        metafunc.parametrize(
            "simulation", seeds, ids=[f"seed{seed}" for seed in seeds], indirect=True
        )


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Fail an item whose marker cannot work; the others run."""
    if isinstance(item, pytest.Function) and (refusal := _refusal(item)):
        pytest.fail(refusal, pytrace=False)


def _refusal(item: pytest.Function) -> str | None:
    """Return why the marker of *item* cannot work, and what to write, if so."""
    marker = item.get_closest_marker("seeds")
    if marker is None:
        return None
    if "simulation" not in item.fixturenames:
        return (
            f"{item.nodeid} is marked `seeds` but does not use the fixture "
            f"`simulation`: it would do the same each time. Ask for it."
        )
    if len(marker.args) != 1 or not _is_count(marker.args[0]):
        return f"{item.nodeid}: write seeds(COUNT), 1 or more, as in seeds(200)."
    if _is_of_unittest(item):
        return (
            f"{item.nodeid} is marked `seeds`, but a test of a `unittest.TestCase` "
            f"runs once. Make it a function, or take its class off `TestCase`."
        )
    return None


def _is_count(value: object) -> bool:
    """Return whether *value* is a number of seeds; True is no number."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _is_of_unittest(item: pytest.Function) -> bool:
    """Return whether `unittest` runs *item*, so that nothing of it can be repeated."""
    from unittest import TestCase  # not at the top: few who load this need it

    return item.cls is not None and issubclass(item.cls, TestCase)


def _is_needed_by_fixtures(item: pytest.Item) -> bool:
    """Return whether a fixture of *item*, not only its function, asks for it."""
    fixtures = getattr(item, "_fixtureinfo").name2fixturedefs  # noqa: B009  # pytest has no public way to ask
    return any("simulation" in fixture[-1].argnames for fixture in fixtures.values())


def _seeds(item: pytest.Item) -> Iterable[int]:
    """Return the seeds to run *item* under: option, else marker, else 0."""
    one = item.config.getoption("--kinesis-seed")
    if one is not None:
        return (one,)
    marker = item.get_closest_marker("seeds")
    if marker is None:
        return (0,)
    count = item.config.getoption("--kinesis-seeds")
    return range(marker.args[0] if count is None else count)


def _options(item: pytest.Item) -> dict[str, Any]:
    """Return what the marker hands on to `simulate`."""
    marker = item.get_closest_marker("seeds")
    return dict(marker.kwargs) if marker is not None else {}


@pytest.fixture
def simulation(request: pytest.FixtureRequest) -> Iterator[Simulation]:
    """
    A run under a seed, entered: its `threads` are simulated, its time is virtual.

    See `kinesis.testing.simulate`; with ``@pytest.mark.seeds(200)`` the test runs
    under 200 seeds.
    """
    if not _is_needed_by_fixtures(request.node):
        yield simulate()  # a stand-in: the call is given one for each seed
        return
    seed = getattr(request, "param", None)
    if seed is None:
        seed = next(iter(_seeds(request.node)))
    run = simulate(seed, **_options(request.node))
    try:
        with run:
            yield run
            if request.node.stash.get(HAS_FAILED, False):
                run.threads.finish(wait=False)  # what it left is due to its failure
    except Exception as error:  # from the end of the run, not from the test
        _tell(request.node, error, run)
        raise


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    """Run the function once for each seed, each time in a new simulation."""
    given = pyfuncitem.funcargs.get("simulation")
    if not isinstance(given, Simulation):
        return (yield)
    body = pyfuncitem.obj
    if given.has_begun:
        pyfuncitem.obj = _explained(pyfuncitem, body, given)
    else:
        pyfuncitem.obj = _repeated(pyfuncitem, body)
    try:
        return (yield)
    finally:
        pyfuncitem.obj = body


def _explained(
    item: pytest.Function, body: Callable[..., object], run: Simulation
) -> Callable[..., None]:
    """
    Return *body*, saying the seed of *run* if it fails.

    The run goes on: the fixtures on it, such as a runtime, are yet to be torn down.
    """

    def once(**arguments: object) -> None:
        __tracebackhide__ = True
        try:
            body(**arguments)
        except BaseException as error:
            if run.threads.interrupt is not None:  # broken off: it cannot go on
                run.__exit__(type(error), error, error.__traceback__)
            if not isinstance(error, NO_FAILURE):
                item.stash[HAS_FAILED] = True
                _tell(item, error, run)
            raise

    return once


def _repeated(
    item: pytest.Function, body: Callable[..., object]
) -> Callable[..., None]:
    """Return a function that runs *body* under every seed of *item*."""

    def all_seeds(**arguments: object) -> None:
        __tracebackhide__ = True
        seeds = tuple(_seeds(item))
        traced = item.config.getoption("--kinesis-traced-seeds")
        with keep_carriers():
            run_each(seeds[:traced], arguments)
        if seeds[:traced] != seeds:
            with untraced(), keep_carriers():
                run_each(seeds[traced:], arguments)

    def run_each(seeds: Iterable[int], arguments: dict[str, object]) -> None:
        __tracebackhide__ = True
        for seed in seeds:
            run = simulate(seed, **_options(item))
            try:
                with run:
                    body(**{**arguments, "simulation": run})
            except NO_FAILURE:
                raise
            except BaseException as error:  # SystemExit as well
                _tell(item, error, run)
                raise

    return all_seeds


def _tell(item: pytest.Item, error: BaseException, run: Simulation) -> None:
    """Add to the report how to repeat *run*, and how it ended."""
    line = f"pytest {shlex.quote(_id_from_here(item))} --kinesis-seed={run.seed}"
    error.add_note(f"seed {run.seed}; to repeat it: {line}")
    item.add_report_section("call", f"last steps under seed {run.seed}", run.story())


def _id_from_here(item: pytest.Item) -> str:
    """Return the id of *item* for who calls pytest in the same folder again."""
    _, *names = item.nodeid.split("::")
    path = os.path.relpath(item.path, item.config.invocation_params.dir)
    return "::".join([path, *names])


@pytest.fixture
def no_thread_left_behind() -> Iterator[None]:
    """
    Fail a test that leaves a thread running, by the thread's name.

    For your own conftest: ``pytestmark = pytest.mark.usefixtures(...)``, or an
    autouse fixture that asks for it.
    """
    before = threads_alive()

    yield

    started = [thread for thread in threads_alive() if thread not in before]
    deadline = SystemThreads.monotonic() + PATIENCE
    for thread in started:
        thread.join(max(0.0, deadline - SystemThreads.monotonic()))
    alive = [thread.name for thread in started if thread.is_alive()]
    assert not alive, f"still running after the test: {alive}. Stop them in the test."
