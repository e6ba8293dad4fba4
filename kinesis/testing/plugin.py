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
`simulation` itself, it must be made for each: then every seed is an item.

--kinesis-seed=N          run under that seed only
--kinesis-seeds=N         run each test that has the marker under N seeds
--kinesis-traced-seeds=N  let coverage, and debuggers, see N seeds of each item; the
                          others are three times as fast for it, and go through the
                          same lines in another order
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Any

import pytest

from kinesis.concurrency import SystemThreads
from kinesis.testing.runs import Simulation, simulate
from kinesis.testing.simulation import keep_carriers, threads_alive, untraced

__all__ = ["no_thread_left_behind", "simulation"]

PATIENCE = 2.0  # real seconds that the threads of a test have to end, all together
FAILED = (Exception, pytest.fail.Exception)  # but not skipped, or interrupted


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
        type=int,
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


def pytest_configure(config: pytest.Config) -> None:
    """Describe the marker."""
    config.addinivalue_line(
        "markers",
        "seeds(count, **options): run the test in a new `simulation` under each of "
        "*count* seeds; options are those of kinesis.testing.simulate",
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make an item of each seed where another fixture needs the simulation."""
    marker = metafunc.definition.get_closest_marker("seeds")
    if marker is None:
        return
    if "simulation" not in metafunc.fixturenames:
        raise pytest.UsageError(
            f"{metafunc.definition.nodeid} is marked `seeds` but does not use the "
            f"fixture `simulation`: it would do the same each time. Ask for it."
        )
    if _is_needed_by_fixtures(metafunc.definition):
        seeds = list(_seeds(metafunc.definition))
        metafunc.parametrize(
            "simulation", seeds, ids=[f"seed{seed}" for seed in seeds], indirect=True
        )


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
    if len(marker.args) != 1 or not isinstance(marker.args[0], int):
        raise pytest.UsageError(f"{item.nodeid}: write seeds(COUNT), as in seeds(200).")
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
    """Return *body*, saying the seed of *run* if it fails."""

    def once(**arguments: object) -> None:
        __tracebackhide__ = True
        try:
            body(**arguments)
        except FAILED as error:
            run.threads.finish(wait=False)
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
            except FAILED as error:
                _tell(item, error, run)
                raise

    return all_seeds


def _tell(item: pytest.Item, error: BaseException, run: Simulation) -> None:
    """Add to the report how to repeat *run*, and how it ended."""
    line = f"pytest '{item.nodeid}' --kinesis-seed={run.seed}"
    error.add_note(f"seed {run.seed}; to repeat it: {line}")
    item.add_report_section("call", f"last steps under seed {run.seed}", run.story())


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
