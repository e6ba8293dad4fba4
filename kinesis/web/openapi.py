"""
``/-/openapi.json``: what may be asked for, as it is now (OpenAPI 3.1).

Made anew for each request, from the tree: what it says is mounted is, at that
moment.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from kinesis.cells import Cell
from kinesis.reports import all_cells
from kinesis.routing import VARIABLE, Route
from kinesis.web import schemas as shapes
from kinesis.web.answers import JSON, Answer, json_answer
from kinesis.web.bodies import MERGE_PATCH
from kinesis.web.problems import MEDIA_TYPE
from kinesis.web.resources import STEERING, message_types
from kinesis.web.routes import Endpoint, ExtraRoutes, is_up, path_of, table_of
from kinesis.web.schemas import Schema, Schemas
from kinesis.web.security import SAFE, Guard

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

VERSION = "3.1.0"

PROBLEM: Schema = {
    "type": "object",
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "instance": {"type": "string"},
    },
    "required": ["type", "title", "status", "detail", "instance"],
}

IF_MATCH: Schema = {
    "name": "If-Match",
    "in": "header",
    "required": True,
    "description": "The ETag of the state that you have seen.",
    "schema": {"type": "string", "pattern": r'^"[\x21\x23-\x7e]*"$'},
}
IF_NONE_MATCH: Schema = {
    "name": "If-None-Match",
    "in": "header",
    "description": "The ETag that you have: 304 if it is still so.",
    "schema": {"type": "string", "pattern": r'^"[\x21\x23-\x7e]*"$'},
}


class OpenAPI:
    """
    Describes one application.

    Args:
        guard: Says whether a token is needed.
    """

    def __init__(self, root: Cell, extra: ExtraRoutes, guard: Guard) -> None:
        self._root = root
        self._extra = extra
        self._guard = guard

    def page(self, environ: WSGIEnvironment) -> Answer:
        """Show the document."""
        return json_answer(self.document())

    def document(self) -> Schema:
        """Return the document, for what is mounted now."""
        cells = list(all_cells(self._root))
        known = Schemas(_types_in(cells))
        named = _Named(known)
        paths: Schema = dict(_own_pages())
        for cell in cells:
            for path, item in self._of_component(cell, named):
                paths.setdefault(path, item)
        for endpoint in self._extra.endpoints():
            _add_route(paths, endpoint.prefix, endpoint)
        if self._guard.token is not None:
            _secure(paths)
        return {
            "openapi": VERSION,
            "info": {
                "title": self._root.name,
                "description": "The components of a running program.",
                "version": "1",
            },
            "paths": paths,
            "components": {
                "schemas": {**known.shared, **named.made, "problem": PROBLEM},
                "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            },
        }

    def _of_component(self, cell: Cell, named: _Named) -> Iterator[tuple[str, Schema]]:
        """Yield the paths of a component: its own, its messages, its routes."""
        base = path_of(cell)
        yield base, _resource(cell, named)
        for name, kind in message_types(cell).items():
            yield f"{base}/-/messages/{name}", {"post": _send(name, kind, named)}
        if cell.parent is not None:
            for word in STEERING:
                text = f"{word.capitalize()} '{cell.path}', and wait for that."
                operation = _operation(text, {"200": DONE, "202": ASKED})
                yield f"{base}/-/{word}", {"post": operation}
        routes: Schema = {}
        for endpoint in table_of(type(cell.component)).endpoints if is_up(cell) else ():
            _add_route(routes, base, endpoint)
        yield from routes.items()


class _Named:
    """The schemas of component classes, each made once, under a name of its own."""

    def __init__(self, known: Schemas) -> None:
        self.known = known
        self.made: Schema = {}
        self._names: dict[tuple[type, str], str] = {}

    def ref(self, cls: type, use: str) -> Schema:
        """Return a reference to the schema of *cls* for one *use*."""
        name = self._names.get((cls, use))
        if name is None:
            name = f"{use}.{cls.__name__}"
            while name in self.made:
                name += "_"
            self._names[cls, use] = name
            self.made[name] = self._make(cls, use)
        return {"$ref": f"#/components/schemas/{name}"}

    def _make(self, cls: type, use: str) -> Schema:
        match use:
            case "put":
                return shapes.put(cls, self.known)
            case "patch":
                return shapes.patch(cls, self.known)
        return shapes.shown(cls, self.known, is_container=use == "container")


def _types_in(cells: Iterable[Cell]) -> Iterator[Any]:
    """Yield the types of all fields, messages and replies."""
    seen: set[type] = set()
    for cell in cells:
        for kind in message_types(cell).values():
            yield kind
            yield shapes.reply_type(kind)
        cls: type = type(cell.component)
        if cls not in seen:
            seen.add(cls)
            yield from shapes.field_types(cls)


# -- operations ----------------------------------------------------------------------


def _json(schema: Schema, text: str) -> Schema:
    """Return a response with JSON."""
    return {"description": text, "content": {JSON: {"schema": schema}}}


DONE = _json({"type": "object"}, "It is done.")
ASKED = _json({"type": "object"}, "It takes long, and goes on.")
REFUSED: Schema = {
    "description": "Why not.",
    "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/problem"}}},
}


def _operation(summary: str, responses: Schema, **more: Any) -> Schema:
    """Return an operation that may be refused with a problem document."""
    return {"summary": summary, **more, "responses": {**responses, "default": REFUSED}}


def _body(schema: Schema, *kinds: str) -> Schema:
    """Return what a request has to send."""
    content = {kind: {"schema": schema} for kind in kinds}
    return {"required": True, "content": content}


def _resource(cell: Cell, named: _Named) -> Schema:
    """Return the operations on a component itself."""
    cls: type = type(cell.component)
    use = "component" if cell.supervisor is None else "container"
    seen = _json(named.ref(cls, use), "Its state, and where it is in its life.")
    changed = _json(named.ref(cls, "component"), "Its state after the change.")
    item: Schema = {
        "get": _operation(
            f"Show '{cell.path}'.",
            {"200": seen, "304": {"description": "You have it."}},
            parameters=[IF_NONE_MATCH],
        ),
        "put": _operation(
            f"Set all fields of '{cell.path}'.",
            {"200": changed},
            parameters=[IF_MATCH],
            requestBody=_body(named.ref(cls, "put"), JSON),
        ),
        "patch": _operation(
            f"Set some fields of '{cell.path}'.",
            {"200": changed},
            parameters=[IF_MATCH],
            requestBody=_body(named.ref(cls, "patch"), MERGE_PATCH, JSON),
        ),
    }
    if cell.parent is not None:
        item["delete"] = _operation(
            f"Stop and remove '{cell.path}'.",
            {"204": {"description": "It is gone."}, "202": ASKED},
        )
    return item


def _send(name: str, kind: type, named: _Named) -> Schema:
    """Return the operation that sends a message."""
    reply = named.known.of(shapes.reply_type(kind))
    text = (inspect.getdoc(kind) or "").partition("\n")[0]
    return _operation(
        text or f"Send {name}.",
        {"200": _json(reply, "What its handler returned.")},
        requestBody=_body(named.known.of(kind), JSON),
    )


def _add_route(paths: Schema, base: str, endpoint: Endpoint) -> None:
    """Add the operations of a route, its path with variables in braces."""
    route = endpoint.route
    path = base + VARIABLE.sub(lambda found: f"{{{found['name']}}}", route.rule)
    item = paths.setdefault(path, {})
    for method in route.methods:
        if method not in {"HEAD", "OPTIONS"}:
            item.setdefault(method.lower(), _route(endpoint.function, route))


def _route(function: Any, route: Route) -> Schema:
    """Return the operation of a route: what it answers is the method's own."""
    text = (inspect.getdoc(function) or "").partition("\n")[0]
    parameters = [
        {
            "name": found["name"],
            "in": "path",
            "required": True,
            "schema": shapes.variable(found["kind"]),
        }
        for found in VARIABLE.finditer(route.rule)
    ]
    answered = {"default": {"description": "What the method answers."}}
    operation: Schema = {"summary": text or route.name, "responses": answered}
    if parameters:
        operation["parameters"] = parameters
    if route.public:
        operation["security"] = []
    return operation


