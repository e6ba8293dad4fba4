"""
JSON Schemas of the types that requests and answers are made of.

msgspec says what a type looks like in JSON. What it leaves out is added here:
keys that are not known are refused, a constructor takes other names than are
shown, and a float that JSON has no number for is shown as text.
"""

from __future__ import annotations

import re
import typing
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from pathlib import PurePath
from typing import Any

import msgspec
from msgspec import inspect

from kinesis.snapshots.canonical import NUMBERS
from kinesis.snapshots.kinds import Part, parts_of, pretty
from kinesis.snapshots.shapes import class_of

PREFIX = "#/components/schemas/"
REF_TEMPLATE = PREFIX + "{name}"

DECIMAL = r"^-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]{1,9})?$"

UNKNOWN = "Any JSON: its type has no schema"
NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9._-]+")

Schema = dict[str, Any]


class Schemas:
    """
    The schemas that one document has among its components.

    Args:
        kinds: All the types that `of` will be asked for. Together, since msgspec
            gives two classes of one name longer names.

    Attributes:
        definitions: By name, to be put below ``components``.
    """

    def __init__(self, kinds: Iterable[Any]) -> None:
        known = {kind: None for kind in kinds if _can_be_key(kind)}
        usable = _usable(list(known))
        classes = _classes_in(usable)
        found, self.definitions = _components([*usable, *classes])
        self._found = dict(zip(usable, found, strict=False))
        for kind, schema in zip(classes, found[len(usable) :], strict=True):
            parts = parts_of(kind)
            name = str(schema.get("$ref", "")).removeprefix(PREFIX)
            if parts is not None and "properties" in self.definitions.get(name, {}):
                closed = _closed(self.definitions[name], parts, kind)
                self.definitions[name] = closed
        self._shown: dict[str, str] = {}
        self._patches: dict[str, str] = {}

    def of(self, kind: Any) -> Schema:
        """Return the schema of *kind*; of anything, with a note, if it has none."""
        if _can_be_key(kind) and kind in self._found:
            return dict(self._found[kind])
        return {"description": f"{UNKNOWN} ({pretty(kind)})."}

    def add(self, name: str, schema: Schema, *, module: str = "") -> Schema:
        """
        Add a schema under a *name* like that; return a reference to it.

        Args:
            module: Put before the name if another schema has it.
        """
        name = unique_name(name, self.definitions, module)
        self.definitions[name] = schema
        return {"$ref": PREFIX + name}

    def as_patch(self, schema: Schema) -> Schema:
        """Return the *schema* of a change to a value: of an object, a merge patch."""
        if "anyOf" in schema:
            return {
                **schema,
                "anyOf": [self.as_patch(each) for each in schema["anyOf"]],
            }
        if "$ref" in schema:
            name = self._patch_name(schema["$ref"].removeprefix(PREFIX))
            return {**schema, "$ref": PREFIX + name}
        if isinstance(values := schema.get("additionalProperties"), dict):
            changed = {"anyOf": [self.as_patch(values), {"type": "null"}]}
            return {**schema, "additionalProperties": changed if values else {}}
        return schema

    def _patch_name(self, name: str) -> str:
        """Return the name of the definition of a change to an object."""
        known = self._patches.get(name)
        definition = self.definitions[name]
        if known is not None or "properties" not in definition:
            return known or name
        known = self._patches[name] = unique_name(f"{name}.patch", self.definitions)
        self.definitions[known] = {}  # it may contain itself
        required = definition.get("required", ())
        properties: dict[str, Schema] = {}
        for key, each in definition["properties"].items():
            if not each.get("readOnly"):
                changed = self.as_patch(each)
                null = () if key in required else ({"type": "null"},)
                properties[key] = {"anyOf": [changed, *null]} if null else changed
        patch = {key: each for key, each in definition.items() if key != "required"}
        self.definitions[known] = {**patch, "properties": properties}
        return known

    def as_shown(self, schema: Schema) -> Schema:
        """Return the *schema* of state as it is read: NaN and infinity are text."""
        return typing.cast("Schema", self._with_numbers(schema))

    def _with_numbers(self, node: Any) -> Any:
        """Return a schema that allows what stands for numbers JSON has not."""
        if isinstance(node, list):
            return [self._with_numbers(each) for each in node]
        if not isinstance(node, dict):
            return node
        if node.get("type") == "number":
            about = {key: node[key] for key in _ABOUT if key in node}
            number = {key: node[key] for key in node if key not in _ABOUT}
            return {**about, "anyOf": [number, {"enum": list(NUMBERS)}]}
        if "$ref" in node:
            name = self._shown_name(node["$ref"].removeprefix(PREFIX))
            return {**node, "$ref": PREFIX + name}
        return {
            key: {name: self._with_numbers(each) for name, each in value.items()}
            if key == "properties"
            else self._with_numbers(value)
            if key in _WITH_SCHEMAS
            else value
            for key, value in node.items()
        }

    def _shown_name(self, name: str) -> str:
        """Return the name of a definition as it is read; its own without floats."""
        if name not in self._shown:
            self._shown[name] = name
            if self._has_numbers(name, set()):
                shown = unique_name(f"{name}.shown", self.definitions)
                self._shown[name] = shown
                self.definitions[shown] = {}  # it may contain itself
                self.definitions[shown] = self._with_numbers(self.definitions[name])
        return self._shown[name]

    def _has_numbers(self, name: str, seen: set[str]) -> bool:
        """Whether there is a float in a definition, or in what it refers to."""
        if name in seen:
            return False
        seen.add(name)
        nodes = list(_nodes_in(self.definitions[name]))
        return any(
            node.get("type") == "number"
            or (
                "$ref" in node
                and self._has_numbers(node["$ref"].removeprefix(PREFIX), seen)
            )
            for node in nodes
        )


