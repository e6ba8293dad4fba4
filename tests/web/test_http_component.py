"""The server as a component: real sockets, real clients, real stops."""

from __future__ import annotations

import contextlib
import http.client
import json
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest
from werkzeug import Request

from kinesis import Component, Container, Runtime, Stage, field, handles
from kinesis.errors import (
    ActivationError,
    InvalidStateError,
    ListenError,
    StageError,
    TokenMissingError,
)
from kinesis.web.answers import Problem
from kinesis.web.component import HTTP, component_for
from tests.web.serving import eventually
from tests.web.shop import PATIENCE, Deposit, Stock, Wait

STOCK = "/app/stock"

ALLOWED = {200, 404, 503}


@attrs.define
class Browser:
    """One kept connection to a server; opens another when it must."""

    runtime: Runtime
    connection: http.client.HTTPConnection | None = None

    def ask(self, path: str, method: str = "GET", **more):
        """Return status, headers and body."""
        for _ in range(2):  # a kept connection may have been closed meanwhile
            fresh = self.connection is None
            try:
                return self._ask(path, method, **more)
            except (http.client.HTTPException, ConnectionError):
                self.close()
                if fresh or method != "GET":
                    raise
        raise AssertionError("two connections were closed in a row")

    def _ask(self, path: str, method: str, **more):
        if self.connection is None:
            host, port = self.runtime.http.address.removeprefix("http://").split(":")
            port = int(port)
            self.connection = http.client.HTTPConnection(host, port, timeout=PATIENCE)
        self.connection.request(method, path, **more)
        response = self.connection.getresponse()
        body = response.read()
        if response.will_close:
            self.close()
        return response.status, response.headers, body

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; the next request opens another."""
        if self.connection is not None:
            self.connection.close()
            self.connection = None


def ask(runtime: Runtime, path: str, method: str = "GET", **more):
    """Ask on a connection of its own."""
    with Browser(runtime) as browser:
        return browser.ask(path, method, **more)


@pytest.fixture
def app() -> Iterator[Runtime]:
    """A program with one component, served on any port."""
    with Runtime("app", [Stock(name="stock")], http=0) as runtime:
        yield runtime
        stock = runtime["stock"]._cell.component if "stock" in runtime else None
        if stock is not None:
            stock._gate.set()


@pytest.fixture
def browser(app: Runtime) -> Iterator[Browser]:
    """A client of it."""
    made = Browser(app)
    yield made
    made.close()


def test_the_server_as_a_whole_has_all_methods(browser):
    """
    ``OPTIONS *`` is about no path.
    """
    status, headers, body = browser.ask("*", "OPTIONS")

    assert (status, body) == (204, b"")
    assert headers["Allow"] == "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT"


class TestTheComponent:
    def test_it_is_the_first_up_and_tells_its_port(self, app, browser):
        """
        By itself, by what it shows, and in the order.
        """
        assert [child.name for child in app] == ["http", "stock"]
        shown = json.loads(browser.ask("/app/http")[2])

        assert shown["address"] == app.http.address
        assert app.http.address.startswith("http://127.0.0.1:")

    def test_it_stays_where_it_is_over_many_requests(self, app, browser):
        """
        Kept connections, also after answers without a body.
        """
        status, headers, _ = browser.ask(STOCK)
        assert status == 200
        first = browser.connection

        for _ in range(3):
            etag = {"If-None-Match": headers["ETag"]}
            assert browser.ask(STOCK, headers=etag)[0] == 304
            assert browser.ask(f"{STOCK}/nothing")[0] == 204
            assert browser.ask(STOCK, "OPTIONS")[0] == 204
            assert browser.ask(STOCK, "HEAD")[0] == 200
        assert browser.connection is first

    @pytest.mark.parametrize(
        ("request_head", "kept"),
        [
            (f"GET {STOCK}/shout HTTP/1.1\r\nHost: localhost\r\n", True),
            (f"GET {STOCK}/response HTTP/1.1\r\nHost: localhost\r\n", True),
            (
                f"GET {STOCK}/shout HTTP/1.1\r\nHost: localhost\r\n"
                "Connection: close\r\n",
                False,
            ),
            (f"GET {STOCK}/shout HTTP/1.0\r\n", False),
        ],
    )
    def test_answers_are_whole_whichever_way_they_go(self, app, request_head, kept):
        """
        Those of the usual kind are sent at once, past what others need.
        """
        host, port = app.http.address.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=PATIENCE) as client:
            client.sendall(f"{request_head}\r\n".encode())
            answer = client.recv(65_536)
            head, _, body = answer.partition(b"\r\n\r\n")
            names = [line.partition(b":")[0].lower() for line in head.split(b"\r\n")]

            assert f"Content-Length: {len(body)}".encode() in head
            assert body in {b"!", b"made"}
            for name in (b"content-type", b"date", b"traceparent", b"content-length"):
                assert names.count(name) == 1
            client.settimeout(PATIENCE if not kept else 0.2)
            if kept:
                with pytest.raises(TimeoutError):
                    client.recv(1)
            else:
                assert client.recv(1) == b""

    def test_a_header_that_would_begin_another_is_never_sent(self, app, browser):
        """
        Nor one that headers cannot have: 500, and nothing of it.
        """
        values = ["a\r\nX-Evil: 1", "a\nX-Evil: 1", "a\rb", "\N{SNOWMAN}"]
        for number, value in enumerate(values):

            def answer(request, value=value):
                raise Problem(418, "no", [("X-Own", value)])

            app.http.app.add_route(f"/evil/{number}", answer)
            status, headers, _ = browser.ask(f"/evil/{number}")

            assert status == 500, value
            assert "X-Evil" not in headers

    def test_where_it_listens_is_nobodys_to_set(self, app, browser):
        """
        Nothing of it is, neither over HTTP nor by its ref: that would lie, or go
        around the token that other addresses need. Each fault is named.
        """
        _, headers, body = browser.ask("/app/http")
        shown = json.loads(body)
        headers = {"If-Match": headers["ETag"], "Content-Type": "application/json"}
        wanted = {"address": "http://10.0.0.1:80", "host": "0.0.0.0", "token": "x"}
        for method in ("PATCH", "PUT"):
            status, _, body = browser.ask(
                "/app/http", method, body=json.dumps(wanted), headers=headers
            )
            faults = json.loads(body)["faults"]

            assert status == 422
            assert [fault.partition(":")[0] for fault in faults] == [*wanted]
            assert faults[0].endswith("is no state: nobody sets it")

        with pytest.raises(InvalidStateError, match="address"):
            app["http"].update({"address": "http://10.0.0.1:80"})
        for method in ("PATCH", "PUT"):  # as shown, it is no change
            status, _, body = browser.ask(
                "/app/http", method, body=json.dumps(shown), headers=headers
            )

            assert status == 200
        assert json.loads(browser.ask("/app/http")[2])["address"] == shown["address"]

    def test_it_shows_no_address_while_it_listens_nowhere(self, app, browser):
        """
        Another server of the same program, stopped; its tag tells the difference.
        """
        other = app.add(HTTP(name="other", port=0))
        _, headers, body = browser.ask("/app/other")

        assert json.loads(body)["address"].startswith("http://127.0.0.1:")

        other.stop()
        other.wait_stopped(PATIENCE)
        status, later, body = browser.ask(
            "/app/other", headers={"If-None-Match": headers["ETag"]}
        )

        assert status == 200
        assert later["ETag"] != headers["ETag"]
        assert json.loads(body)["address"] == ""

    def test_another_host_at_a_restart_needs_a_token_too(self, app, browser):
        """
        The settings are the program's own, but the rule is the same for them.
        """
        assert browser.ask(STOCK)[0] == 200

        app.http.host = "0.0.0.0"
        with pytest.raises(TokenMissingError):
            app.http.init()  # as the next run begins

        app.http.token = "correct-horse"
        app.http.init()

        assert not app.http.app.guard.loopback
        assert browser.ask(f"{STOCK}/-/stop", "POST")[0] == 401

    def test_it_may_be_stopped_and_started_like_any_other(self, app, browser):
        """
        But not through itself. Afterwards it serves again, at a port of its own.
        """
        assert browser.ask("/app/http/-/stop", "POST")[0] == 409
        assert browser.ask("/app/http", "DELETE")[0] == 409

        app["http"].restart()
        browser.close()

        assert browser.ask(STOCK)[0] == 200

        app["http"].stop()
        browser.close()

        with pytest.raises(OSError):
            browser.ask(STOCK)

    def test_a_port_that_is_taken_stops_the_start(self):
        """
        By name, with what to do; the others never come up.
        """
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            runtime = Runtime("app", [Stock(name="stock")], http=port)
            with pytest.raises(ActivationError) as caught:
                runtime.start()

            assert isinstance(caught.value.__cause__, ListenError)
            assert runtime["stock"].stage is not Stage.STARTED

    def test_it_is_added_by_hand_as_well(self):
        """
        Anywhere in the tree; it serves the whole.
        """
        with Runtime("app", [Stock(name="stock")]) as runtime:
            with pytest.raises(StageError, match="serves no HTTP"):
                runtime.http  # noqa: B018
            web = HTTP(name="web", port=0)
            assert web.address == ""
            runtime.add(Container(name="edge", components=[web]))
            address = web.address
            connection = http.client.HTTPConnection(address.removeprefix("http://"))
            connection.request("GET", "/app/edge/web")
            shown = json.loads(connection.getresponse().read())
            connection.close()

            assert shown["path"] == "/app/edge/web"

    def test_it_keeps_no_program_alive(self):
        """
        When all others have finished, the program has.
        """

        class Job(Component):
            def start(self) -> None:
                return

        runtime = Runtime("app", [Job(name="job")], http=0)
        done = threading.Thread(target=runtime.run)
        done.start()
        done.join(PATIENCE)

        assert not done.is_alive()
        assert runtime.exit_code == 0

    def test_it_serves_https(self):
        """
        With the certificate that it is given.
        """
        pem = str(Path(__file__).with_name("localhost.pem"))
        http_settings = {"port": 0, "cert": pem, "host": "localhost"}
        with Runtime("app", [Stock(name="stock")], http=http_settings) as runtime:
            assert runtime.http.address.startswith("https://localhost:")
            port = int(runtime.http.address.rpartition(":")[2])
            connection = http.client.HTTPSConnection(
                "localhost",
                port,
                timeout=PATIENCE,
                context=ssl.create_default_context(cafile=pem),
            )
            with contextlib.closing(connection):
                connection.request("GET", STOCK)

                assert connection.getresponse().status == 200

    def test_a_body_in_chunks_is_a_body(self, app, browser):
        """
        Whoever sends it does not know its length.
        """
        parts = iter([b'{"amo', b'unt": 5}'])
        status, _, body = browser.ask(
            f"{STOCK}/-/messages/Deposit",
            "POST",
            body=parts,
            headers={"Content-Type": "application/json"},
            encode_chunked=True,
        )

        assert (status, body) == (200, b"5")

    @pytest.mark.parametrize(
        ("wanted", "port"), [(True, 8080), (0, 0), (8081, 8081), ({"port": 5}, 5)]
    )
    def test_what_a_runtime_is_told_makes_one(self, wanted, port):
        """
        True, a port, or settings by name.
        """
        made = component_for(wanted, set())

        assert (made.name, made.port, made.host) == ("http", port, "127.0.0.1")

    def test_its_name_makes_way(self):
        """
        For a component that has it.
        """
        assert component_for(True, {"http"}).name == "http-server"
        own = HTTP(name="mine")
        assert component_for(own, set()) is own
        with pytest.raises(TypeError, match="says nothing"):
            component_for("8080", set())
        with pytest.raises(StageError, match="not in a runtime"):
            own.app  # noqa: B018

    def test_none_is_made_where_nobody_asks(self):
        """
        An embedded runtime listens on nothing by itself.
        """
        for wanted in (None, False):
            runtime = Runtime("app", http=wanted)

            assert len(runtime) == 0
            runtime.stop()

    def test_a_hung_component_leaves_the_pages_of_the_runtime(self, app, browser):
        """
        Its own requests wait for it, the others do not.
        """
        app["stock"].post(Wait())
        waiting = [
            threading.Thread(target=ask, args=(app, f"{STOCK}/report"))
            for _ in range(12)  # more than there are threads
        ]
        for thread in waiting:
            thread.start()
        eventually(lambda: app.http.app.load().busy == 8, "all threads wait")
        began = time.monotonic()

        assert browser.ask("/-/live")[0] == 200
        assert browser.ask("/-/threads")[0] == 200
        assert time.monotonic() - began < 2.0

        app["stock"]._cell.component._gate.set()
        for thread in waiting:
            thread.join(PATIENCE)


class Blinker(Component):
    """What comes and goes; it answers with which one it is."""

    number: int = field(default=0)
    alive: bool = field(default=False)

    def init(self) -> None:
        self.alive = True

    def tear_down(self) -> None:
        self.alive = False

    def hello(self, request: Request) -> str:
        if not self.alive:
            raise RuntimeError("a reply of one that is gone")
        return str(self.number)

    @handles(Deposit)
    def deposit(self, message: Deposit) -> int:
        if not self.alive:
            raise RuntimeError("a reply of one that is gone")
        return self.number


def under_load(runtime: Runtime, asks, change, times: int) -> Counter[int]:
    """
    Call *change* so many times while clients ask; return the statuses they got.

    Every client asks until the last change is over.
    """
    over = threading.Event()
    statuses: Counter[int] = Counter()
    wrong: list[object] = []

    def client(ask) -> None:
        browser = Browser(runtime)
        try:
            while not over.is_set():
                status, headers, body = ask(browser)
                statuses[status] += 1
                if status not in ALLOWED:
                    wrong.append((status, body))
                if status == 503 and "Retry-After" not in headers:
                    wrong.append("a 503 without Retry-After")
        except Exception as error:
            wrong.append(error)
        finally:
            browser.close()

    clients = [threading.Thread(target=client, args=(ask,)) for ask in asks]
    for thread in clients:
        thread.start()
    try:
        for number in range(times):
            change(number)
    finally:
        over.set()
        for thread in clients:
            thread.join(PATIENCE)

    assert not [thread for thread in clients if thread.is_alive()]
    assert wrong == []
    return statuses


ASKS = [
    lambda b: b.ask("/app/blinker/hello"),
    lambda b: b.ask("/app/blinker"),
    lambda b: b.ask(
        "/app/blinker/-/messages/Deposit",
        "POST",
        body='{"amount": 1}',
        headers={"Content-Type": "application/json"},
    ),
]


class TestComingAndGoing:
    def add_and_remove(self, app: Runtime, times: int) -> Counter[int]:
        """Add and remove a component under load."""
        current = [-1]

        def change(number: int) -> None:
            current[0] = number
            app.add(Blinker(name="blinker", number=number))
            if number % 2:
                time.sleep(0.001)  # a chance for the clients, not an order of events
            app.remove("blinker")

        def hello(browser: Browser):
            before = current[0]
            status, headers, body = browser.ask("/app/blinker/hello")
            if status == 200:
                assert before <= int(body) <= current[0], "a reply of one that is gone"
            return status, headers, body

        return under_load(app, [hello, *ASKS[1:]], change, times)

    def test_components_that_come_and_go_answer_right_or_not_at_all(self, app):
        """
        200 from a live one, 404 or 503: never a failure, nor a reply of one gone.
        """
        statuses = self.add_and_remove(app, 60)

        assert statuses[200] > 0
        assert statuses[404] + statuses[503] > 0

    @pytest.mark.stress
    def test_a_thousand_times(self, app):
        """
        In bounded time, under a tiny switch interval.
        """
        began = time.monotonic()
        self.add_and_remove(app, 1_000)

        assert time.monotonic() - began < 300

    def test_stopped_and_started_ones_too(self, app):
        """
        They stay in their container: 404 while they are stopped.
        """
        ref = app.add(Blinker(name="blinker", number=7))

        def change(number: int) -> None:
            ref.stop()
            ref.start()

        asks = [ASKS[0]]
        statuses = under_load(app, asks, change, 60)

        assert sum(statuses.values()) > 0
        assert ask(app, "/app/blinker/hello")[2] == b"7"

    @pytest.mark.stress
    def test_a_thousand_stops_and_starts(self, app):
        """
        The same, a thousand times.
        """
        ref = app.add(Blinker(name="blinker", number=7))

        def change(number: int) -> None:
            ref.stop()
            ref.start()

        under_load(app, [ASKS[0], ASKS[0]], change, 1_000)

    def test_others_are_served_all_the_while(self, app):
        """
        No false 404, no 503, no failure for what is not touched.
        """

        def change(number: int) -> None:
            app.add(Blinker(name="blinker"))
            app.remove("blinker")

        ask = [lambda b: b.ask(f"{STOCK}/report"), lambda b: b.ask(f"{STOCK}/items/5")]
        statuses = under_load(app, ask, change, 60)

        assert set(statuses) == {200}


class TestStopping:
    def test_what_is_in_flight_is_answered_and_new_work_refused(self):
        """
        Readiness fails first; then 503; the parts stop last.
        """
        stock = Stock(name="stock")
        runtime = Runtime("app", [stock], http={"port": 0, "stop_delay": 0.3})
        runtime.start()
        answers: dict[str, tuple] = {}

        def slow() -> None:
            answers["slow"] = ask(runtime, f"{STOCK}/slow")

        asking = threading.Thread(target=slow)
        asking.start()
        assert stock._entered.acquire(timeout=PATIENCE)
        stopping = threading.Thread(target=runtime.stop)
        stopping.start()
        browser = Browser(runtime)
        eventually(lambda: browser.ask("/-/ready")[0] == 503, "readiness fails")

        assert browser.ask("/app")[0] == 200  # during the delay work is taken
        eventually(lambda: browser.ask("/app")[0] == 503, "work is refused")
        status, headers, body = browser.ask(f"{STOCK}/report")

        assert (status, headers["Retry-After"]) == (503, "5")
        assert headers["Content-Type"] == "application/problem+json"
        assert browser.ask("/-/live")[0] == 200
        assert runtime["stock"].stage is Stage.STARTED

        stock._gate.set()
        asking.join(PATIENCE)
        stopping.join(PATIENCE)

        assert answers["slow"][0] == 200
        assert answers["slow"][2] == b"slow"
        assert not stopping.is_alive()

    def test_a_client_that_obeys_readiness_loses_nothing(self):
        """
        Under constant load until the end: every request it sent was answered 200.
        """
        runtime = Runtime(
            "app", [Stock(name="stock")], http={"port": 0, "stop_delay": 0.3}
        )
        runtime.start()
        ready = threading.Event()
        ready.set()
        over = threading.Event()
        statuses: Counter[int] = Counter()
        errors: list[BaseException] = []

        def watch() -> None:
            browser = Browser(runtime)
            while browser.ask("/-/ready")[0] == 200:
                time.sleep(0.01)  # as load balancers do
            ready.clear()
            browser.close()

        def work() -> None:
            browser = Browser(runtime)
            try:
                while ready.is_set() and not over.is_set():
                    statuses[browser.ask(f"{STOCK}/bump", "POST")[0]] += 1
            except BaseException as error:
                errors.append(error)
            browser.close()

        threads = [threading.Thread(target=each) for each in (watch, *[work] * 4)]
        for thread in threads:
            thread.start()
        eventually(lambda: statuses[200] > 20, "load")
        count = runtime["stock"]._cell
        runtime.stop()
        over.set()
        for thread in threads:
            thread.join(PATIENCE)

        assert errors == []
        assert set(statuses) == {200}
        assert count.component.count == statuses[200]

    def test_without_a_delay_it_takes_no_time(self):
        """
        Nothing in flight, nothing to wait for.
        """
        runtime = Runtime("app", [Stock(name="stock")], http=0)
        runtime.start()
        ask(runtime, STOCK)
        report = runtime.stop()

        assert report.seconds < 2.0

    def test_work_that_never_ends_is_not_waited_for(self, monkeypatch):
        """
        For longer than the bound.
        """
        monkeypatch.setattr("kinesis.doors.LINGER", 0.2)
        stock = Stock(name="stock", stop_deadline=0.2)
        runtime = Runtime("app", [stock], http=0)
        runtime.start()
        runtime["stock"]
        asking = threading.Thread(target=ask, args=(runtime, f"{STOCK}/slow"))
        asking.start()
        assert stock._entered.acquire(timeout=PATIENCE)
        opener = threading.Timer(1.0, stock._gate.set)
        opener.start()
        runtime.stop()
        opener.join()
        asking.join(PATIENCE)

        assert runtime["stock"].stage is Stage.TORN_DOWN

    def test_sigterm_to_the_command_is_seen_coming(self, tmp_path):
        """
        A program of a file: ready, not ready, 503, gone; exit code 0.
        """
        (tmp_path / "parts.py").write_text(
            "from kinesis import Component, field\n"
            "class Part(Component):\n"
            "    count: int = field(default=0)\n"
            "    def start(self) -> None:\n"
            "        self.stopping.wait()\n"
        )
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        file = tmp_path / "app.yaml"
        file.write_text(
            f"name: app\nhttp: {{port: {port}, stop_delay: 0.5}}\n"
            "components: [{name: part, type: 'parts:Part'}]\n"
        )
        process = subprocess.Popen(
            [sys.executable, "-m", "kinesis", "run", str(file)],
            cwd=Path(__file__).parents[2],
            stderr=subprocess.PIPE,
        )

        def status(path: str) -> int:
            with contextlib.closing(
                http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
            ) as connection:
                try:
                    connection.request("GET", path)
                    return connection.getresponse().status
                except OSError:
                    return 0

        try:
            eventually(lambda: status("/-/ready") == 200, "ready")
            process.send_signal(signal.SIGTERM)
            eventually(lambda: status("/-/ready") == 503, "not ready any more")
            assert status("/app/part") == 200
            eventually(lambda: status("/app/part") != 200, "refused")
            assert process.wait(PATIENCE) == 0
        finally:
            process.kill()
            process.communicate()


class Reader:
    """Reads a stream of server-sent events."""

    def __init__(self, runtime: Runtime, query: str = "", **headers: str) -> None:
        address = runtime.http.address.removeprefix("http://")
        self.connection = http.client.HTTPConnection(address, timeout=PATIENCE)
        path = f"/-/events{query}"
        self.connection.request(
            "GET", path, headers={k.replace("_", "-"): v for k, v in headers.items()}
        )
        self.response = self.connection.getresponse()
        self.line()  # the comment that brings the headers
        self.until("retry: 2000")

    def line(self) -> str:
        """Return the next line."""
        return self.response.readline().decode().rstrip("\n")

    def until(self, wanted: str) -> None:
        """Read up to that line."""
        while (line := self.line()) != wanted:
            assert self.response.fp is not None, f"the stream ended before {wanted!r}"
            assert "\x00" not in line

    def event(self) -> dict[str, object]:
        """Return the next event: its fields, ``data`` decoded."""
        found: dict[str, object] = {}
        while True:
            line = self.line()
            if not line and "data" in found:
                return found
            name, _, value = line.partition(": ")
            if name in {"id", "event"}:
                found[name] = value
            elif name == "data":
                found["data"] = json.loads(value)

    def close(self) -> None:
        """Leave."""
        self.response.close()
        self.connection.close()


class TestEvents:
    def test_changes_below_a_path_are_told_as_they_come(self, app):
        """
        Of state with the new one, secrets masked; of stages with both.
        """
        reader = Reader(app, "?path=/app/stock")
        app["stock"].send(Deposit(5))
        event = reader.event()
        data = event["data"]

        assert event["event"] == "component"
        assert data["path"] == STOCK
        assert data["current"]["count"] == 5
        assert data["current"]["pin"] == "***"
        assert data["previous"]["etag"] != data["current"]["etag"]

        app["stock"].stop()
        event = reader.event()

        assert event["event"] == "stage"
        assert event["data"]["previous"] == "STARTED"
        assert event["data"]["current"] == "STOPPING"
        reader.close()

    def test_those_of_others_are_not(self, app):
        """
        Only at the path and below it.
        """
        app.add(Stock(name="stock2"))
        reader = Reader(app, "?path=/app/stock")
        app["stock2"].send(Deposit(1))
        app["stock"].send(Deposit(5))

        assert reader.event()["data"]["path"] == STOCK
        reader.close()

    def test_who_comes_back_gets_what_was_missed(self, app):
        """
        By the id of the last event; then what is new.
        """
        reader = Reader(app)
        app["stock"].send(Deposit(1))
        last = reader.event()["id"]
        reader.close()
        for _ in range(3):
            app["stock"].send(Deposit(1))
        reader = Reader(app, "", Last_Event_ID=last)

        counts = [reader.event()["data"]["current"]["count"] for _ in range(3)]
        assert counts == [2, 3, 4]

        app["stock"].send(Deposit(1))
        assert reader.event()["data"]["current"]["count"] == 5
        reader.close()

    def test_who_comes_back_too_late_is_told_so(self, app, monkeypatch):
        """
        An event ``gap`` stands for what nobody knows any more.
        """
        reader = Reader(app)
        app["stock"].send(Deposit(1))
        last = reader.event()["id"]
        reader.close()
        events = app.http.app.events
        eventually(lambda: events.hub.readers == 0, "the reader has left")
        events._look()
        events._look()  # nobody has read for long: it listens no more
        assert events._callback is None
        reader = Reader(app, "", Last_Event_ID=last)

        assert reader.event()["event"] == "gap"

        app["stock"].send(Deposit(1))
        assert reader.event()["event"] == "component"
        reader.close()

    def test_a_slow_reader_costs_nobody_anything(self, app, browser):
        """
        Neither the components, nor other readers, nor requests.
        """
        slow = Reader(app)  # it reads nothing from now on
        quick = Reader(app)
        began = time.monotonic()
        for number in range(1, 2_001):
            app["stock"].post(Deposit(1))
            if number % 100 == 0:
                assert app["stock"].send(Deposit(0)) == number
        last = 0
        while last < 2_000:
            event = quick.event()
            if event["event"] == "component":
                last = event["data"]["current"]["count"]

        assert browser.ask("/-/live")[0] == 200
        assert time.monotonic() - began < 20
        quick.close()
        slow.close()

    def test_streams_end_with_the_server_and_begin_again_with_it(self, app):
        """
        No thread is left behind.
        """
        reader = Reader(app)
        app["http"].stop()
        while reader.line():
            pass
        reader.close()
        app["http"].start()
        reader = Reader(app)
        app["stock"].send(Deposit(1))

        assert reader.event()["event"] in {"component", "stage"}
        reader.close()

    def test_nobody_listens_while_nobody_reads(self, app):
        """
        To listen would cost each component an encoding after each message.
        """
        assert app.http.app.events._callback is None
        assert not app["stock"]._cell.serving.publishing.feed.watched
