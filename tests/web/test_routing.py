"""How routes are written in a class, and what is refused there."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import werkzeug
from hypothesis import given
from hypothesis import strategies as st
from werkzeug import Request
from werkzeug.wrappers import Request as Renamed

from kinesis import Component, Container, Stage, field, route
from kinesis.errors import DeclarationError
from kinesis.routing import Route, lower, routes_of
from tests.web.shop import PATIENCE, Stock

if TYPE_CHECKING:
    from werkzeug.sansio.request import Request as Unknown  # noqa: F401


class Special(Request):
    """A request of somebody's own."""


class TestPlainMethods:
    def test_a_request_by_annotation_makes_a_route(self):
        """
        However it is spelled, text or class, renamed or derived.
        """

        class Many(Component):
            def one(self, request: Request) -> str: ...
            def two(self, request: werkzeug.Request) -> str: ...
            def three(self, any_name: Renamed) -> str: ...
            def four(self, request: Special, more: int = 5) -> str: ...
            def five(self, request: Request, *rest: object, **more: object) -> str: ...

        assert [(r.name, r.rule, r.request_as) for r in routes_of(Many)] == [
            ("one", "/one", "request"),
            ("two", "/two", "request"),
            ("three", "/three", "any_name"),
            ("four", "/four", "request"),
            ("five", "/five", "request"),
        ]
        assert routes_of(Many)[0] == Route(
            "one",
            "/one",
            ("GET", "POST"),
            request_as="request",
            request_is_first=True,
            request_class=Request,
        )

    def test_nothing_else_does(self):
        """
        No other annotation, no private one, no hook, none that needs more.
        """

        class Others(Component):
            def other(self, request: str) -> str: ...
            def nothing(self) -> str: ...
            def bare(self, request) -> str: ...
            def returned(self, text: str) -> Request: ...
            def listed(self, requests: list[Request]) -> str: ...

        assert routes_of(Others) == ()
        assert routes_of(Component) == routes_of(Container) == ()

    def test_some_methods_with_a_request_do_not(self):
        """
        A private one, a hook, one that needs more, and what is no method.
        """

        class Others(Component):
            def two(self, request: Request, more: int) -> str: ...
            def _private(self, request: Request) -> str: ...
            def start(self, request: Request = None) -> None: ...  # type: ignore[assignment]

            @property
            def attribute(self) -> Request: ...  # type: ignore[empty-body]

            @staticmethod
            def static(request: Request) -> str: ...

        assert routes_of(Others) == ()

    def test_another_class_called_request_is_none(self):
        """
        It is looked at, where it can be.
        """

        class Other(Component):
            def one(self, request: OtherRequest) -> str: ...

        assert routes_of(Other) == ()

    def test_subclasses_inherit_and_replace(self):
        """
        A method of the same name replaces; a mark stays with the name.
        """

        class Base(Component):
            def one(self, request: Request) -> str: ...
            def two(self, request: Request) -> str: ...

            @route("/third/<int:n>")
            def three(self, request: Request, n: int) -> str: ...

        class Derived(Base):
            def two(self) -> str: ...  # type: ignore[override]
            def three(self, request: Request, n: int) -> str: ...
            def four(self, request: Request) -> str: ...

        assert [r.rule for r in routes_of(Derived)] == [
            "/one",
            "/third/<int:n>",
            "/four",
        ]


OtherRequest = type("Request", (), {})


