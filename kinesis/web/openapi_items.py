"""
What can be asked of components, as path items of an OpenAPI document.

There is one path item for all components of a class: the paths refer to it, so
that a thousand components do not make a document of megabytes.
"""

from __future__ import annotations

import typing
from collections.abc import Iterator
from typing import Any

import attrs

from kinesis.container import Container
from kinesis.declared import FieldInfo, fields_of
from kinesis.declared.annotations import substitute
from kinesis.messages import Message, handlers_of
from kinesis.snapshots import MASK
from kinesis.snapshots.shapes import shape_of
from kinesis.web.bodies import MERGE_PATCH
from kinesis.web.openapi_parts import (
    ALWAYS,
    FOREIGN,
    JSON,
    LINE,
    STAGE,
    STATE,
    Part,
    answer,
    bodiless,
    errors,
    json_content,
    object_schema,
    operation,
    options,
    parameter,
    text_of,
)
from kinesis.web.openapi_schemas import Schema, Schemas
from kinesis.web.representation import Shows

MESSAGES = "messages"  # tags
STEERING = "steering"

STEPS = {
    "restart": "Restart the component",
    "start": "Start the component again after a stop",
    "stop": "Stop the component, to stay so",
}


@attrs.frozen
class Items:
    """
    Makes path items.

    Args:
        schemas: Of everything that they mention.
        secured: Whether what changes something needs a token.
    """

    schemas: Schemas
    secured: bool

    @property
    def change(self) -> tuple[int, ...]:
        """The errors of all that changes something."""
        return (*ALWAYS, 404, *FOREIGN, *((401,) if self.secured else ()))

    # -- the component itself -----------------------------------------------------

    def component(self, cls: type, tag: str) -> Part:
        """Return the path item of components of a class; the root has no DELETE."""
        fields = _state_of(cls)
        shown = self.schemas.add(
            tag, self._representation(cls, fields), module=cls.__module__
        )
        got = answer(f"The {tag}.", json_content(shown), ["ETag"])
        read = operation(
            f"Look at the {tag}",
            tag,
            {
                "200": got,
                "304": answer("It is still what was seen.", None, ["ETag"]),
                **errors((*ALWAYS, *FOREIGN, 404)),
            },
            description="\n\n".join(filter(None, text_of(cls.__doc__))),
            parameters=[parameter("IfNoneMatch")],
        )
        item = {"get": read, "head": bodiless(read), "options": options(tag)}
        item |= self._changes(cls, tag, fields)
        item["delete"] = self._removal(tag)
        return item

    def _changes(self, cls: type, tag: str, fields: list[FieldInfo]) -> Part:
        """Return PUT and PATCH."""
        whole = self._body(fields, patch=False)
        part = self._body(fields, patch=True)
        replacement = self.schemas.add(f"{tag}Put", whole, module=cls.__module__)
        patch = self.schemas.add(f"{tag}Patch", part, module=cls.__module__)
        # A change answers without what a listing of children adds.
        state = self._representation(cls, fields, besides=False)
        responses = {
            "200": answer("The state after it.", json_content(state), ["ETag"]),
            **errors((*self.change, 409, 412, 415, 422, 428, 504)),
        }
        return {
            "put": operation(
                "Set all fields",
                tag,
                responses,
                parameters=[parameter("IfMatch")],
                body=json_content(replacement),
                secured=self.secured,
            ),
            "patch": operation(
                "Set some fields",
                tag,
                responses,
                description="A merge patch, RFC 7396: in an object, null removes a "
                "key; a field itself cannot be removed, null is its value.",
                parameters=[parameter("IfMatch")],
                body=json_content(patch, MERGE_PATCH, JSON),
                secured=self.secured,
            ),
        }

    def _removal(self, tag: str) -> Part:
        """Return DELETE."""
        return operation(
            "Stop and remove the component",
            tag,
            {
                "204": answer("It is gone."),
                "202": self._asked("It takes long, and goes on."),
                **errors((*self.change, 409, 412)),
            },
            parameters=[parameter("IfMatchOptional")],
            secured=self.secured,
        )

    def _representation(
        self, cls: type, fields: list[FieldInfo], *, besides: bool = True
    ) -> Schema:
        """Return the schema of what a GET shows; perhaps of the state alone."""
        properties: dict[str, Schema] = {
            "name": {"type": "string"},
            "path": {"type": "string"},
            "type": {"const": cls.__name__},
            "stage": STAGE,
            "state": STATE,
            "etag": {"type": "string"},
        }
        for field in fields:
            schema = self.schemas.as_shown(self.schemas.of(field.type))
            properties[field.name] = _masked() if field.secret else schema
        if besides and issubclass(cls, Shows):
            for name, kind in cls.shown_types.items():
                properties[name] = self.schemas.of(kind)
        if besides and issubclass(cls, Container):
            properties["children"] = {"type": "array", "items": LINE}
        return object_schema(properties)

    def _body(self, fields: list[FieldInfo], *, patch: bool) -> Schema:
        """
        Return the schema of what a PUT or PATCH takes.

        What a GET shows besides the fields may be sent back with them. No secret is
        demanded: who has read all the others has not seen it.
        """
        properties: dict[str, Schema] = {}
        for field in fields:
            schema = self.schemas.of(field.type)
            if patch:
                schema = self.schemas.as_patch(schema)
            if field.secret:
                schema = {"anyOf": [_masked(), schema]}
            properties[field.name] = schema
        required = [] if patch else [each.name for each in fields if not each.secret]
        body: Schema = {
            "type": "object",
            "properties": properties,
            "additionalProperties": False,
        }
        return {**body, "required": required} if required else body

    # -- below /-/ -----------------------------------------------------------------

    def steering(self) -> dict[str, Part]:
        """Return the path items that are the same for all components."""
        made = {word: self._step(word) for word in STEPS}
        link = object_schema({"name": {"type": "string"}, "href": {"type": "string"}})
        listed = object_schema(
            {"path": {"type": "string"}, "messages": {"type": "array", "items": link}}
        )
        read = operation(
            "List the messages that the component handles",
            MESSAGES,
            {
                "200": answer("The messages.", json_content(listed)),
                **errors((*ALWAYS, *FOREIGN, 404)),
            },
        )
        made["messages"] = {
            "get": read,
            "head": bodiless(read),
            "options": options(MESSAGES),
        }
        return made

    def _step(self, word: str) -> Part:
        """Return the path item of a restart, start or stop."""
        responses = {
            "200": self._asked("Done."),
            "202": self._asked("It takes long, and goes on."),
            **errors((*self.change, 409)),
        }
        ask = operation(STEPS[word], STEERING, responses, secured=self.secured)
        return {"post": ask, "options": options(STEERING)}

    def _asked(self, description: str) -> Part:
        """Return the response that says what was asked of a component."""
        properties = {
            **{name: {"type": "string"} for name in ("name", "href", "type", "asked")},
            "stage": STAGE,
        }
        return answer(description, json_content(object_schema(properties)))

    def message(self, kind: type) -> Part:
        """Return the path item of a message."""
        summary, more = text_of(kind.__doc__)
        send = operation(
            f"Send {kind.__name__}",
            MESSAGES,
            {
                "200": answer("The handler's reply.", json_content(self._reply(kind))),
                **errors((*self.change, 409, 415, 422, 504)),
            },
            description="\n\n".join(filter(None, (summary, more))),
            body=json_content(self._message(kind)),
            secured=self.secured,
        )
        return {"post": send, "options": options(MESSAGES)}

    def _message(self, kind: type) -> Schema:
        """Return the schema of a message's body."""
        if shape_of(kind).problem:
            return {
                "description": "Nothing but its class: an empty object.",
                "type": "object",
                "maxProperties": 0,
            }
        return self.schemas.of(kind)

    def _reply(self, kind: type) -> Schema:
        """Return the schema of what the handler of a message answers."""
        reply = reply_of(kind)
        if reply is Any:
            return {"description": "Whatever the handler returns."}
        return self.schemas.as_shown(self.schemas.of(reply))


