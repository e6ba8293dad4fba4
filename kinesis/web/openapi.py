"""
``/-/openapi.json``: what may be asked for, as it is now (OpenAPI 3.1).

It is made anew for each request, from the tree, and so is never out of date. With
1 000 components of 50 classes that takes about 50 ms, for a page that tools read
once; there is nothing cheap that would tell whether an older one still holds,
since a component may add a handler to itself at any time.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import attrs

from kinesis.cells import Cell
from kinesis.reports import all_cells
from kinesis.web import openapi_items, openapi_pages, openapi_routes
from kinesis.web.answers import Answer, json_answer
from kinesis.web.openapi_items import Items
from kinesis.web.openapi_parts import BEARER, Part, components, text_of
from kinesis.web.openapi_routes import Routes, by_template, template_of
from kinesis.web.openapi_schemas import Schemas, unique_name
from kinesis.web.resources import STEERING, message_types
from kinesis.web.routes import Endpoint, ExtraRoutes, is_up, path_of, table_of
from kinesis.web.security import Guard

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

VERSION = "3.1.0"

DESCRIPTION = """\
Every component is a resource at its path, in lower case. Errors are problem
documents (RFC 9457). Each answer has a `traceparent`, that of the request if it
has one."""

ITEMS = "#/components/pathItems/"


class OpenAPI:
    """
    Describes one application.

    Args:
        root: The tree that it serves.
        extra: Its routes that belong to no component.
        guard: Returns who says whether a token is needed.
        pages: The runtime's own, by path; those that are there when asked.
        sensitive: The paths of those that need the token as well.
    """

    def __init__(
        self,
        root: Cell,
        extra: ExtraRoutes,
        guard: Callable[[], Guard],
        pages: Collection[str],
        sensitive: Collection[str],
    ) -> None:
        self._root = root
        self._extra = extra
        self._guard = guard
        self._pages = pages
        self._sensitive = sensitive

    def page(self, environ: WSGIEnvironment) -> Answer:
        """Show the document."""
        made = document(
            self._root,
            extra=self._extra.endpoints(),
            pages=self._pages,
            sensitive=self._sensitive,
            secured=self._guard().token is not None,
        )
        return json_answer(made)


def document(
    root: Cell,
    *,
    title: str | None = None,
    version: str = "1",
    extra: Iterable[Endpoint] = (),
    pages: Collection[str] = (),
    sensitive: Collection[str] = (),
    secured: bool = False,
    servers: Iterable[str] = (),
) -> dict[str, Any]:
    """
    Return the document of the tree below *root*, as it is now.

    Args:
        title: The root's name by default.
        version: Of the program.
        extra: Routes that belong to no component.
        pages: Paths of the runtime's own.
        sensitive: Those of them that need the token as well.
        secured: Whether what changes something needs a token.
        servers: Addresses; by default, where the document comes from.

    Thread safety: any thread may call it, while components come and go.
    """
    cells = list(all_cells(root))
    extra = list(extra)
    made = _Document(Schemas(_types_in(cells, extra)), secured)
    for path in pages:
        needs_token = secured and path in sensitive
        made.paths[path] = openapi_pages.page(path, secured=needs_token)
    for cell in cells:
        made.add_component(cell)
    made.add_extra(extra)
    found: dict[str, Any] = {
        "openapi": VERSION,
        "info": {
            "title": root.name if title is None else title,
            "version": version,
            "description": DESCRIPTION,
        },
    }
    if listed := list(servers):
        found["servers"] = [{"url": url} for url in listed]
    return {**found, **made.rest()}


@attrs.define(eq=False)
class _Document:
    """A document that is being made."""

    schemas: Schemas
    secured: bool
    paths: dict[str, Part] = attrs.field(factory=dict)
    items: dict[str, Part] = attrs.field(factory=dict)
    tags: dict[str, str] = attrs.field(factory=dict)
    parts: Part = attrs.field(factory=components)
    _below: dict[str, Part] = attrs.field(factory=dict)
    _messages: dict[type, Part] = attrs.field(factory=dict)
    _classes: dict[type, _Class] = attrs.field(factory=dict)
    _tag_of: dict[type, str] = attrs.field(factory=dict)

    def __attrs_post_init__(self) -> None:
        self.schemas.definitions |= {**self.parts["schemas"], **openapi_pages.SCHEMAS}
        made = Items(self.schemas, self.secured).steering()
        self._below = {word: self._keep(word, item) for word, item in made.items()}

    def _keep(self, name: str, item: Part, module: str = "") -> Part:
        """Keep a path item among the components; return a reference to it."""
        name = unique_name(name, self.items, module)
        self.items[name] = item
        return {"$ref": ITEMS + name}

    # -- components -------------------------------------------------------------

    def add_component(self, cell: Cell) -> None:
        """Add the paths of a component."""
        base, paths = path_of(cell), self.paths
        known = self._class_of(type(cell.component), is_root=cell.parent is None)
        paths[base] = known.resource
        if cell.parent is not None:
            for word in STEERING:
                paths[f"{base}/-/{word}"] = self._below[word]
        paths[f"{base}/-/messages"] = self._below["messages"]
        for name, kind in message_types(cell).items():
            paths[f"{base}/-/messages/{name}"] = self._message(kind)
        if is_up(cell):
            for template, item in known.routes:
                paths[base + template] = item

    def _class_of(self, cls: type, *, is_root: bool) -> _Class:
        """Return the path items of a component class, made once."""
        known = self._classes.get(cls)
        if known is None:
            known = self._classes[cls] = self._new_class(cls)
        if not is_root:
            return known
        item = self.items[known.resource["$ref"].removeprefix(ITEMS)]
        resource = {key: each for key, each in item.items() if key != "delete"}
        return attrs.evolve(known, resource=resource)

    def _new_class(self, cls: type) -> _Class:
        """Return the path items of a component class."""
        tag, routes = self._tag(cls), Routes(self.schemas, self.secured)
        item = Items(self.schemas, self.secured).component(cls, tag)
        return _Class(
            self._keep(tag, item, cls.__module__),
            [
                (path, self._keep(f"{tag}{path}", routes.item(path, same, tag)))
                for path, same in by_template(table_of(cls).endpoints).items()
            ],
        )

    def _tag(self, cls: type) -> str:
        """Return the word by which operations of a class are found."""
        tag = self._tag_of.get(cls)
        if tag is None:
            taken = {**self.tags, **dict.fromkeys(RESERVED)}
            tag = self._tag_of[cls] = unique_name(cls.__name__, taken, cls.__module__)
            self.tags[tag] = text_of(cls.__doc__)[0]
        return tag

    def _message(self, kind: type) -> Part:
        """Return the path item of a message, made once."""
        item = self._messages.get(kind)
        if item is None:
            made = Items(self.schemas, self.secured).message(kind)
            name = f"messages.{kind.__name__}"
            item = self._messages[kind] = self._keep(name, made, kind.__module__)
        return item

    # -- the rest ---------------------------------------------------------------

    def add_extra(self, endpoints: list[Endpoint]) -> None:
        """Add the routes of no component, where no component has its own."""
        routes = Routes(self.schemas, self.secured)
        by_prefix: dict[str, list[Endpoint]] = {}
        for endpoint in endpoints:
            by_prefix.setdefault(endpoint.prefix, []).append(endpoint)
        for prefix, below in by_prefix.items():
            start = template_of(prefix)
            for path, same in by_template(below).items():
                item = routes.item(path, same, "others")
                self.paths.setdefault(start + path, item)

    def rest(self) -> dict[str, Any]:
        """Return all of the document but its head."""
        self.parts["schemas"] = self.schemas.definitions
        self.parts["pathItems"] = self.items
        found: dict[str, Any] = {"paths": self.paths, "components": self.parts}
        if self.secured:
            scheme = {"type": "http", "scheme": "bearer"}
            self.parts["securitySchemes"] = {BEARER: scheme}
        found["tags"] = [
            {"name": name, **({"description": text} if text else {})}
            for name, text in self.tags.items()
        ]
        return found


RESERVED = (
    openapi_pages.TAG,
    openapi_items.MESSAGES,
    openapi_items.STEERING,
    "others",
)


@attrs.frozen
class _Class:
    """References to the path items of a component class."""

    resource: Part
    routes: list[tuple[str, Part]]


def _types_in(cells: list[Cell], extra: list[Endpoint]) -> Iterator[Any]:
    """Yield the types of all fields, messages, replies and answers."""
    seen: set[type] = set()
    for cell in cells:
        cls: type = type(cell.component)
        if cls not in seen:
            seen.add(cls)
            yield from openapi_items.types_of(cls)
            yield from openapi_routes.types_of(table_of(cls).endpoints)
        for kind in message_types(cell).values():
            if kind not in seen:
                seen.add(kind)
                yield from openapi_items.types_of_message(kind)
    yield from openapi_routes.types_of(extra)
