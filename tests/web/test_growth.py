"""What it takes to add and remove a component does not grow with the routes."""

from __future__ import annotations

import contextlib
import gc
import sys
import threading
import tracemalloc
from collections.abc import Callable, Iterator

import attrs
import pytest
from werkzeug import Request
from werkzeug.test import create_environ

from kinesis import Component, Container, Runtime
from kinesis.container import ContainerRef
from kinesis.routing import routes_of
from kinesis.testing.simulation import untraced
from kinesis.web.application import Application
from kinesis.web.tally import BATCH
from tests.web.shop import PATIENCE, Stock, world

MANY = 1_000  # components, each of ten routes
TIMES = 10
MOST = 4_000  # bytes: half of what a pointer to each of the others takes


@pytest.fixture(autouse=True)
def _uncovered() -> Iterator[None]:
    """Hide from coverage: it takes memory as it goes, and each of a million calls."""
    with untraced():
        yield


def answer(self: Component, request: Request) -> str:
    """Answer."""
    return "ok"


answer.__annotations__ = {"request": Request}
Ten = type("Ten", (Component,), {f"route{number}": answer for number in range(10)})


@attrs.define(eq=False)
class Calls:
    """Counts the calls of functions, those written in C too, on all threads."""

    number: int = 0

    def profile(self, frame: object, event: str, _: object) -> None:
        self.number += event in {"call", "c_call"}


@contextlib.contextmanager
def counted(*, others: bool = True) -> Iterator[Calls]:
    """Count what this thread calls in the block, and *others* that begin in it."""
    calls = Calls()
    before = sys.getprofile(), threading.getprofile()
    if others:
        threading.setprofile(calls.profile)
    sys.setprofile(calls.profile)
    try:
        yield calls
    finally:
        sys.setprofile(before[0])
        threading.setprofile(before[1])


@contextlib.contextmanager
def without_collector() -> Iterator[None]:
    """Have no garbage collected in the block, which calls what it likes."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def come_and_go(container: ContainerRef[Container]) -> None:
    """Add a component with routes, and remove it."""
    container.add(Stock(name="one"))
    container.remove("one")


def filled(runtime: Runtime, many: int) -> ContainerRef[Container]:
    """Return a container with *many* components of ten routes each."""
    container = runtime.add(Container(name="all"))
    for number in range(many):
        container.add(Ten(name=f"n{number}"))
    for _ in range(3):  # the first ones fill caches
        come_and_go(container)
    return container


def calls_beside(many: int) -> int:
    """Return how many calls it takes, with *many* others there."""
    with counted() as calls, Runtime("app", http=0) as runtime:
        container = filled(runtime, many)
        taken = []
        with without_collector():
            for _ in range(TIMES):
                before = calls.number
                come_and_go(container)
                taken.append(calls.number - before)
        return min(taken)  # a thread that is late does some of it in the next one


def peak_of(do: Callable[[], object]) -> int:
    """Return how many bytes more there are at most while *do* runs: the least."""
    peaks = []
    for _ in range(TIMES):
        tracemalloc.reset_peak()
        before, _ = tracemalloc.get_traced_memory()
        do()
        peaks.append(tracemalloc.get_traced_memory()[1] - before)
    return min(peaks)


def bytes_beside(many: int, copy: Callable[[object], object] = id) -> int:
    """Return how many bytes it takes, with *many* others and a *copy* of them."""
    with Runtime("app", http=0) as runtime:
        container = filled(runtime, many)
        children = container._supervisor.books.children
        tracemalloc.start()
        try:
            with without_collector():
                return peak_of(lambda: (copy(children), come_and_go(container)))
        finally:
            tracemalloc.stop()


def test_it_takes_as_many_calls_with_ten_thousand_routes():
    """
    Of Python and of C: what looks at each of the others would show.
    """
    few, many = calls_beside(1), calls_beside(MANY)

    assert len(routes_of(Ten)) * MANY == 10_000
    assert many == pytest.approx(few, rel=0.1)
    assert few > 100  # it does see what happens


@pytest.mark.skipif(
    not getattr(sys, "_is_gil_enabled", lambda: True)(),
    reason="without the GIL, what is freed is given back later: no two runs are alike",
)
def test_it_takes_as_many_bytes_with_ten_thousand_routes():
    """
    So nothing is copied that has an entry for each of the others.
    """
    few, many = bytes_beside(1), bytes_beside(MANY)
    copied = bytes_beside(MANY, list)

    assert many < few + MOST
    assert copied > few + MOST  # it does see what has an entry for each


def test_a_request_does_the_same_while_components_come_and_go():
    """
    As many calls, none of them to wait: it shares nothing with those who change the
    tree but the processor.
    """
    with Runtime("app", [Stock(name="stock")]) as runtime:
        app = Application(runtime.root._cell)
        environ = create_environ("/app/stock")
        container = runtime.add(Container(name="all"))

        def calls_of_requests() -> int:
            with without_collector(), counted(others=False) as calls:
                for _ in range(BATCH):  # which are counted together
                    app(dict(environ), lambda status, headers: None)
                return calls.number

        calls_of_requests()  # the first ones fill caches
        alone = calls_of_requests()
        over, gone = threading.Event(), threading.Semaphore(0)

        def churn() -> None:
            while not over.is_set():
                come_and_go(container)
                gone.release()

        thread = threading.Thread(target=churn)
        thread.start()
        try:
            meanwhile = []
            for _ in range(TIMES):
                assert gone.acquire(timeout=PATIENCE)
                meanwhile.append(calls_of_requests())
        finally:
            over.set()
            thread.join(PATIENCE)

    assert not thread.is_alive()
    assert meanwhile == [alone] * TIMES


def test_a_route_of_no_component_takes_as_many_calls_beside_thousands():
    """
    As long as it is a plain path; patterns are made anew with those beside them.
    """

    def calls(app: Application) -> int:
        with without_collector(), counted() as calls:
            for _ in range(TIMES):
                app.add_route("/hooks/own", answer_of_none)
                app.remove_route("/hooks/own")
            return calls.number

    with world() as shop:
        calls(shop.app)  # the first one fills caches
        few = calls(shop.app)
        for number in range(MANY):
            shop.app.add_route(f"/hooks/n{number}", answer_of_none)
        many = calls(shop.app)

        assert shop.ask("/hooks/n7").text == "ok"
        assert shop.ask("/hooks/own").status_code == 404

    assert many == few


def answer_of_none(request: Request) -> str:
    """Answer."""
    return "ok"