_WITH_SCHEMAS = frozenset(
    {"additionalProperties", "allOf", "anyOf", "items", "oneOf", "prefixItems"}
)
_ABOUT = ("title", "description", "default", "examples", "readOnly", "writeOnly")


def unique_name(name: str, taken: Mapping[str, Any], module: str = "") -> str:
    """Return a *name* that is not taken, and that OpenAPI allows."""
    name = NOT_IN_NAMES.sub("_", name)
    if name in taken and module:
        name = NOT_IN_NAMES.sub("_", f"{module}.{name}")
    plain, count = name, 1
    while name in taken:
        count += 1
        name = f"{plain}_{count}"
    return name


def _nodes_in(node: Any) -> Iterator[Schema]:
    """Yield every schema in a schema, itself first."""
    if isinstance(node, list):
        for each in node:
            yield from _nodes_in(each)
    if not isinstance(node, dict):
        return
    yield node
    for key, value in node.items():
        if key == "properties":
            yield from _nodes_in(list(value.values()))
        elif key in _WITH_SCHEMAS:
            yield from _nodes_in(value)


# -- what msgspec says ---------------------------------------------------------


def _can_be_key(kind: Any) -> bool:
    """Whether a type has a hash: what `Annotated` adds may have none."""
    try:
        hash(kind)
    except TypeError:
        return False
    return True


def _usable(kinds: list[Any]) -> list[Any]:
    """Return those of *kinds* that msgspec has a schema for."""
    if _work(kinds):
        return kinds
    kinds = [kind for kind in kinds if _work([kind])]
    if _work(kinds):
        return kinds
    usable: list[Any] = []  # msgspec mixes up two classes of one name and module
    for kind in kinds:
        if _work([*usable, kind]):
            usable.append(kind)
    return usable


def _work(kinds: list[Any]) -> bool:
    """Whether msgspec can say what *kinds* look like."""
    try:
        _components(kinds)
    except Exception:  # what annotations are made of can raise anything
        return False
    return True


def _components(kinds: list[Any]) -> tuple[list[Schema], dict[str, Schema]]:
    """Return the schemas of *kinds*, and the definitions that they refer to."""
    found, definitions = msgspec.json.schema_components(
        map(_without_deques, kinds),
        schema_hook=_schema_of_ours,
        ref_template=REF_TEMPLATE,
    )
    for node in list(_nodes_in([*found, *definitions.values()])):
        _loosen(node)
    return list(found), dict(definitions)


def _loosen(node: Schema) -> None:
    """Let a schema allow what msgspec reads, besides what it writes."""
    node.pop("uniqueItems", None)  # a set may be sent with an item twice
    if node.get("format") == "decimal":
        text = {key: node.pop(key) for key in ("type", "format")}
        node["anyOf"] = [{**text, "pattern": DECIMAL}, {"type": "number"}]


def _without_deques(kind: Any) -> Any:
    """Return *kind* with lists for deques, of whose items msgspec knows nothing."""
    if class_of(kind) is deque:
        return list[(*typing.get_args(kind), Any)[0]]  # type: ignore[misc]  # known at run time only
    return kind


def _schema_of_ours(kind: Any) -> Schema:
    """Return the schema of a type that `kinesis.snapshots.shapes` encodes."""
    cls = class_of(kind)
    if cls is object:
        return {}
    if cls is deque:
        return {"type": "array"}
    if isinstance(cls, type) and issubclass(cls, PurePath):
        return {"type": "string"}
    raise NotImplementedError(f"{kind!r} has no form in JSON")


def _classes_in(kinds: list[Any]) -> list[Any]:
    """Return the classes of values that *kinds* are made of, each once."""
    found: dict[Any, None] = {}
    for info in inspect.multi_type_info(map(_without_deques, kinds)):
        _collect(info, found)
    return list(found)


def _collect(info: Any, found: dict[Any, None]) -> None:
    """Add the classes in what msgspec knows of a type."""
    fields = getattr(info, "fields", None)
    if fields is not None:
        if info.cls in found:
            return
        if not isinstance(info, inspect.NamedTupleType):
            found[info.cls] = None
        for field in fields:
            _collect(field.type, found)
    for name in ("type", "item_type", "key_type", "value_type"):
        if isinstance(part := getattr(info, name, None), inspect.Type):
            _collect(part, found)
    for name in ("item_types", "types"):
        for part in getattr(info, name, ()):
            _collect(part, found)


def _closed(definition: Schema, parts: Mapping[str, Part], kind: Any) -> Schema:
    """
    Return the schema of a class that takes no other keys than its constructor's.

    Its attributes are shown by their names, its arguments are read by theirs.
    """
    schemas = definition["properties"]
    hidden = (
        set() if _shows_all(class_of(kind)) else {n for n in schemas if n[0] == "_"}
    )
    attributes = {part.attribute for part in parts.values()}
    properties: dict[str, Schema] = {}
    for name, schema in schemas.items():
        if name not in attributes and name not in hidden:  # not an argument
            properties[name] = {**schema, "readOnly": True}
    for key, part in parts.items():
        schema = schemas.get(part.attribute, {})
        if key == part.attribute and key not in hidden:
            properties[key] = schema
            continue
        properties[key] = {**schema, "writeOnly": True}
        if part.attribute not in hidden:
            properties[part.attribute] = {**schema, "readOnly": True}
    required = [key for key, part in parts.items() if part.required]
    closed = {**definition, "properties": properties, "additionalProperties": False}
    closed.pop("required", None)
    return {**closed, "required": required} if required else closed


def _shows_all(cls: Any) -> bool:
    """Whether msgspec shows what begins with an underscore too."""
    return typing.is_typeddict(cls) or issubclass(cls, msgspec.Struct)
