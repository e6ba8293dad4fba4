"""The trace of a request: taken or begun, given back, and carried along."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from werkzeug import Request, Response

from kinesis import Component, Message, field, handles, route
from kinesis.traces import TRACE, new_trace, trace_of
from kinesis.web.answers import Answer
from tests.web.shop import PATIENCE, World, world

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{TRACE_ID}-00f067aa0ba902b7-01"
STOCK = "/app/shop/stock"


@pytest.fixture
def shop() -> Iterator[World]:
    """The shop, running."""
    with world() as made:
        yield made


class TestHeaders:
    def test_a_trace_is_taken_and_given_back(self, shop):
        """
        With a span of our own, and the flags as they came.
        """
        headers = {"traceparent": PARENT.replace("-01", "-00")}
        told = shop.ask(STOCK, headers=headers).headers["traceparent"]

        assert re.fullmatch(rf"00-{TRACE_ID}-[0-9a-f]{{16}}-00", told)
        assert "00f067aa0ba902b7" not in told

    @pytest.mark.parametrize("status", [200, 204])
    def test_an_answer_that_is_returned_again_has_each_request_s_own(
        self, shop, status
    ):
        """
        Nothing is written into what a route has made; its own header stays.
        """
        kept = Response("x", status, {"Trace-ID": "mine"})
        plain = Answer(status)
        shop.app.add_route("/kept", lambda request: kept)
        shop.app.add_route("/plain", lambda request: plain)
        for number in "12":
            parent = f"00-{number * 32}-00f067aa0ba902b7-01"
            for path in ("/kept", "/plain"):
                headers = shop.ask(path, headers={"traceparent": parent}).headers

                assert len(headers.getlist("traceparent")) == 1
                assert number * 32 in headers["traceparent"]
                assert (headers["Trace-ID"] == "mine") == (path == "/kept")

        assert "traceparent" not in kept.headers
        assert plain.headers == []

    def test_without_one_a_trace_is_begun(self, shop):
        """
        Another for each request.
        """
        one, two = (shop.ask(STOCK).headers["traceparent"] for _ in range(2))

        assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-01", one)
        assert one[3:35] != two[3:35]

    @pytest.mark.parametrize("name", ["TraceID", "Trace-ID"])
    def test_the_older_headers_are_taken_too(self, shop, name):
        """
        And given back as they were named; any word is an id.
        """
        headers = shop.ask(STOCK, headers={name: "order-17"}).headers

        assert headers[name] == "order-17"
        assert headers["Trace-ID"] == "order-17"
        assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-01", headers["traceparent"])

    def test_an_older_id_of_32_digits_is_the_trace(self, shop):
        """
        No other one has to be made of it.
        """
        headers = shop.ask(STOCK, headers={"TraceID": TRACE_ID}).headers

        assert headers["traceparent"].startswith(f"00-{TRACE_ID}-")

    def test_problems_have_it_too(self, shop):
        """
        Whoever reports one can name it.
        """
        for path in ("/nowhere", f"{STOCK}/boom"):
            headers = shop.ask(path, headers={"traceparent": PARENT}).headers

            assert TRACE_ID in headers["traceparent"]

    @pytest.mark.parametrize(
        "header",
        [
            "",
            "00",
            PARENT.upper(),
            PARENT[:-1],
            PARENT + "-more",
            PARENT.replace("00-4", "ff-4"),
            f"00-{'0' * 32}-00f067aa0ba902b7-01",
            f"00-{TRACE_ID}-{'0' * 16}-01",
        ],
    )
    def test_a_malformed_one_counts_as_none(self, header):
        """
        As the specification wants it.
        """
        assert trace_of(header).trace != TRACE_ID

    def test_a_later_version_is_read_as_far_as_it_is_known(self):
        """
        As the specification wants it.
        """
        assert trace_of(PARENT.replace("00-4", "01-4") + "-more").trace == TRACE_ID

    @given(st.none() | st.text(max_size=80), st.none() | st.text(max_size=140))
    def test_whatever_is_sent_what_is_given_back_is_well_formed(self, parent, older):
        """
        No header of ours has a line break, or ids that are none.
        """
        trace = trace_of(parent, older)

        assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}", trace.parent)
        assert trace.trace.strip("0")
        assert trace.span.strip("0")
        assert re.fullmatch(r"[A-Za-z0-9._:-]{1,128}", trace.id)

    def test_no_trace_is_all_zero(self, monkeypatch):
        """
        That would be none, however the dice fall.
        """
        monkeypatch.setattr("kinesis.traces.getrandbits", lambda bits: 0)
        trace = new_trace()

        assert trace.trace.strip("0")
        assert trace.span.strip("0")


@attrs.frozen
class First(Message[str]):
    """Sends a second."""


@attrs.frozen
class Second(Message[str]):
    """Answers with the trace that its handler sees."""


def seen() -> str:
    """Return the id of the trace here."""
    trace = TRACE.get()
    return "none" if trace is None else trace.id


class End(Component):
    """The last to be sent to."""

    heard: list[str] = field(factory=list)

    @handles(Second)
    def second(self, message: Second) -> str:
        self.log.warning("handled")
        logging.getLogger("elsewhere").warning("not ours")
        self.heard.append(seen())
        return seen()


class Middle(Component):
    """Sends on."""

    @handles(First)
    def first(self, message: First) -> str:
        self.find("end").post(Second())
        return str(self.find("end").send(Second()))

    def ask(self, request: Request) -> str:
        return str(self.find("end").send(Second()))

    @route(alone=False)
    def ask_oneself(self, request: Request) -> str:
        return str(self.ref.send(First()))

    @route
    def stream(self) -> Iterator[str]:
        yield seen()
        yield f" {seen()}"


class TestCarrying:
    @pytest.fixture(params=["mailbox", "caller"])
    def chain(self, shop, request) -> World:
        """Two components more, of which one sends to the other."""
        shop.runtime.add(End(name="end", dispatch=request.param))
        shop.runtime.add(Middle(name="middle", dispatch=request.param))
        return shop

    def test_a_route_sends_its_trace_along(self, chain):
        """
        The handler sees it.
        """
        headers = {"traceparent": PARENT}

        assert chain.ask("/app/middle/ask", headers=headers).text == TRACE_ID

    def test_so_does_a_message_and_what_its_handler_sends(self, chain):
        """
        Over as many components as there are, posts as well.
        """
        headers = {"traceparent": PARENT}
        reply = chain.ask(
            "/app/middle/-/messages/First", "POST", json={}, headers=headers
        )

        assert reply.json == TRACE_ID
        assert chain.runtime["end"].snapshot().heard == [TRACE_ID, TRACE_ID]
        assert chain.ask("/app/middle/ask_oneself", headers=headers).text == TRACE_ID

    def test_a_handler_has_none_once_it_is_over(self, chain):
        """
        The next message of somebody else is none of it.
        """
        chain.ask("/app/middle/ask", headers={"traceparent": PARENT})

        assert chain.runtime["end"].send(Second()) == "none"

    def test_a_streamed_body_is_part_of_it(self, chain):
        """
        Though it is made later.
        """
        response = chain.ask("/app/middle/stream", headers={"traceparent": PARENT})

        assert response.text == f"{TRACE_ID} {TRACE_ID}"

    def test_lines_of_components_have_the_id(self, chain, caplog):
        """
        Of those that a message has led to.
        """
        with caplog.at_level(logging.WARNING):
            chain.ask("/app/middle/ask", headers={"Trace-ID": "order-17"})

        (record,) = [r for r in caplog.records if r.message == "handled"]
        assert record.trace == "order-17"
        assert record.path == "/app/end"

    def test_a_failure_has_it(self, shop, caplog):
        """
        Beside the id of the error.
        """
        with caplog.at_level(logging.ERROR, "kinesis"):
            shop.ask(f"{STOCK}/boom", headers={"traceparent": PARENT})

        (record,) = [r for r in caplog.records if getattr(r, "error_id", None)]
        assert record.trace == TRACE_ID

    def test_the_command_shows_it_on_lines_of_other_libraries(self, chain, capfd):
        """
        It is looked up where the line is written.
        """
        import io

        from kinesis import logs

        stream = io.StringIO()
        with logs.configured("warning", "json", stream):
            chain.ask("/app/middle/ask", headers={"traceparent": PARENT})
        (line,) = [
            each for each in stream.getvalue().splitlines() if "not ours" in each
        ]

        assert f'"trace": "{TRACE_ID}"' in line


def test_a_request_waits_for_its_message_alone(shop):
    """
    Its wait is in nobody's way: the handler may send where it likes.
    """

    class Asks(Component):
        @handles(First)
        def first(self, message: First) -> str:
            return str(self.find("/app/shop/stock").snapshot(PATIENCE).count)

    shop.runtime.add(Asks(name="asks"))
    reply = shop.ask("/app/asks/-/messages/First", "POST", json={})

    assert reply.json == "0"