class TestTheDecorator:
    def test_it_says_more(self):
        """
        Several rules make several routes.
        """

        class Told(Component):
            @route("/Items/<int:Id>", methods=["get", "DELETE"], public=True)
            @route("/other", alone=False)
            def item(self, request: Request, Id: int = 0) -> str: ...

            @route
            def plain(self) -> str: ...

            @route(methods="POST")
            def posted(self, request) -> str: ...

        by_rule = {r.rule: r for r in routes_of(Told)}

        assert by_rule["/items/<int:Id>"] == Route(
            "item",
            "/items/<int:Id>",
            ("GET", "DELETE"),
            alone=True,
            public=True,
            request_as="request",
            variables=("Id",),
            request_is_first=True,
            request_class=Request,
        )
        assert by_rule["/other"].alone is False
        assert by_rule["/plain"].request_as is None
        assert by_rule["/posted"].methods == ("POST",)
        assert by_rule["/posted"].request_as == "request"

    @pytest.mark.parametrize(
        ("rule", "reason"),
        [
            ("items", "is no rule"),
            ("", "is no rule"),
            ("/a//b", "is no rule"),
            ("/a?b", "is no rule"),
            ("/a#b", "is no rule"),
            ("/a%20b", "is no rule"),
            ("/<", "is no rule"),
            ("/<int:>", "is no rule"),
            ("/", "is taken"),
            ("/-/x", "is taken"),
            ("/-", "is taken"),
            ("/<itn:id>", "Did you mean 'int'"),
            ("/<name>", "does not take"),
        ],
    )
    def test_a_rule_that_cannot_be_one_is_refused_where_it_is_written(
        self, rule, reason
    ):
        """
        With what to write instead.
        """
        with pytest.raises(DeclarationError, match=reason):

            @route(rule)
            def item(self, request: Request, id: int = 0) -> str: ...

    def test_methods_must_be_some_of_http(self):
        """
        At least one.
        """
        for methods in ([], ["FETCH"]):
            with pytest.raises(DeclarationError, match="methods of HTTP"):
                route("/x", methods=methods)

    def test_it_marks_functions_alone(self):
        """
        Not a property, nor a class.
        """
        with pytest.raises(DeclarationError, match="marks a method"):
            route("/x")(property(lambda self: 5))  # type: ignore[type-var]

    def test_a_coroutine_function_is_refused_and_a_generator_is_a_stream(self):
        """
        Nobody would await it; it is iterated over.
        """

        async def waits(self) -> str: ...

        def yields(self):
            yield "text"

        with pytest.raises(DeclarationError, match="waits' is asynchronous"):
            route("/x")(waits)
        assert route("/x")(yields) is yields

    def test_variables_may_go_into_keyword_arguments(self):
        """
        A method that takes any takes these.
        """

        @route("/<name>")
        def item(self, request: Request, **values: str) -> str: ...


@given(st.text("aB/<>:_", max_size=12))
def test_lower_case_keeps_variables_and_length(rule):
    """
    Only letters outside of variables change.
    """
    lowered = lower(rule)

    assert lowered.lower() == rule.lower()
    assert lower(lowered) == lowered


def test_a_component_with_routes_has_not_finished_when_start_returns(world_of):
    """
    A request may still come.
    """

    class Answers(Component):
        def hello(self, request: Request) -> str:
            return "hello"

    class Job(Component):
        count: int = field(default=0)

        def start(self) -> None:
            self.count = 1

    answers = world_of.add(Answers(name="answers"))
    job = world_of.add(Job(name="job"))
    job.wait_stopped(PATIENCE)

    assert answers.stage is Stage.STARTED


@pytest.fixture
def world_of():
    """A runtime."""
    from kinesis import Runtime

    with Runtime("app", [Stock(name="stock")]) as runtime:
        yield runtime


def test_a_program_without_http_does_not_import_werkzeug():
    """
    Classes with routes neither.
    """
    code = """
import sys
from kinesis import Component, Runtime, route
class Stock(Component):
    def report(self, request: "Request") -> str: return ""
    @route("/x/<int:y>")
    def more(self, request, y): return ""
with Runtime("app", [Stock(name="stock")]) as runtime:
    pass
heavy = {"werkzeug", "waitress", "prometheus_client"} & set(sys.modules)
assert not heavy, heavy
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60
    )

    assert done.returncode == 0, done.stderr