def _own_pages() -> Iterator[tuple[str, Schema]]:
    """Yield the runtime's own pages."""
    anything: Schema = {"type": "object"}
    for path, text in (
        ("/", "Say where everything is."),
        ("/-/live", "Whether the process answers."),
        ("/-/ready", "Whether every component is up."),
        ("/-/tree", "All components."),
        ("/-/routes", "All routes."),
        ("/-/threads", "The stacks of all threads."),
        ("/-/openapi.json", "This document."),
    ):
        yield path, {"get": _operation(text, {"200": _json(anything, text)})}
    metrics = {"description": "Numbers.", "content": {"text/plain": {"schema": {}}}}
    yield "/-/metrics", {"get": _operation("For Prometheus.", {"200": metrics})}
    events = {
        "description": "Events, for as long as you listen.",
        "content": {"text/event-stream": {"schema": {}}},
    }
    below: Schema = {
        "name": "path",
        "in": "query",
        "description": "The component at or below which the changes are.",
        "schema": {"type": "string"},
    }
    operation = _operation(
        "All changes, as they come.", {"200": events}, parameters=[below]
    )
    yield "/-/events", {"get": operation}


def _secure(paths: Schema) -> None:
    """Say where the token is needed."""
    for path, item in paths.items():
        for method, operation in item.items():
            changes = method.upper() not in SAFE
            if changes or path == "/-/threads":
                operation.setdefault("security", [{"token": []}])
