"""
Routes as path items of an OpenAPI document: their variables and their answers.
"""

from __future__ import annotations

import re
import types
import typing
from collections.abc import AsyncIterable, Callable, Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import quote

import attrs
import msgspec
from werkzeug import Response
from werkzeug.routing.rules import parse_converter_args

from kinesis.routing import VARIABLE, Route
from kinesis.snapshots import Snapshot
from kinesis.web.answers import BYTES, JSON, TEXT
from kinesis.web.openapi_parts import (
    ALWAYS,
    FOREIGN,
    PROBLEM,
    Part,
    answer,
    bodiless,
    errors,
    operation,
    options,
    text_of,
)
from kinesis.web.openapi_schemas import Schema, Schemas
from kinesis.web.problems import MEDIA_TYPE
from kinesis.web.routes import Endpoint
from kinesis.web.security import SAFE

NAME = re.compile(r"\{(\w+)\}")
ARGUMENTS = re.compile(r"<(?:[a-z_]+)\((?P<arguments>[^<>]*)\):")

STREAM = "text/event-stream"
ANYTHING = "*/*"

# No slash, backslash or control character, which no path may hide; for a path, slashes.
SEGMENT = r"^[^/\\\x00-\x1f\x7f]+$"
SEGMENTS = r"^[^/\\\x00-\x1f\x7f][^\\\x00-\x1f\x7f]*$"


def template_of(rule: str) -> str:
    """Return a *rule* as OpenAPI writes paths: ``/items/{id}``."""
    parts: list[str] = []
    at = 0
    for found in VARIABLE.finditer(rule):
        parts += [_literal(rule[at : found.start()]), f"{{{found['name']}}}"]
        at = found.end()
    return "".join([*parts, _literal(rule[at:])])


def _literal(text: str) -> str:
    """Return the part of a rule that stands for itself."""
    return quote(text, safe="/~!$&'()*+,;=:@")


def by_template(endpoints: Iterable[Endpoint]) -> dict[str, list[Endpoint]]:
    """
    Return the routes by their path below the prefix, as OpenAPI writes it.

    Rules that differ in a variable's name or converter alone are one path there.
    """
    shapes: dict[str, str] = {}
    found: dict[str, list[Endpoint]] = {}
    for endpoint in endpoints:
        template = template_of(endpoint.route.rule)
        shape = VARIABLE.sub("<>", endpoint.route.rule)
        found.setdefault(shapes.setdefault(shape, template), []).append(endpoint)
    return found


@attrs.frozen
class Routes:
    """
    Makes the path items of routes.

    Args:
        schemas: Of everything that they return.
        secured: Whether what changes something needs a token.
    """

    schemas: Schemas
    secured: bool

    def item(self, template: str, endpoints: Iterable[Endpoint], tag: str) -> Part:
        """Return the path item of the routes that share a path."""
        item: Part = {}
        routes = list(endpoints)
        is_shared = len({endpoint.route.rule for endpoint in routes}) > 1
        for endpoint in routes:
            for method in endpoint.route.methods:
                made = self._operation(endpoint, method, tag)
                if is_shared:  # OpenAPI cannot tell their values apart
                    made["responses"] |= {"default": answer("What another answers.")}
                item.setdefault(method.lower(), made)
        if "get" in item:
            item.setdefault("head", bodiless(item["get"]))
        item.setdefault("options", options(tag))
        variables = list(_variables(template, [each.route for each in routes]))
        return {"parameters": variables, **item} if variables else item

    def _operation(self, endpoint: Endpoint, method: str, tag: str) -> Part:
        """Return what one route does for one method."""
        route, function = endpoint.route, endpoint.function
        changes = method not in SAFE and not route.public
        statuses = [*ALWAYS, *(() if route.public else FOREIGN)]
        if changes and self.secured:
            statuses.append(401)
        responses = self._answers(return_of(function)) | errors(statuses)
        problem = {MEDIA_TYPE: {"schema": PROBLEM}}
        responses["4XX"] = answer("What the method refuses.", problem)
        summary, more = text_of(function.__doc__)
        with_body = method in {"POST", "PUT", "PATCH"}
        return operation(
            summary or route.name,
            tag,
            responses,
            description=more,
            body={ANYTHING: {"schema": {}}} if with_body else None,
            required=False,
            secured=changes and self.secured,
        )

    def _answers(self, kind: Any) -> dict[str, Part]:
        """Return the responses of a route that returns a *kind*."""
        content: dict[str, Part] = {}
        responses: dict[str, Part] = {}
        for each in members_of(kind):
            media_type = media_type_of(each)
            if each is type(None):
                responses["204"] = answer("Done.")
            elif media_type is None:
                responses["default"] = answer("What the method answers.")
            else:
                shown = self.schemas.as_shown(self.schemas.of(each))
                content.setdefault(
                    media_type.partition(";")[0],
                    {"schema": shown if media_type is JSON else {}},
                )
        if content:
            responses["200"] = answer("What the method returns.", content)
        return responses


