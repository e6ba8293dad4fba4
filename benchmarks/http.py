"""
What requests cost: a component's resource, a route, a message, beside the least.

    python -m benchmarks.http                5 rounds of 2 s each: two minutes
    python -m benchmarks.http --rounds 2     less to look at, sooner

All are served by the same server in one process, on ports of their own; the load
comes from another one, wrk or a generator in Python. *bare* answers with two bytes
and knows nothing; it is what there is to reach. The aims stand beside the figures;
nothing here asserts them.
"""

from __future__ import annotations

import argparse
import contextlib
import threading
import time
from collections.abc import Iterable, Iterator
from statistics import median
from typing import Any

import attrs
from flask import Flask
from werkzeug import Request as WebRequest

from benchmarks._common import at_least, at_most, print_machine, print_table, ratio
from benchmarks._load import Load, Request, generator, load
from kinesis import Component, Container, Message, Runtime, field, handles
from kinesis.concurrency import SystemThreads
from kinesis.web.server import HTTPServer

ROUNDS = 5
SECONDS = 2.0
PER_SECOND = 100  # components added and removed
MANY = 1_000  # components of ten routes each


@attrs.frozen
class Deposit(Message[int]):
    """Add to the count."""

    amount: int


class Stock(Component):
    """What the requests are about."""

    count: int = field(default=0)
    name_of_owner: str = field(default="somebody")

    @handles(Deposit)
    def deposit(self, message: Deposit) -> int:
        """Add to the count."""
        self.count += message.amount
        return self.count

    def hello(self, request: WebRequest) -> str:
        """Answer with what the bare application answers with."""
        return "ok"


def bare(environ: Any, start_response: Any) -> Iterable[bytes]:
    """Answer as shortly as can be."""
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "2")])
    return [b"ok"]


def flask_application() -> Flask:
    """Return an application with one route."""
    app = Flask("bench")

    @app.get("/app/stock/hello")
    def hello() -> str:
        return "ok"

    return app


@contextlib.contextmanager
def served(app: Any) -> Iterator[str]:
    """Serve *app* for the block; yield where."""
    server = HTTPServer(app, port=0, threads=SystemThreads())
    server.start()
    try:
        yield server.address
    finally:
        server.stop(2.0)


@contextlib.contextmanager
def churn(container: Any) -> Iterator[list[int]]:
    """Add and remove components while the block runs; yield their number."""
    over = threading.Event()
    number = [0]

    def work() -> None:
        due = time.monotonic()
        while not over.wait(max(0.0, due - time.monotonic())):
            due = max(due + 1 / PER_SECOND, time.monotonic() - 0.1)
            name = f"c{number[0]}"
            container.add(Stock(name=name))
            container.remove(name)
            number[0] += 1

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield number
    finally:
        over.set()
        thread.join()


def main() -> None:
    """Measure, and print tables."""
    parser = argparse.ArgumentParser(description="Measure requests.")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--seconds", type=float, default=SECONDS)
    options = parser.parse_args()
    print_machine()
    print(f"load: {generator()}, 16 connections; {options.rounds} rounds")
    stock = Stock(name="stock")
    other = Container(name="other")
    with contextlib.ExitStack() as stack:
        runtime = Runtime("app", [stock, other], http=0)
        stack.enter_context(runtime)
        requests = requests_of(
            runtime,
            stack.enter_context(served(bare)),
            stack.enter_context(served(flask_application())),
        )
        measured = rounds(requests, runtime, options.rounds, options.seconds)
        print_loads(measured)
        print_growth(runtime["/app/other"])


def requests_of(runtime: Runtime, bare_at: str, flask_at: str) -> dict[str, Request]:
    """Return what is measured, by name."""
    own = f"{runtime.http.address}/app/stock"
    etag = runtime["/app/stock"].snapshot().etag
    json_type = {"Content-Type": "application/json"}
    return {
        "bare": Request(f"{bare_at}/app/stock/hello"),
        "route": Request(f"{own}/hello"),
        "GET 200": Request(own),
        "GET 304": Request(own, headers={"If-None-Match": f'"{etag}"'}),
        "Flask": Request(f"{flask_at}/app/stock/hello"),
        "message": Request(
            f"{own}/-/messages/Deposit", "POST", json_type, '{"amount":0}'
        ),
        "GET 200, churn": Request(own),
        "bare, churn": Request(f"{bare_at}/app/stock/hello"),
    }


def rounds(
    requests: dict[str, Request], runtime: Runtime, number: int, seconds: float
) -> dict[str, list[Load]]:
    """Load each in turn, *number* times, every other time backwards."""
    measured: dict[str, list[Load]] = {name: [] for name in requests}
    for turn in range(number):
        names = list(requests)
        for name in reversed(names) if turn % 2 else names:
            if name.endswith("churn"):
                with churn(runtime["/app/other"]):
                    measured[name].append(load(requests[name], seconds))
            else:
                measured[name].append(load(requests[name], seconds))
    return measured


AIMS = {"route": 0.85, "GET 200": 0.7}
CHURNED = "GET 200, churn"  # the other one shows what the work beside it takes alone


def print_loads(measured: dict[str, list[Load]]) -> None:
    """Print how many requests each took, beside the bare application's."""
    speeds = {name: [one.per_second for one in all] for name, all in measured.items()}
    tails = {name: [one.p99 for one in all] for name, all in measured.items()}
    rows = []
    for name, all_loads in measured.items():
        beside = ratio(speeds, name, "bare")
        aim = at_least(beside, AIMS[name]) if name in AIMS else ""
        if name == "Flask":
            faster = ratio(speeds, "route", "Flask")
            aim = f"route / Flask {faster:.2f}, {at_least(faster, 1.0)}"
        if name.endswith("churn"):
            longer = ratio(tails, name, name.removesuffix(", churn"))
            aim = f"p99 x {longer:.2f}"
            aim += f", {at_most(longer, 1.5)}" if name == CHURNED else ""
        low, high = min(speeds[name]), max(speeds[name])
        rows.append(
            (
                name,
                f"{median(speeds[name]):.0f}",
                f"{low:.0f}-{high:.0f}",
                f"{beside:.2f}",
                f"{median(tails[name]) * 1e3:.1f}",
                str(sum(one.failed for one in all_loads)),
                aim,
            )
        )
    heads = ("", "requests/s", "range", "of bare", "p99 ms", "failed", "aim")
    print_table("Requests", heads, rows)


def print_growth(container: Any) -> None:
    """Print what it takes to add and remove a component, with few and with many."""
    few = seconds_to_change(container)
    kind = with_ten_routes()
    for number in range(MANY):
        container.add(kind(name=f"many{number}"))
    many = seconds_to_change(container)
    rows = [
        ("none", f"{few * 1e6:.0f}", ""),
        (f"{MANY} of ten routes", f"{many * 1e6:.0f}", f"x {many / few:.2f}"),
    ]
    print_table("To add and remove a component", ("besides", "us", ""), rows)


def with_ten_routes() -> type[Component]:
    """Return a class with ten routes."""

    def answer(self: Component, request: WebRequest) -> str:
        """Answer."""
        return "ok"

    answer.__annotations__ = {"request": WebRequest}
    return type("Ten", (Component,), {f"route{n}": answer for n in range(10)})


def seconds_to_change(container: Any) -> float:
    """Return the median of what it takes to add and remove a component."""
    times = []
    for _ in range(100):
        began = time.perf_counter()
        container.add(Stock(name="one"))
        container.remove("one")
        times.append(time.perf_counter() - began)
    return median(times)


if __name__ == "__main__":
    main()