def _state_of(cls: type) -> list[FieldInfo]:
    """Return the fields that are state."""
    return [field for field in fields_of(cls).values() if field.kind == "state"]


def _masked() -> Schema:
    """Return the schema of a secret, as it is shown."""
    return {"const": MASK, "description": "A secret: sent back so, it is left as is."}


def types_of(cls: type) -> Iterator[Any]:
    """Yield the types that the path items of a component class mention."""
    for field in _state_of(cls):
        yield field.type
    for kind in handlers_of(cls):
        yield from types_of_message(kind)


def types_of_message(kind: type) -> Iterator[Any]:
    """Yield the types that the path item of a message mentions."""
    if not shape_of(kind).problem:
        yield kind
    yield reply_of(kind)


def reply_of(kind: type) -> Any:
    """Return the *R* of a ``Message[R]``; Any for other classes."""
    return _argument(kind, {})


def _argument(kind: Any, bound: dict[Any, Any]) -> Any:
    """Return what a class, or an alias of it, has put in the place of *R*."""
    origin = typing.get_origin(kind) or kind
    names = getattr(origin, "__parameters__", ())
    given = [substitute(each, bound) for each in typing.get_args(kind)]
    if origin is Message:
        return given[0] if given and not isinstance(given[0], typing.TypeVar) else Any
    bound = dict(zip(names, given, strict=False))
    for base in getattr(origin, "__orig_bases__", origin.__bases__):
        if issubclass(typing.get_origin(base) or base, Message):
            return _argument(base, bound)
    return Any
