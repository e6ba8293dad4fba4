"""What the runtime says of itself."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from prometheus_client.parser import text_string_to_metric_families
from werkzeug import Request
from werkzeug.test import Client

from kinesis import Component, Container, Runtime, route
from kinesis.changes import Gap
from kinesis.web.application import Application
from kinesis.web.events import NAMES, data_of
from tests.web.shop import PATIENCE, Deposit, Stock, Wait, World, world
from tests.web.validating import validate

STOCK = "/app/shop/stock"


@pytest.fixture
def shop() -> Iterator[World]:
    """The shop, running."""
    with world() as made:
        yield made


class TestPages:
    def test_the_first_page_leads_to_all_others(self, shop):
        """
        Each link works, but the stream of events which never ends.
        """
        page = shop.ask("/").json

        assert page["name"] == "app"
        for name, link in page["links"].items():
            if name != "events":
                assert shop.ask(link).status_code == 200, name

    @pytest.mark.parametrize("path", ["/", "/-/live", "/-/tree", "/-/threads"])
    def test_they_are_only_looked_at(self, shop, path):
        """
        HEAD too; anything else is refused.
        """
        assert shop.ask(path, "HEAD").data == b""
        assert shop.ask(path, "OPTIONS").headers["Allow"] == "GET, HEAD, OPTIONS"
        refused = shop.ask(path, "POST")

        assert refused.status_code == 405
        assert refused.headers["Allow"] == "GET, HEAD, OPTIONS"

    def test_what_is_not_there_is_told(self, shop):
        """
        With a problem document.
        """
        response = shop.ask("/-/nothing")

        assert response.status_code == 404
        assert response.json["instance"] == "/-/nothing"

    def test_the_tree_shows_all_components(self, shop):
        """
        Each with those in it.
        """
        tree = shop.ask("/-/tree").json
        (child,) = tree["children"]
        (leaf,) = child["children"]

        assert (tree["path"], child["path"], leaf["path"]) == (
            "/app",
            "/app/shop",
            STOCK,
        )
        assert leaf["stage"] == "STARTED"
        assert leaf["run"] == 1
        assert "children" not in leaf

    def test_threads_are_shown_by_component(self, shop):
        """
        With the stack of where each is.
        """
        shop.runtime[STOCK].post(Wait())
        assert shop.stock._entered.acquire(timeout=PATIENCE)
        threads = shop.ask("/-/threads").json

        (thread,) = threads["components"][STOCK]
        assert any(" wait: " in line for line in thread["stack"])
        assert threads["others"]

    def test_routes_are_listed_while_they_answer(self, shop):
        """
        Of a component that has stopped, its resource alone.
        """
        shop.app.add_route("/hooks/<name>", lambda request, name: name)
        listed = {r["path"]: r for r in shop.ask("/-/routes").json["routes"]}

        assert listed[f"{STOCK}/items/<int:id>"]["methods"] == ["DELETE", "GET"]
        assert listed[f"{STOCK}/report"]["component"] == STOCK
        assert listed[f"{STOCK}/-/messages/Deposit"]["methods"] == ["POST"]
        assert listed["/hooks/<name>"]["component"] is None
        assert "DELETE" not in listed["/app"]["methods"]

        shop.runtime[STOCK].stop()
        listed = {r["path"]: r for r in shop.ask("/-/routes").json["routes"]}

        assert STOCK in listed
        assert f"{STOCK}/report" not in listed


class TestReadiness:
    def test_it_is_ready_when_all_are_up(self, shop):
        """
        200; and live as long as it answers.
        """
        assert shop.ask("/-/ready").json == {"ready": True}
        assert shop.ask("/-/live").json == {"live": True}

    def test_those_that_are_not_are_named(self, shop):
        """
        503 with Retry-After; it is live all the same.
        """
        shop.runtime[STOCK].stop()
        response = shop.ask("/-/ready")

        assert response.status_code == 503
        assert response.headers["Retry-After"] == "1"
        assert response.json["ready"] is False
        assert response.json["components"] == [
            {"path": STOCK, "stage": "STOPPED", "status": "STOPPED"}
        ]
        assert shop.ask("/-/live").status_code == 200

        shop.runtime[STOCK].start()

        assert shop.ask("/-/ready").status_code == 200

    def test_what_has_done_its_work_is_in_nobodys_way(self, shop):
        """
        A component that has finished by itself counts as ready.
        """

        class Job(Component):
            def start(self) -> None:
                return

        shop.runtime.add(Job(name="job"))
        shop.runtime["job"].wait_stopped(PATIENCE)

        assert shop.ask("/-/ready").status_code == 200

    def test_it_is_not_ready_once_a_stop_was_asked_for(self):
        """
        Before any component stops.
        """
        with world() as shop:
            shop.runtime._services.doors.stopping = True
            response = shop.ask("/-/ready")

            assert response.status_code == 503
            assert "stops" in response.json["detail"]


class TestMetrics:
    def numbers(self, shop: World) -> dict[tuple[str, ...], float]:
        """Return every sample by its name and labels; parsed by their own parser."""
        response = shop.ask("/-/metrics")
        assert response.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        return {
            (sample.name, *(v for _, v in sorted(sample.labels.items()))): sample.value
            for family in text_string_to_metric_families(response.text)
            for sample in family.samples
        }

    def test_stages_restarts_and_messages_are_counted(self, shop):
        """
        By component.
        """
        shop.runtime[STOCK].send(Deposit(1))
        shop.runtime[STOCK].restart()
        numbers = self.numbers(shop)

        assert numbers["kinesis_components", "STARTED"] == 3
        assert numbers["kinesis_component_up", STOCK] == 1
        assert numbers["kinesis_component_restarts_total", STOCK] >= 0
        assert numbers["kinesis_messages_total", "handled", STOCK] == 1
        assert numbers["kinesis_mailbox_depth", STOCK] == 0
        assert numbers["kinesis_message_latency_seconds_count", STOCK] == 1
        assert numbers["kinesis_message_latency_seconds_bucket", "+Inf", STOCK] == 1
        assert numbers["kinesis_crashes_total",] == 0

    def test_requests_are_counted_by_method_and_status(self, shop):
        """
        And how long they took.
        """
        for _ in range(300):
            shop.ask(STOCK)
        shop.ask("/nowhere")
        shop.ask(STOCK, "BREW")
        numbers = self.numbers(shop)

        assert numbers["kinesis_http_requests_total", "GET", "Stock", "200"] == 300
        assert numbers["kinesis_http_requests_total", "GET", "", "404"] == 1
        assert numbers["kinesis_http_requests_total", "other", "Stock", "405"] == 1
        assert numbers["kinesis_http_request_seconds_count", "GET", "Stock"] == 300
        assert numbers["kinesis_http_busy",] == 0

    def test_no_request_is_counted_twice_or_lost(self, shop):
        """
        By however many threads.
        """
        tally = shop.app.tally

        def count() -> None:
            for _ in range(2_000):
                tally.add("Stock", "GET", 200, 0.001)

        threads = [threading.Thread(target=count) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        read = tally.read()

        assert read.number["Stock", "GET", 200] == 8_000
        assert sum(read.durations["Stock", "GET"].buckets) == 8_000


class TestOpenAPI:
    def document(self, shop: World) -> dict:
        """Return the document, validated."""
        found = shop.ask("/-/openapi.json").json
        validate(found)
        return found

    def test_it_is_a_document_of_what_is_mounted(self, shop):
        """
        Valid, and with each path as it is asked for.
        """
        document = self.document(shop)
        paths = document["paths"]

        assert document["openapi"].startswith("3.1")
        for path in (
            "/app",
            STOCK,
            f"{STOCK}/-/messages/Deposit",
            f"{STOCK}/-/restart",
            f"{STOCK}/report",
            f"{STOCK}/items/{{id}}",
            "/-/ready",
        ):
            assert path in paths, path

    def test_it_follows_what_comes_and_goes(self, shop):
        """
        Routes of a stopped component are not in it, nor a removed one at all.
        """
        shop.app.add_route("/hooks/<name>", lambda request, name: name)
        assert "/hooks/{name}" in self.document(shop)["paths"]

        shop.runtime[STOCK].stop()
        paths = self.document(shop)["paths"]
        assert f"{STOCK}/report" not in paths
        assert STOCK in paths

        shop.runtime["/app/shop"].remove("stock")
        assert not [path for path in self.document(shop)["paths"] if STOCK in path]

    def test_any_rule_has_a_place(self, shop):
        """
        All converters, several variables, several methods.
        """

        class Odd(Component):
            @route("/a/<uuid:a>/<float:b>/<path:c>", methods=["GET", "PUT"])
            def one(self, request: Request, a: str, b: float, c: str) -> str:
                return ""

            @route("/a/<any(x,y):a>", methods=["POST"], public=True)
            def two(self, request: Request, a: str) -> str:
                return ""

        shop.runtime.add(Odd(name="odd"))
        paths = self.document(shop)["paths"]

        assert "/app/odd/a/{a}/{b}/{c}" in paths
        assert "/app/odd/a/{a}" in paths


class TestEvents:
    def test_without_our_server_the_stream_begins(self, shop):
        """
        Its headers, and that it is one.
        """
        response = shop.ask("/-/events")

        assert response.status_code == 200
        assert response.mimetype == "text/event-stream"
        assert response.headers["Cache-Control"] == "no-store"

    def test_a_head_takes_no_place(self, shop):
        """
        Nobody would give it back.
        """
        assert shop.ask("/-/events", "HEAD").status_code == 200
        assert shop.app.events.hub.readers == 0

    def test_changes_that_nobody_could_tell_are_counted(self):
        """
        As an event of its own, with the path they were at or below.
        """
        assert data_of(Gap("/app/Shop", 7)) == '{"path":"/app/shop","missing":7}'
        assert NAMES[Gap] == "gap"

    def test_what_is_not_there_cannot_be_listened_to(self, shop):
        """
        404, for a path below a component too.
        """
        for path in ("/nowhere", f"{STOCK}/report", "x"):
            response = shop.ask(f"/-/events?path={path}")

            assert response.status_code == 404


def test_a_part_of_the_tree_is_served_alone():
    """
    An application over a container knows nothing outside of it.
    """
    with Runtime("app", [Stock(name="outside")]) as runtime:
        inner = runtime.add(Container(name="inner", components=[Stock(name="in")]))
        client = Client(Application(inner._cell))

        assert client.get("/inner/in").status_code == 200
        assert client.get("/app/outside").status_code == 404
