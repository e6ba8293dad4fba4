"""Routes: which method answers where, with what, and when none does."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from enum import StrEnum
from types import MappingProxyType
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup
from werkzeug import Request, Response
from werkzeug.exceptions import TooManyRequests, abort
from werkzeug.routing import RequestRedirect
from werkzeug.test import Client, EnvironBuilder

from kinesis import (
    Backoff,
    Component,
    Container,
    Restart,
    Runtime,
    Stage,
    field,
    route,
)
from kinesis.errors import DuplicateNameError, MailboxFullError
from kinesis.web.application import Application
from kinesis.web.openapi_routes import media_type_of
from kinesis.web.requests import Request as LazyRequest
from kinesis.web.routes import split_rule
from tests.web.serving import eventually
from tests.web.shop import PATIENCE, Deposit, Stock, Wait, World, world

STOCK = "/app/shop/stock"


@pytest.fixture
def shop() -> Iterator[World]:
    """The shop, running."""
    with world() as made:
        yield made


class Colour(StrEnum):
    """Text, by inheritance."""

    RED = "red"


class Pair(NamedTuple):
    """A tuple, by inheritance."""

    number: int
    text: str


class Names(list[str]):
    """A list, by inheritance."""


class TestPaths:
    @pytest.mark.parametrize(
        ("path", "text"),
        [
            ("report", '{"count":0}'),
            ("shout", "!"),
            ("items/5", "GET item 5"),
            ("items/5/parts/a/B", "GET item 5 a/B"),
            ("plain", "without a request"),
        ],
    )
    def test_methods_answer_below_the_component(self, shop, path, text):
        """
        By their names in lower case, or by rules; values keep their case.
        """
        response = shop.ask(f"{STOCK}/{path}")

        assert (response.status_code, response.text) == (200, text)

    @pytest.mark.parametrize(
        "path",
        [
            "Shout",
            "helper",
            "_hidden",
            "deposit",
            "items/x",
            "items/-1",
            "items/5/",
            "r",
        ],
    )
    def test_nothing_else_does(self, shop, path):
        """
        Neither other methods, nor other cases, nor what the rule excludes.
        """
        assert shop.ask(f"{STOCK}/{path}").status_code == 404

    def test_each_rule_has_its_own_methods(self, shop):
        """
        405 with those that there are; HEAD goes with GET.
        """
        assert shop.ask(f"{STOCK}/items/5", "DELETE").text == "DELETE item 5"
        refused = shop.ask(f"{STOCK}/items/5/parts/a", "DELETE")

        assert refused.status_code == 405
        assert refused.headers["Allow"] == "GET, HEAD, OPTIONS"

        options = shop.ask(f"{STOCK}/report", "OPTIONS")

        assert options.status_code == 204
        assert options.headers["Allow"] == "GET, HEAD, OPTIONS, POST"

    def test_the_longest_prefix_wins(self, shop):
        """
        A container's pattern has what no component below it takes.
        """
        assert shop.ask(f"{STOCK}/where").text == "stock is in /app/shop"
        assert shop.ask("/app/shop/nobody/where").text == "nobody is in /app/shop"

        class Own(Component):
            def where(self, request: Request) -> str:
                return "here"

        shop.runtime["/app/shop"].add(Own(name="own"))

        assert shop.ask("/app/shop/own/where").text == "here"

    def test_head_runs_the_method_and_sends_no_body(self, shop):
        """
        With the length that a GET has.
        """
        head = shop.ask(f"{STOCK}/report", "HEAD")

        assert head.status_code == 200
        assert head.data == b""
        assert head.headers["Content-Length"] == "11"


class TestAnswers:
    @pytest.mark.parametrize(
        ("path", "status", "kind", "body"),
        [
            ("shout", 200, "text/plain", b"!"),
            ("raw", 200, "application/octet-stream", b"\x00\x01"),
            ("report", 200, "application/json", b'{"count":0}'),
            ("rule", 200, "application/json", b'{"above":5,"text":"x"}'),
            ("response", 201, "text/plain", b"made"),
            ("parts_of", 200, "text/plain", b"one two of stock"),
            ("nothing", 204, None, b""),
        ],
    )
    def test_what_a_method_returns_is_the_answer(self, shop, path, status, kind, body):
        """
        Text, bytes, JSON, a response, a stream, nothing.
        """
        response = shop.ask(f"{STOCK}/{path}")

        assert response.status_code == status
        assert response.mimetype == kind
        assert response.data == body

    @pytest.mark.parametrize(
        ("result", "kind", "body"),
        [
            (Colour.RED, "text/plain", b"red"),
            (Markup("<b>"), "text/plain", b"<b>"),
            (bytearray(b"\0a"), "application/octet-stream", b"\0a"),
            (memoryview(b"\0a"), "application/octet-stream", b"\0a"),
            ((1, "a"), "application/json", b'[1,"a"]'),
            (Pair(1, "a"), "application/json", b'[1,"a"]'),
            (Names(["a"]), "application/json", b'["a"]'),
        ],
    )
    def test_what_is_like_text_bytes_or_a_list_is_answered_so(
        self, shop, result, kind, body
    ):
        """
        Not streamed piece by piece, though it could be iterated over.
        """
        shop.app.add_route("/like", lambda request: result)
        response = shop.ask("/like")

        assert (response.status_code, response.mimetype) == (200, kind)
        assert response.headers["Content-Length"] == str(len(body))
        assert response.data == body
        assert media_type_of(type(result)).startswith(kind)

    def test_a_response_keeps_its_headers(self, shop):
        """
        And is given the trace's.
        """
        headers = shop.ask(f"{STOCK}/response").headers

        assert headers["X-Own"] == "yes"
        assert "traceparent" in headers

    @pytest.mark.parametrize("path", ["boom", "leave", "odd", "broken"])
    def test_a_method_that_raises_answers_500_with_an_id(self, shop, path, caplog):
        """
        The log has the reason by that id, and the client nothing of it.
        """
        with caplog.at_level(logging.ERROR, "kinesis"):
            response = shop.ask(f"{STOCK}/{path}")
        found = response.json

        assert response.status_code == 500
        assert response.mimetype == "application/problem+json"
        assert found["instance"] == f"{STOCK}/{path}"
        assert b"secret" not in response.data
        assert b"Traceback" not in response.data
        (record,) = [r for r in caplog.records if getattr(r, "error_id", None)]
        assert record.error_id == found["id"]
        assert record.path == STOCK
        assert record.exc_info is not None

    def test_exceptions_of_werkzeug_are_their_status(self, shop):
        """
        As a problem document.
        """
        response = shop.ask(f"{STOCK}/conflict")

        assert response.status_code == 409
        assert response.json["detail"] == "not like that"

    def test_a_stream_whose_client_leaves_is_closed(self, shop):
        """
        What the method has opened for it is given back.
        """
        closed = threading.Event()

        class Endless(Component):
            def numbers(self, request: Request) -> Iterator[str]:
                try:
                    while True:
                        yield "x"
                finally:
                    closed.set()

        shop.runtime.add(Endless(name="endless"))
        response = shop.client.open("/app/endless/numbers", buffered=False)
        next(response.iter_encoded())
        response.close()

        assert closed.is_set()

    def test_a_head_of_a_stream_closes_it(self, shop):
        """
        It is begun, for its status, and not sent.
        """
        assert shop.ask(f"{STOCK}/parts_of", "HEAD").status_code == 200


class TestTheTurn:
    def test_changes_are_seen_by_the_next_look(self, shop):
        """
        A route changes the state as a handler does.
        """
        before = shop.etag()
        shop.ask(f"{STOCK}/bump", "POST")

        assert shop.ask(STOCK).json["count"] == 1
        assert shop.etag() != before

    def test_changes_by_routes_are_announced(self, shop):
        """
        Once each, as those by messages.
        """
        with shop.runtime[STOCK].subscribe() as changes:
            shop.ask(f"{STOCK}/bump", "POST")
            change = changes.get(timeout=PATIENCE)

            assert change.current.count == 1

    def test_routes_and_handlers_take_turns(self, shop):
        """
        Many of both, at once: no change is lost.
        """
        times = 100

        def ask() -> None:
            for _ in range(times):
                assert shop.ask(f"{STOCK}/bump", "POST").status_code == 200

        def send() -> None:
            for _ in range(times):
                shop.runtime[STOCK].send(Deposit(1))

        threads = [threading.Thread(target=work) for work in (ask, send, ask, send)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)

        assert shop.stock.count == 4 * times

    def test_a_route_that_waits_for_its_own_component_is_refused(self, shop):
        """
        409: the handler would wait for the route, which waits for it.
        """
        response = shop.ask(f"{STOCK}/ask_itself")

        assert response.status_code == 409

    def test_a_route_beside_everything_may_wait_for_it(self, shop):
        """
        alone=False takes no turn.
        """
        assert shop.ask(f"{STOCK}/free").text == "1"

    def test_a_route_behind_a_long_handler_says_busy(self, shop, monkeypatch):
        """
        503 with Retry-After, in bounded time.
        """
        monkeypatch.setattr("kinesis.web.calls.TURN_TIMEOUT", 0.05)
        shop.runtime[STOCK].post(Wait())
        assert shop.stock._entered.acquire(timeout=PATIENCE)
        response = shop.ask(f"{STOCK}/report")

        assert response.status_code == 503
        assert response.headers["Retry-After"] == "1"

    def test_contexts_do_not_leak_from_request_to_request(self, shop):
        """
        Threads of the server are used again; what a route sets is its own.
        """
        from kinesis.life import CURRENT
        from kinesis.traces import TRACE

        shop.ask(f"{STOCK}/report")

        assert CURRENT.get() is None
        assert TRACE.get() is None


class Staged(Component):
    """Its stages wait for the test."""

    log_of_runs: int = field(default=0)

    def pre_start(self) -> None:
        if self.log_of_runs:
            gates["start"].wait(PATIENCE)
        self.log_of_runs += 1

    def stop(self) -> None:
        gates["stop"].wait(PATIENCE)

    def hello(self, request: Request) -> str:
        return "hello"

    @route(alone=False)
    def lost(self, request: Request) -> str:
        gates["inside"].set()
        gates["lost"].wait(PATIENCE)
        raise ValueError("what it used was taken away")


gates: dict[str, threading.Event] = {}


class TestStages:
    @pytest.fixture
    def staged(self) -> Iterator[World]:
        """A component whose hooks wait for the test."""
        gates.update(
            {name: threading.Event() for name in ("start", "stop", "lost", "inside")}
        )
        with Runtime("app", [Staged(name="staged")]) as runtime:
            app = Application(runtime.root._cell)
            yield World(runtime, app, Client(app))
            for gate in gates.values():
                gate.set()

    def test_one_that_stops_answers_503_and_then_404(self, staged):
        """
        With Retry-After; its resource still shows where it is.
        """
        ref = staged.runtime["staged"]
        staged.ask("/app/staged")  # the first look may have to wait for a hook
        stop = threading.Thread(target=ref.stop)
        stop.start()
        ref.wait_for(Stage.STOPPING, PATIENCE)
        response = staged.ask("/app/staged/hello")

        assert response.status_code == 503
        assert response.headers["Retry-After"] == "1"
        assert "stops (STOPPING)" in response.json["detail"]
        assert staged.ask("/app/staged").json["stage"] == "STOPPING"

        gates["stop"].set()
        stop.join(PATIENCE)

        assert staged.ask("/app/staged/hello").status_code == 404
        assert staged.ask("/app/staged").json["stage"] == "STOPPED"

    def test_one_that_restarts_answers_503_until_it_is_up(self, staged):
        """
        Then 200 again.
        """
        gates["stop"].set()
        ref = staged.runtime["staged"]
        again = threading.Thread(target=ref.restart)
        again.start()
        ref.wait_for(Stage.STARTING, PATIENCE)

        assert staged.ask("/app/staged/hello").status_code == 503

        gates["start"].set()
        again.join(PATIENCE)

        assert staged.ask("/app/staged/hello").text == "hello"

    def test_one_that_backs_off_says_for_how_long(self, staged):
        """
        Retry-After is when it is started again.
        """

        class Broken(Component):
            def start(self) -> None:
                self.ready()
                assert gates["inside"].wait(PATIENCE)
                raise ValueError("broken")

            def hello(self, request: Request) -> str:
                return "hello"

        policy = Restart(backoff=Backoff(first=20.0, jitter=0.0))
        ref = staged.runtime.add(Broken(name="broken", restart=policy))

        assert staged.ask("/app/broken/hello").text == "hello"

        gates["inside"].set()
        eventually(lambda: ref.report().next_attempt is not None, "a backoff")
        response = staged.ask("/app/broken/hello")

        assert response.status_code == 503
        assert 18 <= int(response.headers["Retry-After"]) <= 20

    def test_what_a_stop_takes_from_a_route_beside_it_is_no_failure(self, staged):
        """
        503 instead of a 500, once the component is not up any more.
        """
        found = []
        asking = threading.Thread(
            target=lambda: found.append(staged.ask("/app/staged/lost"))
        )
        asking.start()
        assert gates["inside"].wait(PATIENCE)
        gates["stop"].set()
        staged.runtime["staged"].stop()
        gates["lost"].set()
        asking.join(PATIENCE)

        assert found[0].status_code == 404

    def test_before_it_comes_up_it_answers_503(self):
        """
        The component is known, and says that it comes up.
        """
        container = Container(name="shop", components=[Stock(name="stock")])
        runtime = Runtime("app", [container])
        client = Client(Application(runtime.root._cell))

        assert client.get(f"{STOCK}/report").status_code == 503
        assert client.get(STOCK).json["stage"] == "SUBMITTED"
        assert client.get("/-/ready").status_code == 503

        runtime.stop()


class TestAddedRoutes:
    def test_they_come_and_go(self, shop):
        """
        While requests are served; the last of them takes its prefix with it.
        """
        shop.app.add_route("/hooks/<name>", lambda request, name: f"hook {name}")
        shop.app.add_route("/hooks/fixed", lambda request: "fixed")

        assert shop.ask("/hooks/x").text == "hook x"
        assert shop.ask("/hooks/fixed").text == "fixed"
        assert shop.ask("/hooks").status_code == 404

        shop.app.remove_route("/hooks/<name>")

        assert shop.ask("/hooks/x").status_code == 404
        assert shop.ask("/hooks/fixed").text == "fixed"

        shop.app.remove_route("/hooks/fixed")

        assert shop.ask("/hooks/fixed").status_code == 404
        with pytest.raises(KeyError):
            shop.app.remove_route("/hooks/fixed")

    def test_one_path_may_have_a_function_for_each_method(self, shop):
        """
        But not two for one.
        """
        shop.app.add_route("/x", lambda request: "get")
        shop.app.add_route("/x", lambda request: "post", methods=["post"])

        assert shop.ask("/x").text == "get"
        assert shop.ask("/x", "POST").text == "post"
        with pytest.raises(DuplicateNameError, match="for GET already"):
            shop.app.add_route("/x", lambda request: "again")

    def test_components_go_before_unless_the_prefix_is_longer(self, shop):
        """
        Longest prefix wins, whoever it belongs to.
        """
        shop.app.add_route("/app/shop/stock/report", lambda request: "mine")
        shop.app.add_route("/app/shop/stock/items/<int:id>", lambda r, id: f"mine {id}")
        shop.app.add_route("/app/shop/<name>/where", lambda request, name: "mine")

        assert shop.ask(f"{STOCK}/report").json == {"count": 0}
        assert shop.ask(f"{STOCK}/items/5").text == "mine 5"
        assert shop.ask(f"{STOCK}/where").text == "stock is in /app/shop"

    @pytest.mark.parametrize("rule", ["", "x", "/", "/-/live", "/-"])
    def test_what_is_no_rule_or_taken_is_refused(self, shop, rule):
        """
        The runtime's own pages stay its own.
        """
        with pytest.raises(ValueError):
            shop.app.add_route(rule, lambda request: "")
        with pytest.raises(ValueError):
            shop.app.add_route("/x", lambda request: "", methods=["FETCH"])

    def test_readers_never_miss_a_route_that_is_not_touched(self, shop):
        """
        While others are added and removed beside it.
        """
        shop.app.add_route("/fixed/<int:id>", lambda request, id: str(id))
        over = threading.Event()
        wrong: list[int] = []

        def read() -> None:
            while not over.is_set():
                status = shop.ask("/fixed/5").status_code
                if status != 200:
                    wrong.append(status)

        reader = threading.Thread(target=read)
        reader.start()
        for number in range(20):
            shop.app.add_route(f"/fixed/<int:id>/x{number}", lambda request, id: "")
            if number > 5:
                shop.app.remove_route(f"/fixed/<int:id>/x{number - 5}")
        over.set()
        reader.join(PATIENCE)

        assert wrong == []

    @given(st.lists(st.sampled_from(["a", "<x>", "<int:y>", "B"]), min_size=1))
    def test_a_rule_is_split_before_its_first_variable(self, parts):
        """
        The two parts are the rule, in lower case but for the variables.
        """
        rule = "/" + "/".join(parts)
        prefix, below = split_rule(rule)

        assert prefix + below == rule.replace("B", "b")
        assert "<" not in prefix
        assert below.startswith("/")


def test_a_route_may_answer_with_any_werkzeug_response(shop):
    """
    A stream, a redirect, a wrapped file: it answers as it would by itself.
    """

    class Others(Component):
        def stream(self, request: Request) -> Response:
            return Response(iter(["a", "b"]), mimetype="text/csv")

        def away(self, request: Request) -> Response:
            return Response("", 302, {"Location": "/app"})

    shop.runtime.add(Others(name="odd"))

    assert shop.ask("/app/odd/stream").text == "ab"
    assert shop.ask("/app/odd/away").headers["Location"].endswith("/app")


class Odd(Component):
    """Its routes return what few do."""

    value: float = field(default=1.5)

    def snapshot_of(self, request: Request) -> object:
        return self.ref.snapshot()

    def nested(self, request: Request) -> object:
        return {"state": self.ref.snapshot(), "list": [1]}

    def mapping(self, request: Request) -> object:
        return MappingProxyType({"a": 1})

    def odd_number(self, request: Request) -> object:
        return {"value": float("nan"), "none": None}

    def memory(self, request: Request) -> object:
        return iter([bytearray(b"a"), memoryview(b"b"), "c"])

    def wrong_part(self, request: Request) -> object:
        return iter([5])

    def no_json(self, request: Request) -> object:
        return {"a": object()}

    def aborts(self, request: Request) -> object:
        abort(Response("own", 418, {"X-Own": "1"}))

    def moved(self, request: Request) -> object:
        raise RequestRedirect("/app/shop")

    def limited(self, request: Request) -> object:
        raise TooManyRequests(retry_after=7)

    def empty(self, request: Request) -> object:
        return iter([])

    def behind(self, more: int = 5, *, request: Request) -> object:
        return f"{request.method} {more}"

    def special(self, request: Special) -> object:
        return request.own()

    @route("/special/<name>")
    def named(self, name: str, request: Special) -> object:
        return f"{name} {request.own()}"

    def busy(self, request: Request) -> object:
        raise MailboxFullError("full", path="/x", bound=1)


class Special(Request):
    """A request of somebody's own."""

    def own(self) -> str:
        return f"own {self.path}"


