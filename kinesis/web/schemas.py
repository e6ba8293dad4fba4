"""
JSON Schemas of what components take and show, for the OpenAPI document.
"""

from __future__ import annotations

import typing
from collections import deque
from collections.abc import Iterable, Mapping
from pathlib import PurePath
from typing import Any

import msgspec

from kinesis.messages import Message
from kinesis.snapshots import codec_of
from kinesis.snapshots.shapes import class_of
from kinesis.stages import Stage, State
from kinesis.web.bodies import READ_ONLY

Schema = dict[str, Any]

TEMPLATE = "#/components/schemas/{name}"

ANYTHING: Schema = {}
TEXT: Schema = {"type": "string"}


class Schemas:
    """
    The schemas of some types, and the shared ones that they refer to.

    msgspec makes them, all at once, so that two classes of one name get two names.
    """

    def __init__(self, types: Iterable[Any]) -> None:
        usable = [kind for kind in _distinct(types) if _has_schema(kind)]
        made, shared = msgspec.json.schema_components(
            usable, schema_hook=_hook, ref_template=TEMPLATE
        )
        self.shared: Schema = {name: _closed(each) for name, each in shared.items()}
        self._made = list(zip(usable, made, strict=True))

    def of(self, kind: Any) -> Schema:
        """Return the schema of *kind*; of anything, if it has none."""
        for known, schema in self._made:
            if known is kind or (type(known) is type(kind) and known == kind):
                return schema
        return ANYTHING


def _distinct(types: Iterable[Any]) -> list[Any]:
    """Return each type once, also those that have no hash."""
    found: list[Any] = []
    for kind in types:
        if not any(each is kind or each == kind for each in found):
            found.append(kind)
    return found


def _has_schema(kind: Any) -> bool:
    """Whether msgspec can describe *kind*."""
    try:
        msgspec.json.schema_components([kind], schema_hook=_hook, ref_template=TEMPLATE)
    except Exception:  # whatever annotations are made of
        return False
    return True


def _hook(kind: Any) -> Schema:
    """Return the schema of what msgspec leaves to us."""
    cls = class_of(kind)
    if isinstance(cls, type) and issubclass(cls, PurePath):
        return TEXT
    if cls is deque:
        return {"type": "array"}
    return ANYTHING


def _closed(schema: Schema) -> Schema:
    """Return the schema of an object that has no other keys: we refuse them."""
    if "properties" in schema and "additionalProperties" not in schema:
        return {**schema, "additionalProperties": False}
    return schema


# -- components ------------------------------------------------------------------


def field_types(cls: type) -> list[Any]:
    """Return the types of a component's fields."""
    return [field.type for field in codec_of(cls).fields.values()]


def shown(cls: type, schemas: Schemas, *, is_container: bool) -> Schema:
    """Return the schema of a component's representation."""
    codec = codec_of(cls)
    head: Schema = {
        "name": TEXT,
        "path": TEXT,
        "type": {"const": cls.__name__},
        "stage": {"enum": [stage.value for stage in Stage]},
        "state": {"enum": [state.value for state in State]},
        "etag": TEXT,
    }
    fields = {
        name: {"type": "string", "description": "A secret: masked."}
        if name in codec.secret
        else _with_odd_numbers(schemas.of(field.type))
        for name, field in codec.fields.items()
    }
    if is_container:
        fields["children"] = {"type": "array", "items": CHILD}
    properties = {**head, **fields}
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
    }


CHILD: Schema = {
    "type": "object",
    "properties": {"name": TEXT, "href": TEXT, "type": TEXT, "stage": TEXT},
    "required": ["name", "href", "type", "stage"],
}


def _with_odd_numbers(schema: Schema) -> Schema:
    """Return the schema of a number that may be one JSON lacks, shown as text."""
    if schema.get("type") != "number":
        return schema
    return {"anyOf": [schema, {"enum": ["NaN", "Infinity", "-Infinity"]}]}


def put(cls: type, schemas: Schemas) -> Schema:
    """Return the schema of what sets all fields of a component."""
    fields = {n: schemas.of(f.type) for n, f in codec_of(cls).fields.items()}
    return {
        "type": "object",
        "properties": {**_read_only(fields), **fields},
        "required": list(fields),
        "additionalProperties": False,
    }


def patch(cls: type, schemas: Schemas) -> Schema:
    """Return the schema of what sets some fields of a component."""
    fields = {
        name: _mergeable(schemas.of(field.type))
        for name, field in codec_of(cls).fields.items()
    }
    return {"type": "object", "properties": fields, "additionalProperties": False}


def _read_only(fields: Mapping[str, Schema]) -> Schema:
    """Return the schemas of what a PUT may send back as a GET has shown it."""
    kept = [name for name in READ_ONLY if name not in fields]
    return {name: {"readOnly": True} for name in kept}


def _mergeable(schema: Schema) -> Schema:
    """Return the schema of a patch for a value: part of an object is enough."""
    if schema.get("type") == "object" or "$ref" in schema or "anyOf" in schema:
        return {"description": "Merged into what is there."}
    return schema


def reply_type(kind: type) -> Any:
    """Return what the handler of a message answers, as ``Message[int]`` says."""
    for cls in kind.__mro__:
        for base in getattr(cls, "__orig_bases__", ()):
            if typing.get_origin(base) is Message:
                reply = typing.get_args(base)[0]
                return Any if isinstance(reply, typing.TypeVar) else reply
    return Any


# -- variables of routes -----------------------------------------------------------

_CONVERTERS: Mapping[str | None, Schema] = {
    "int": {"type": "integer", "minimum": 0},
    "float": {"type": "number", "minimum": 0},
    "uuid": {"type": "string", "format": "uuid"},
    "path": {"type": "string", "minLength": 1, "pattern": "^[^/].*$"},
}
_SEGMENT: Schema = {"type": "string", "minLength": 1, "pattern": "^[^/]+$"}


def variable(kind: str | None) -> Schema:
    """Return the schema of a rule's variable with the converter *kind*."""
    return _CONVERTERS.get(kind, _SEGMENT)