def _variables(template: str, routes: list[Route]) -> Iterator[Part]:
    """Yield the parameters of a path: what any of its *routes* takes."""
    found = [list(VARIABLE.finditer(route.rule)) for route in routes]
    for name, *same in zip(NAME.findall(template), *found, strict=True):
        schemas: list[Schema] = []
        for each in same:
            schema = schema_of_variable(each[0], each["kind"] or "default")
            if schema not in schemas:
                schemas.append(schema)
        yield {
            "name": name,
            "in": "path",
            "required": True,
            "schema": schemas[0] if len(schemas) == 1 else {"anyOf": schemas},
        }


def schema_of_variable(text: str, kind: str) -> Schema:
    """Return the schema of a variable: ``<int(min=1):id>`` is an integer from 1."""
    given = ARGUMENTS.match(text)
    items, named = parse_converter_args(given["arguments"]) if given else ((), {})
    match kind:
        case "int" | "float":
            low = named.get("min", None if named.get("signed") else 0)
            limits = {"minimum": low, "maximum": named.get("max")}
            return {
                "type": "integer" if kind == "int" else "number",
                **{key: limit for key, limit in limits.items() if limit is not None},
            }
        case "uuid":
            return {"type": "string", "format": "uuid"}
        case "any":
            return {"enum": [str(item) for item in items]}
        case "path":
            described = "It may have slashes in it, written as they are."
            return {"type": "string", "pattern": SEGMENTS, "description": described}
    positional = dict(zip(("minlength", "maxlength", "length"), items, strict=False))
    named = {**positional, **named}
    low = named.get("length") or named.get("minlength") or 1
    high = named.get("length") or named.get("maxlength")
    schema: Schema = {"type": "string", "minLength": low, "pattern": SEGMENT}
    return schema if high is None else {**schema, "maxLength": high}


# -- answers ---------------------------------------------------------------------


def return_of(function: Callable[..., object]) -> Any:
    """Return the type that a function is annotated to return; Any if none."""
    annotation = getattr(function, "__annotations__", {}).get("return", Any)
    if not isinstance(annotation, str):
        return type(None) if annotation is None else annotation
    scope = getattr(function, "__globals__", {})
    try:
        only = types.SimpleNamespace(__annotations__={"return": annotation})
        return typing.get_type_hints(only, globalns=scope).get("return", Any)
    except Exception:  # names that are imported for type checkers alone
        return Any


def members_of(kind: Any) -> tuple[Any, ...]:
    """Return the types that a union is made of; a type itself else."""
    if typing.get_origin(kind) in {typing.Union, types.UnionType}:
        return typing.get_args(kind)
    return (kind,)


def media_type_of(kind: Any) -> str | None:
    """Return how an answer of a type is sent; None if the method decides."""
    cls = typing.get_origin(kind) or kind
    if not isinstance(cls, type) or cls is object or issubclass(cls, Response):
        return None
    if issubclass(cls, str):
        return TEXT
    if issubclass(cls, bytes | bytearray | memoryview):
        return BYTES
    if issubclass(cls, list | tuple | Mapping | Snapshot) or _is_value(cls):
        return JSON
    if cls.__module__ == "kinesis.web.streams":
        return STREAM
    if issubclass(cls, Iterable) and not issubclass(cls, AsyncIterable):
        return TEXT  # streamed
    return None


def _is_value(cls: type) -> bool:
    """Whether *cls* is a class of values that JSON can hold."""
    return (
        issubclass(cls, msgspec.Struct)
        or hasattr(cls, "__attrs_attrs__")
        or hasattr(cls, "__dataclass_fields__")
    )


def types_of(endpoints: Iterable[Endpoint]) -> Iterator[Any]:
    """Yield the types that the path items of routes mention."""
    for endpoint in endpoints:
        for each in members_of(return_of(endpoint.function)):
            if media_type_of(each) is JSON:
                yield each