class TestOddAnswers:
    @pytest.fixture
    def odd(self, shop: World) -> World:
        """The shop, with something odd in it."""
        shop.runtime.add(Odd(name="odd"))
        return shop

    @pytest.mark.parametrize(
        ("path", "text"),
        [
            ("mapping", '{"a":1}'),
            ("odd_number", '{"value":"NaN","none":null}'),
            ("memory", "abc"),
            ("empty", ""),
            ("behind", "GET 5"),
            ("special", "own /app/odd/special"),
            ("special/x", "x own /app/odd/special/x"),
        ],
    )
    def test_these_are_answers_too(self, odd, path, text):
        """
        Mappings, numbers that JSON has not, parts of bytes, own requests.
        """
        response = odd.ask(f"/app/odd/{path}")

        assert (response.status_code, response.text) == (200, text)

    def test_snapshots_are_shown_as_resources_are(self, odd):
        """
        Also inside of something else.
        """
        assert odd.ask("/app/odd/snapshot_of").json["value"] == 1.5
        assert odd.ask("/app/odd/nested").json["state"]["name"] == "odd"

    @pytest.mark.parametrize("path", ["wrong_part", "no_json"])
    def test_what_cannot_be_sent_is_a_failure(self, odd, path):
        """
        500, before anything is sent.
        """
        assert odd.ask(f"/app/odd/{path}").status_code == 500

    def test_exceptions_with_a_response_are_that(self, odd):
        """
        As whoever raises them wants it.
        """
        aborted = odd.ask("/app/odd/aborts")

        assert (aborted.status_code, aborted.text) == (418, "own")
        assert aborted.headers["X-Own"] == "1"
        moved = odd.ask("/app/odd/moved")

        assert moved.status_code == 308
        assert moved.headers["Location"].endswith("/app/shop")

    def test_exceptions_keep_their_headers(self, odd):
        """
        In the problem document's answer.
        """
        response = odd.ask("/app/odd/limited")

        assert response.status_code == 429
        assert response.headers["Retry-After"] == "7"
        assert response.mimetype == "application/problem+json"

    def test_errors_that_say_not_now_say_so_to_the_client(self, odd):
        """
        503, not 500.
        """
        assert odd.ask("/app/odd/busy").status_code == 503

    def test_a_route_that_takes_long_is_reported_as_stalled(self, odd):
        """
        With its stack, as a handler is.
        """
        cell = odd.runtime[STOCK]._cell
        asking = threading.Thread(target=odd.ask, args=(f"{STOCK}/slow",))
        asking.start()
        assert odd.stock._entered.acquire(timeout=PATIENCE)
        cell.look_for_stall(cell.busy_since + 100.0)

        assert "in slow" in odd.runtime[STOCK].report().stalled
        assert "the route slow runs for 100.0 s" in odd.runtime[STOCK].why()[-1]

        odd.stock._gate.set()
        asking.join(PATIENCE)
        assert odd.runtime[STOCK].report().stalled is None


class TestTheLazyRequest:
    def test_it_is_what_werkzeugs_is(self):
        """
        Every public attribute has the same value, whichever is asked for first.
        """

        def environ():
            builder = EnvironBuilder(
                "/a/b?x=1&x=2",
                method="POST",
                data={"f": "v"},
                headers={"X-Own": "1", "Cookie": "c=d"},
            )
            return builder.get_environ()

        for name in dir(Request(environ())):
            if name.startswith("_") or name in {"json", "environ"}:
                continue
            mine, its = (
                getattr(make(environ()), name) for make in (LazyRequest, Request)
            )
            if not callable(its) and not hasattr(its, "read"):
                assert repr(mine) == repr(its), name
        assert isinstance(LazyRequest(environ()), Request)

    def test_an_attribute_that_is_not_there_is_not(self):
        """
        Before it is made, and after.
        """
        lazy = LazyRequest(EnvironBuilder("/").get_environ())

        for _ in range(2):
            assert not hasattr(lazy, "nothing")
            assert lazy.method == "GET"
        assert lazy.args == {}
