"""The OpenAPI document: valid, and true for what is mounted."""

from __future__ import annotations

import datetime
import decimal
import json
import uuid
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Generic, TypeVar

import attrs
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from werkzeug import Request, Response
from werkzeug.exceptions import NotFound

from kinesis import Component, Container, Message, Runtime, field, handles, route
from kinesis.snapshots import Snapshot
from kinesis.web import openapi
from kinesis.web.openapi_items import reply_of
from kinesis.web.openapi_routes import (
    media_type_of,
    return_of,
    schema_of_variable,
    template_of,
)
from kinesis.web.openapi_schemas import PREFIX, Schemas, unique_name
from kinesis.web.security import Guard
from kinesis.web.streams import EventStream
from tests.web.shop import Stock, World, world
from tests.web.validating import validate

STOCK = "/app/shop/stock"
T = TypeVar("T")

Document = dict[str, Any]


@pytest.fixture
def shop() -> Iterator[World]:
    """The shop, running."""
    with world() as made:
        yield made


def document_of(shop: World) -> Document:
    """Return the document."""
    found: Document = shop.ask("/-/openapi.json").json
    return found


def resolved(document: Document, node: Document) -> Document:
    """Follow a reference."""
    while "$ref" in node:
        found: Any = document
        for part in node["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        node = found
    return node


def operation_of(document: Document, method: str, path: str) -> Document:
    """Return one operation."""
    return resolved(document, document["paths"][path])[method.lower()]


def content_of(document: Document, method: str, path: str, status: int) -> Document:
    """Return what one response may hold, by media type."""
    responses = operation_of(document, method, path)["responses"]
    return resolved(document, responses[str(status)]).get("content", {})


def faults_of(document: Document, schema: Document, value: Any) -> list[str]:
    """Return what is wrong with *value*, by a schema of the document."""
    whole = {**schema, "components": document["components"]}
    return [error.message for error in Draft202012Validator(whole).iter_errors(value)]


def schema_of(kind: Any) -> Document:
    """Return the schema of a type, with its definitions."""
    schemas = Schemas([kind])
    return {**schemas.of(kind), "components": {"schemas": schemas.definitions}}


def fits(schema: Document, value: Any) -> bool:
    """Whether *value* is allowed."""
    return Draft202012Validator(schema).is_valid(value)


# -- the whole -------------------------------------------------------------------


class TestTruth:
    def test_it_is_an_openapi_document(self, shop):
        """
        Says a public validator, of one with something of everything.
        """
        shop.app.add_route("/hooks/<uuid:key>", lambda request, key: "")

        validate(document_of(shop))

    def test_each_page_answers_as_the_document_says(self, shop):
        """
        All that can be looked at without a variable; nothing but streams left out.
        """
        shop.stock._gate.set()
        document = document_of(shop)
        looked_at = 0
        for path in document["paths"]:
            item = resolved(document, document["paths"][path])
            if "get" not in item or "{" in path or path == "/-/events":
                continue
            response = shop.ask(path)
            answer = item["get"]["responses"].get(str(response.status_code))
            if answer is None:
                assert {"4XX", "default"} & item["get"]["responses"].keys(), path
                continue
            content = resolved(document, answer).get("content", {})
            if not content and response.status_code == 204:
                continue
            assert response.mimetype in content, path
            if response.is_json:
                schema = content[response.mimetype]["schema"]
                assert faults_of(document, schema, response.json) == [], path
                looked_at += 1

        assert looked_at >= 12

    def test_options_and_the_document_agree(self, shop):
        """
        On the methods of every path.
        """
        document = document_of(shop)
        for path in document["paths"]:
            item = resolved(document, document["paths"][path])
            methods = {name.upper() for name in item} - {"PARAMETERS"}
            filled = path.replace("{id}", "1").replace("{rest}", "a/b")
            allowed = shop.ask(filled.replace("{name}", "x"), "OPTIONS").headers[
                "Allow"
            ]

            assert set(allowed.split(", ")) == methods, path

    def test_what_get_has_shown_may_be_put(self, shop):
        """
        The fields of it, as the schema of the body has them.
        """
        document = document_of(shop)
        body = operation_of(document, "put", STOCK)["requestBody"]["content"]
        shown = shop.ask(STOCK).json
        fields = resolved(document, body["application/json"]["schema"])["properties"]
        sent = {name: shown[name] for name in fields}

        assert faults_of(document, body["application/json"]["schema"], sent) == []

        etag = {"If-Match": shop.etag()}

        assert shop.ask(STOCK, "PUT", json=sent, headers=etag).status_code == 200

    def test_problems_are_shaped_as_it_says(self, shop):
        """
        Also those with more members.
        """
        document = document_of(shop)
        schema = {"$ref": f"{PREFIX}kinesis.Problem"}
        etag = {"If-Match": shop.etag()}
        bad = shop.ask(STOCK, "PATCH", json={"count": "x"}, headers=etag)

        assert bad.status_code == 422
        for response in (bad, shop.ask("/nowhere"), shop.ask(f"{STOCK}/boom")):
            assert faults_of(document, schema, response.json) == []

    def test_what_is_not_ready_is_shaped_as_it_says(self, shop):
        """
        It names the components.
        """
        document = document_of(shop)
        shop.runtime[STOCK].stop()
        response = shop.ask("/-/ready")
        content = content_of(document, "get", "/-/ready", 503)

        assert response.status_code == 503
        assert (
            faults_of(document, content[response.mimetype]["schema"], response.json)
            == []
        )

    def test_a_thousand_components_of_a_class_are_described_once(self):
        """
        The paths refer to that.
        """
        parts = [Stock(name=f"s{number}") for number in range(20)]
        with Runtime(components=parts) as runtime:
            document = openapi.document(runtime.root._cell)
        below = [path for path in document["paths"] if path.startswith("/app/s")]

        assert len(below) > 20 * 20
        assert all(set(document["paths"][path]) == {"$ref"} for path in below)
        assert len(document["components"]["pathItems"]) < 60

    def test_its_head_says_what_program_it_is(self, shop):
        """
        Title, version and addresses are the caller's.
        """
        document = openapi.document(
            shop.app.root, title="Shop", version="7", servers=["https://shop.example"]
        )

        assert document["info"]["title"] == "Shop"
        assert document["info"]["version"] == "7"
        assert document["servers"] == [{"url": "https://shop.example"}]
        assert {tag["name"] for tag in document["tags"]} == {
            "Container",
            "Shop",
            "Stock",
        }


class TestTokens:
    def test_without_a_token_nothing_needs_one(self, shop):
        """
        Nor is there a scheme.
        """
        text = json.dumps(document_of(shop))

        assert "securitySchemes" not in text
        assert '"security"' not in text

    def test_with_a_token_what_changes_something_needs_it(self):
        """
        And the stacks of all threads; neither reading nor public routes.
        """
        with world(guard=Guard(token=b"secret")) as shop:
            document = document_of(shop)
        validate(document)
        needed = {
            (method, path)
            for path, item in document["paths"].items()
            for method, each in resolved(document, item).items()
            if isinstance(each, dict) and "security" in each
        }

        assert ("put", STOCK) in needed
        assert ("post", f"{STOCK}/-/messages/Deposit") in needed
        assert ("delete", f"{STOCK}/items/{{id}}") in needed
        assert ("get", "/-/threads") in needed
        assert ("get", STOCK) not in needed
        assert ("get", f"{STOCK}/report") not in needed
        assert ("post", f"{STOCK}/hook") not in needed
        assert document["components"]["securitySchemes"] == {
            "bearer": {"type": "http", "scheme": "bearer"}
        }


# -- components ------------------------------------------------------------------


class TestComponents:
    def test_the_root_has_no_delete(self, shop):
        """
        Nor has it a restart.
        """
        document = document_of(shop)

        assert "delete" not in resolved(document, document["paths"]["/app"])
        assert "delete" in resolved(document, document["paths"]["/app/shop"])
        assert "/app/-/stop" not in document["paths"]

    def test_a_change_needs_to_say_what_it_has_seen(self, shop):
        """
        428 without, 412 if that is another, 422 for what does not fit.
        """
        put = operation_of(document_of(shop), "put", STOCK)

        assert put["parameters"] == [{"$ref": "#/components/parameters/IfMatch"}]
        assert {"412", "415", "422", "428"} <= put["responses"].keys()

    def test_secrets_are_masked(self, shop):
        """
        What they are is nowhere in it, not even as a default.
        """
        document = document_of(shop)
        shown = content_of(document, "get", STOCK, 200)["application/json"]["schema"]
        pin = resolved(document, shown)["properties"]["pin"]

        assert pin["const"] == "***"
        assert "4711" not in json.dumps(document)

    def test_numbers_that_json_has_not_are_shown_as_text(self):
        """
        And taken from nobody; also in values that fields hold.
        """

        class Meter(Component):
            level: float = field(default=float("inf"))
            ranges: list[Range] = field(factory=list)

        meter = Meter(name="meter", ranges=[Range(float("nan"), [Range(1.0)])])
        with Runtime(components=[meter]) as runtime:
            document = json.loads(msgspec.json.encode(openapi.document(runtime._cell)))
            shown = json.loads(runtime["/app/meter"].snapshot().to_json())
        validate(document)
        schema = {"$ref": f"{PREFIX}Meter"}

        assert shown["ranges"][0]["low"] == "NaN"
        assert faults_of(document, schema, shown) == []

        body = {"$ref": f"{PREFIX}MeterPut"}
        sent = {"level": 1.0, "ranges": [{"low": 2.0}]}

        assert faults_of(document, body, sent) == []
        assert faults_of(document, body, {**sent, "level": "Infinity"})
        assert faults_of(document, body, {**sent, "ranges": [{"low": "NaN"}]})

    @pytest.mark.parametrize("module", ["elsewhere", __name__])
    def test_two_classes_of_one_name_are_told_apart(self, module):
        """
        Components, values and messages; if their module is the same, too, the
        second one's schema takes anything.
        """

        def make(kind: type, module: str) -> type[Component]:
            Value = attrs.make_class("Value", {"inner": attrs.field(type=kind)})
            Value.__module__ = module

            class Part(Component):
                value: Value | None = field(default=None)

                @handles(Value)
                def take(self, message: Value) -> None: ...

            return Part

        parts = [make(int, __name__)(name="one"), make(str, module)(name="two")]
        with Runtime(components=parts) as runtime:
            document = json.loads(msgspec.json.encode(openapi.document(runtime._cell)))
        validate(document)
        for name, good in (("one", 1), ("two", "1")):
            path = f"/app/{name}/-/messages/Value"
            body = operation_of(document, "post", path)["requestBody"]["content"]
            schema = body["application/json"]["schema"]

            assert faults_of(document, schema, {"inner": good}) == []
            if module != __name__:
                assert faults_of(document, schema, {"inner": None})

    def test_a_class_of_ours_is_not_mixed_up_with_one_of_theirs(self):
        """
        A program may have a class called Problem, and one called runtime.
        """

        @attrs.frozen
        class Problem:
            text: str = ""

        class runtime(Component):  # the name is the point
            problem: Problem = field(factory=Problem)

        with Runtime(components=[runtime(name="a")]) as running:
            found = openapi.document(running._cell)
        document = json.loads(msgspec.json.encode(found))
        validate(document)

        assert document["components"]["schemas"]["Problem"]["properties"].keys() == {
            "text"
        }
        assert len({tag["name"] for tag in document["tags"]}) == len(document["tags"])


class TestMessages:
    def test_a_message_has_its_schema_and_that_of_its_reply(self, shop):
        """
        As ``Message[int]`` says.
        """
        document = document_of(shop)
        path = f"{STOCK}/-/messages/Deposit"
        body = operation_of(document, "post", path)["requestBody"]["content"]
        schema = body["application/json"]["schema"]
        reply = content_of(document, "post", path, 200)["application/json"]["schema"]

        assert faults_of(document, schema, {"amount": 1}) == []
        assert faults_of(document, schema, {"amount": 1, "amuont": 2})
        assert faults_of(document, schema, {})
        assert reply == {"type": "integer"}

    def test_a_message_without_fields_is_an_empty_object(self, shop):
        """
        Its class has nothing that could be set.
        """
        document = document_of(shop)
        path = f"{STOCK}/-/messages/Ping"
        body = operation_of(document, "post", path)["requestBody"]["content"]
        schema = body["application/json"]["schema"]

        assert faults_of(document, schema, {}) == []
        assert faults_of(document, schema, {"a": 1})

    def test_a_reply_may_be_a_number_that_json_has_not(self, shop):
        """
        Then it is text, and the schema says so; never null.
        """

        @attrs.frozen
        class Ratio(Message[Range]):
            of: int

        shop.stock.set_handler(Ratio, lambda message: Range(float("-inf")))
        path = f"{STOCK}/-/messages/Ratio"
        document = document_of(shop)
        schema = content_of(document, "post", path, 200)["application/json"]["schema"]
        reply = shop.ask(path, "POST", json={"of": 1}).json

        assert reply == {"low": "-Infinity", "inner": []}
        assert faults_of(document, schema, reply) == []

    def test_a_handler_that_is_set_later_is_in_it(self, shop):
        """
        The document is made when it is asked for.
        """

        @attrs.frozen
        class Late:
            number: int

        shop.stock.set_handler(Late, lambda message: message.number)

        assert f"{STOCK}/-/messages/Late" in document_of(shop)["paths"]

    def test_the_reply_is_found_however_the_class_is_derived(self):
        """
        Through generic classes of one's own, too.
        """

        class Ask(Message[T]): ...

        class Pair(Ask[tuple[T, int]], Generic[T]): ...

        class Both(Pair[str]): ...

        class Mixed(Both): ...

        assert reply_of(Mixed) == tuple[str, int]
        assert reply_of(Ask[int]) is int
        assert reply_of(Ask) is Any
        assert reply_of(int) is Any


# -- schemas ---------------------------------------------------------------------


@attrs.frozen
class Value:
    """One with all that an attrs class can have."""

    plain: int
    _private: int = 1
    other: int = attrs.field(default=2, alias="another")
    made: int = attrs.field(default=3, init=False)


@attrs.frozen
class Range:
    """One with floats, that contains itself."""

    low: float
    inner: list[Range] = attrs.field(factory=list)


@attrs.frozen
class Shelf:
    """One that contains itself, with what it needs and what it does not."""

    size: int
    note: str = ""
    inner: Shelf | None = None


class Tagged(msgspec.Struct, tag="t"):
    number: int


@dataclass
class Tree:
    children: list[Tree]


class TestSchemas:
    def test_arguments_are_taken_and_attributes_shown(self):
        """
        By the names that each has.
        """
        properties = Schemas([Value]).definitions["Value"]["properties"]
        marks = {
            name: [mark for mark in ("readOnly", "writeOnly") if each.get(mark)]
            for name, each in properties.items()
        }

        assert marks == {
            "plain": [],
            "private": ["writeOnly"],
            "another": ["writeOnly"],
            "other": ["readOnly"],
            "made": ["readOnly"],
        }

    def test_other_keys_are_refused(self):
        """
        As they are by the server.
        """
        schema = schema_of(Value)

        assert fits(schema, {"plain": 1, "private": 2})
        assert not fits(schema, {"plain": 1, "privat": 2})
        assert not fits(schema, {"private": 2})

    @pytest.mark.parametrize(
        ("kind", "good", "bad"),
        [
            (deque[int], [1], ["x"]),
            (deque, [1, "x"], 1),
            (Path, "a/b", 1),
            (set[int], [1, 1], ["x"]),
            (decimal.Decimal, "1.5", "x"),
            (decimal.Decimal, 1.5, None),
            (uuid.UUID, str(uuid.UUID(int=1)), 1),
            (datetime.date, "2024-02-29", 1),
            (dict[str, Value], {"a": {"plain": 1}}, {"a": {}}),
            (Tagged, {"type": "t", "number": 1}, {"type": "x", "number": 1}),
            (Tree, {"children": [{"children": []}]}, {"children": [1]}),
            (object, [None], ...),
            (Annotated[int, msgspec.Meta(ge=1)], 1, 0),
        ],
    )
    def test_types_allow_what_is_read(self, kind, good, bad):
        """
        And refuse something else.
        """
        schema = schema_of(kind)

        assert fits(schema, good)
        if bad is not ...:
            assert not fits(schema, bad)

    def test_a_type_without_a_schema_is_anything_with_a_note(self):
        """
        It does not spoil the others.
        """
        strange = complex
        unhashable = Annotated[int, {}]
        schemas = Schemas([int, strange, unhashable])

        assert schemas.of(int) == {"type": "integer"}
        assert "complex" in schemas.of(strange)["description"]
        assert "no schema" in schemas.of(unhashable)["description"]

    def test_a_patch_may_leave_out_and_remove(self):
        """
        What is needed cannot be removed.
        """

        schemas = Schemas([Shelf, dict[str, int]])
        patch = {
            **schemas.as_patch(schemas.of(Shelf)),
            "components": {"schemas": schemas.definitions},
        }

        assert fits(patch, {})
        assert fits(patch, {"note": None, "inner": {"inner": {"note": "x"}}})
        assert not fits(patch, {"size": None})
        assert not fits(patch, {"size": "x"})
        assert not fits(patch, {"inner": {"inner": {"note": 1}}})

        entries = schemas.as_patch(schemas.of(dict[str, int]))

        assert fits(entries, {"a": None, "b": 1})
        assert not fits(entries, {"a": "x"})
        assert schemas.as_patch({"type": "object", "additionalProperties": {}}) == {
            "type": "object",
            "additionalProperties": {},
        }

    def test_names_are_those_that_openapi_allows(self):
        """
        And no name twice.
        """
        taken = {"A": 1, "m.A": 2}

        assert unique_name("Box[int]", {}) == "Box_int_"
        assert unique_name("A", taken) == "A_2"
        assert unique_name("A", {"A": 1}, "m.n") == "m.n.A"
        assert unique_name("A", taken, "m") == "m.A_2"


# -- routes ----------------------------------------------------------------------


@attrs.frozen
class Found:
    number: int


class Routes(Component):
    """What methods may say that they return."""

    def as_dict(self, request: Request) -> dict[str, int]:
        """Say a number.

        And more about it.
        """
        return {"a": 1}

    def as_value(self, request: Request) -> Found | None:
        return Found(1)

    def as_text(self, request: Request) -> str:
        raise NotFound

    def as_bytes(self, request: Request) -> bytes:
        return b""

    def as_lines(self, request: Request) -> Iterator[str]:
        yield ""

    def as_is(self, request: Request) -> Response | str:
        return Response("", 201)

    def unsaid(self, request: Request):
        return None

    @route("/things/<int(min=1):id>", methods=["GET"])
    def thing(self, id: int) -> None: ...

    @route("/things/<name>", methods=["PUT"])
    def named(self, name: str) -> str:
        return name


@pytest.fixture(scope="module")
def routes() -> Document:
    """The document of a program with these."""
    with Runtime(components=[Routes(name="r")]) as runtime:
        document = json.loads(msgspec.json.encode(openapi.document(runtime._cell)))
    validate(document)
    return document


class TestRoutes:
    @pytest.mark.parametrize(
        ("path", "statuses", "media_types"),
        [
            ("as_dict", {"200"}, {"application/json"}),
            ("as_value", {"200", "204"}, {"application/json"}),
            ("as_text", {"200"}, {"text/plain"}),
            ("as_bytes", {"200"}, {"application/octet-stream"}),
            ("as_lines", {"200"}, {"text/plain"}),
            ("as_is", {"200", "default"}, {"text/plain"}),
            ("unsaid", {"default"}, set()),
        ],
    )
    def test_what_is_returned_is_what_is_answered(
        self, routes, path, statuses, media_types
    ):
        """
        As the annotation says it.
        """
        operation = operation_of(routes, "get", f"/app/r/{path}")
        good = {s for s in operation["responses"] if not s.startswith(("4", "5"))}
        content = operation["responses"].get("200", {}).get("content", {})

        assert good == statuses
        assert set(content) == media_types

    def test_the_docstring_is_what_people_read(self, routes):
        """
        Its first sentence, and the rest.
        """
        operation = operation_of(routes, "get", "/app/r/as_dict")

        assert operation["summary"] == "Say a number"
        assert operation["description"] == "And more about it."

    def test_a_get_is_a_head_without_a_body(self, routes):
        """
        With the same statuses.
        """
        get = operation_of(routes, "get", "/app/r/as_dict")
        head = operation_of(routes, "head", "/app/r/as_dict")

        assert head["responses"].keys() == get["responses"].keys()
        assert "content" not in head["responses"]["200"]

    def test_rules_that_differ_in_a_variable_alone_share_a_path(self, routes):
        """
        OpenAPI has one name for it, and what either takes.
        """
        item = resolved(routes, routes["paths"]["/app/r/things/{id}"])

        assert {"get", "put"} <= item.keys()
        assert "/app/r/things/{name}" not in routes["paths"]
        assert item["parameters"][0]["schema"]["anyOf"][0] == {
            "type": "integer",
            "minimum": 1,
        }

    @pytest.mark.parametrize(
        ("text", "kind", "schema"),
        [
            ("<int:a>", "int", {"type": "integer", "minimum": 0}),
            ("<int(signed=True):a>", "int", {"type": "integer"}),
            (
                "<int(min=2,max=5):a>",
                "int",
                {"type": "integer", "minimum": 2, "maximum": 5},
            ),
            ("<float:a>", "float", {"type": "number", "minimum": 0}),
            ("<uuid:a>", "uuid", {"type": "string", "format": "uuid"}),
            ("<any(x, 'y z'):a>", "any", {"enum": ["x", "y z"]}),
        ],
    )
    def test_converters_have_schemas(self, text, kind, schema):
        """
        With the arguments that they are given.
        """
        assert schema_of_variable(text, kind) == schema

    def test_texts_have_the_lengths_of_their_rules(self):
        """
        And never a slash, but in a path.
        """
        short = schema_of_variable("<string(length=2):a>", "string")
        some = schema_of_variable("<string(minlength=2,maxlength=3):a>", "string")
        path = schema_of_variable("<path:a>", "path")

        assert [fits(short, text) for text in ("a", "ab", "abc")] == [
            False,
            True,
            False,
        ]
        assert [fits(some, text) for text in ("a", "ab", "abcd", "a/")] == [
            False,
            True,
            False,
            False,
        ]
        assert [fits(path, text) for text in ("a/b", "/a", "")] == [True, False, False]

    def test_what_has_a_meaning_in_templates_is_escaped(self):
        """
        Braces and what is not ASCII.
        """
        assert template_of("/a{b}/<int:n>/ü") == "/a%7Bb%7D/{n}/%C3%BC"

    @given(
        st.lists(
            st.sampled_from(["a", "b-c", "<x>", "<int:y>", "<path:z>", "{q}", "é"]),
            min_size=1,
            max_size=4,
            unique=True,
        )
    )
    def test_any_rule_becomes_one_template(self, parts):
        """
        With as many variables as the rule has.
        """
        rule = "/" + "/".join(parts)
        template = template_of(rule)

        assert template.count("{") == rule.count("<")
        assert template.isascii()

    def test_types_are_sent_as_the_application_sends_them(self):
        """
        None where the method decides.
        """
        assert media_type_of(EventStream) == "text/event-stream"
        assert media_type_of(Snapshot) == "application/json"
        assert media_type_of(list[int]) == "application/json"
        assert media_type_of(Mapping[str, int]) == "application/json"
        assert media_type_of(Any) is None
        assert media_type_of(int) is None

    def test_an_annotation_that_cannot_be_read_says_nothing(self):
        """
        It may be imported for type checkers alone.
        """

        def strange() -> Missing:  # noqa: F821
            ...

        assert return_of(strange) is Any
        assert return_of(len) is Any

    def test_added_routes_are_in_it_unless_a_component_is_there(self, shop):
        """
        What answers is what is described.
        """
        shop.app.add_route(
            "/hooks/<uuid:key>", lambda request, key: "", methods=["POST"]
        )
        shop.app.add_route(f"{STOCK}/report", lambda request: b"")
        document = document_of(shop)
        content = content_of(document, "get", f"{STOCK}/report", 200)

        assert "post" in document["paths"]["/hooks/{key}"]
        assert set(content) == {"application/json"}

    def test_a_page_that_is_not_known_is_named(self):
        """
        Whoever adds one need not describe it.
        """
        with Runtime(components=[Container(name="box")]) as runtime:
            document = openapi.document(runtime._cell, pages=["/-/new"])
        validate(json.loads(msgspec.json.encode(document)))

        assert document["paths"]["/-/new"]["get"]["summary"] == "The page /-/new"
