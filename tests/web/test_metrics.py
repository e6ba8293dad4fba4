"""What ``/-/metrics`` says, read back by the parser of prometheus-client."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest
from prometheus_client.parser import text_string_to_metric_families

from kinesis import Backoff, Component, Restart, handles, private
from kinesis.concurrency import SystemThreads
from kinesis.errors import MailboxFullError
from kinesis.stages import Stage
from kinesis.web.tally import BATCH, BOUNDS, MOST_ROUTES, NOWHERE, OTHER, Tally
from tests.web.shop import PATIENCE, Deposit, Fail, Stock, Wait, World, world

STOCK = "/app/shop/stock"

Numbers = dict[tuple[str, ...], float]


@pytest.fixture
def shop() -> Iterator[World]:
    """The shop, running."""
    with world() as made:
        yield made


def numbers_of(shop: World) -> Numbers:
    """Return every sample by its name and its labels' values, in their order."""
    text = shop.ask("/-/metrics").text
    return {
        (each.name, *(value for _, value in sorted(each.labels.items()))): each.value
        for family in text_string_to_metric_families(text)
        for each in family.samples
    }


def eventually(condition, what: str) -> None:
    """Wait until *condition* holds; it changes on another thread."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"{what}: never within {PATIENCE} s"
        time.sleep(0.005)  # a poll, not an order of events


class Moody(Component):
    """Fails in its first two runs."""

    restart = Restart(backoff=Backoff(first=0.001))
    _runs: list[int] = private(factory=list)

    def start(self) -> None:
        self.ready()
        self._runs.append(1)
        if len(self._runs) < 3:
            raise ValueError("not yet")
        self.stopping.wait()


class Slow(Component):
    """Has a handler that waits for the test, and little patience with it."""

    stall_after = 0.01
    _gate: threading.Event = private(factory=threading.Event)

    @handles(Wait)
    def wait(self, message: Wait) -> None:
        assert self._gate.wait(PATIENCE), "the test never opened the gate"


class TestComponents:
    def test_each_is_named_with_its_class_and_stage(self, shop):
        """
        One series each: that of the stage it is in.
        """
        shop.runtime[STOCK].stop()
        numbers = numbers_of(shop)

        assert numbers["kinesis_component_info", STOCK, "STOPPED", "Stock"] == 1
        assert ("kinesis_component_info", STOCK, "STARTED", "Stock") not in numbers
        assert numbers["kinesis_component_up", STOCK] == 0
        assert numbers["kinesis_component_up", "/app/shop"] == 1

    def test_all_stages_are_counted_also_those_of_none(self, shop):
        """
        So that an alert for one has something to look at.
        """
        numbers = numbers_of(shop)
        counted = {stage: numbers["kinesis_components", stage.value] for stage in Stage}

        assert counted.pop(Stage.STARTED) == 3
        assert set(counted.values()) == {0}

    def test_restarts_and_failures_add_up(self, shop):
        """
        Of one that fails twice and then runs.
        """
        path = "/app/moody"
        ref = shop.runtime.add(Moody(name="moody"))
        eventually(lambda: ref.report().restarts == 2, "it runs for the third time")
        numbers = numbers_of(shop)

        assert numbers["kinesis_component_restarts_total", path] == 2
        assert numbers["kinesis_component_failures_total", path] == 2

    def test_a_stalled_component_is_seen(self, shop):
        """
        While its handler takes long, and not afterwards.
        """
        slow = Slow(name="slow")
        ref = shop.runtime.add(slow)
        key = ("kinesis_component_stalled", "/app/slow")

        assert numbers_of(shop)[key] == 0

        ref.post(Wait())
        try:
            eventually(lambda: numbers_of(shop)[key] == 1, "it is stalled")
        finally:
            slow._gate.set()
        eventually(lambda: numbers_of(shop)[key] == 0, "it has recovered")

    def test_what_is_gone_has_no_numbers(self, shop):
        """
        However many components come and go, nothing is kept of them.
        """
        shop.runtime.add(Stock(name="brief")).send(Deposit(1))

        assert ("kinesis_component_up", "/app/brief") in numbers_of(shop)

        shop.runtime.root.remove("brief")

        assert not [key for key in numbers_of(shop) if "/app/brief" in key]


class TestMessages:
    def test_every_accepted_one_has_one_outcome(self, shop):
        """
        Handled, failed, or refused, which are not among the accepted.
        """
        stock = shop.runtime[STOCK]
        for _ in range(3):
            stock.send(Deposit(1))
        with pytest.raises(ValueError, match="secret"):
            stock.send(Fail())
        numbers = numbers_of(shop)

        assert numbers["kinesis_messages_total", "handled", STOCK] == 3
        assert numbers["kinesis_messages_total", "failed", STOCK] == 1
        assert numbers["kinesis_messages_accepted_total", STOCK] == 4
        assert numbers["kinesis_handler_seconds_total", STOCK] > 0

    def test_waiting_ones_and_refused_ones_are_seen(self, shop):
        """
        One runs, one waits, the third finds the mailbox full.
        """
        slow = Slow(name="slow", mailbox_bound=1)
        ref = shop.runtime.add(slow)
        ref.post(Wait())
        try:
            eventually(lambda: ref.report().messages.running == 1, "it runs")
            ref.post(Wait())
            with pytest.raises(MailboxFullError):
                ref.post(Wait())
            numbers = numbers_of(shop)
        finally:
            slow._gate.set()

        assert numbers["kinesis_mailbox_depth", "/app/slow"] == 1
        assert numbers["kinesis_messages_total", "refused", "/app/slow"] == 1
        assert numbers["kinesis_messages_accepted_total", "/app/slow"] == 2

    def test_latencies_are_a_histogram(self, shop):
        """
        Its buckets only grow, and the last has all.
        """
        for _ in range(5):
            shop.runtime[STOCK].send(Deposit(1))
        name = "kinesis_message_latency_seconds"
        numbers = numbers_of(shop)
        buckets = [n for key, n in numbers.items() if key[0] == f"{name}_bucket"]

        assert buckets == sorted(buckets)
        assert buckets[-1] == numbers[f"{name}_count", STOCK] == 5
        assert numbers[f"{name}_sum", STOCK] > 0

    def test_a_mailbox_without_messages_has_no_series(self, shop):
        """
        Most components of a large program: each line takes time to write.
        """
        assert ("kinesis_mailbox_depth", STOCK) not in numbers_of(shop)


class TestRequests:
    def test_they_are_counted_by_what_answered(self, shop):
        """
        By rule, not by path: the same for all components of a class.
        """
        shop.ask(STOCK)
        shop.ask(f"{STOCK}/items/1")
        shop.ask(f"{STOCK}/items/2")
        shop.ask(f"{STOCK}/items/2", "PUT")
        shop.ask(f"{STOCK}/-/messages/Deposit", "POST", json={"amount": 1})
        shop.ask("/-/live")
        shop.app.add_route("/hooks/<name>", lambda request, name: name)
        shop.ask("/hooks/a")
        numbers = numbers_of(shop)
        found = {
            key[1:]: number
            for key, number in numbers.items()
            if key[0] == "kinesis_http_requests_total"
        }

        assert found == {
            ("GET", "Stock", "200"): 1,
            ("GET", "Stock/items/<int:id>", "200"): 2,
            ("PUT", "Stock/items/<int:id>", "405"): 1,
            ("POST", "Stock/-/messages", "200"): 1,
            ("GET", "/-/live", "200"): 1,
            ("GET", "/hooks/<name>", "200"): 1,
        }

    def test_what_is_not_there_is_one_route(self, shop):
        """
        Whatever clients make up.
        """
        for path in ("/a", "/b", f"{STOCK}/c", f"{STOCK}/-/d", f"{STOCK}/-/messages/E"):
            shop.ask(path)
        numbers = numbers_of(shop)
        routes = {key[2] for key in numbers if key[0] == "kinesis_http_requests_total"}

        assert routes == {NOWHERE, "Stock/-/messages"}

    def test_durations_are_counted_in_the_right_bucket(self):
        """
        A bound belongs to the bucket that it ends.
        """
        tally = Tally(SystemThreads())
        for bound in BOUNDS:
            tally.add("r", "GET", 200, bound)
        tally.add("r", "GET", 200, BOUNDS[-1] + 1)
        took = tally.read().durations["r", "GET"]

        assert took.buckets == (1,) * (len(BOUNDS) + 1)
        assert took.seconds == pytest.approx(sum(BOUNDS) + BOUNDS[-1] + 1)

    def test_routes_beyond_the_most_are_counted_together(self):
        """
        A program that makes classes as it runs does not fill the memory.
        """
        tally = Tally(SystemThreads())
        for number in range(MOST_ROUTES + 10):
            tally.add(f"r{number}", "GET", 200, 0.0)
        read = tally.read()

        assert len(read.number) == MOST_ROUTES + 1
        assert read.number[OTHER, "GET", 200] == 10

    def test_what_has_not_been_read_takes_little_room(self):
        """
        Samples are counted in batches, also if nobody asks.
        """
        tally = Tally(SystemThreads())
        for _ in range(10 * BATCH):
            tally.add("r", "GET", 200, 0.0)

        assert len(tally._samples) < BATCH


class TestRuntime:
    def test_the_process_and_its_threads_are_seen(self, shop):
        """
        As other programs show them, so that dashboards fit.
        """
        numbers = numbers_of(shop)

        assert numbers["kinesis_threads",] >= 3
        assert numbers["kinesis_crashes_total",] == 0
        assert numbers["kinesis_changes_lost_total",] == 0
        assert numbers["process_resident_memory_bytes",] > 0

    def test_the_library_is_imported_when_somebody_asks(self):
        """
        Programs that nobody measures do not wait for it.
        """
        code = (
            "import sys, kinesis.web.application; "
            "sys.exit('prometheus_client' in sys.modules)"
        )
        done = subprocess.run([sys.executable, "-c", code], timeout=60)

        assert done.returncode == 0
