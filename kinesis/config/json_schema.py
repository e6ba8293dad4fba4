"""
A JSON Schema of the file, for editors to complete and check it while typing.

It knows the words and types, not the program: whether a class exists and what
its ``config`` takes is checked by `load`, or, for classes that are given to
`schema`, by the schema too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from kinesis.config.checking import CHOICES, WHENS
from kinesis.declared import FieldInfo, fields_of
from kinesis.restarts import STRATEGIES

DRAFT = "https://json-schema.org/draft/2020-12/schema"

_VARIABLE = {"$ref": "#/$defs/variable"}
_NAME_PATTERN = r"^[A-Za-z0-9._~-]+$"
_TYPE_PATTERN = r"^[^\s:]+:[^\s:]+$"

Schema = dict[str, Any]


def schema(types: Iterable[type] = ()) -> Schema:
    """
    Return the JSON Schema (draft 2020-12) of a kinesis file.

    Wherever a number or a word is expected, ``${NAME}`` is fine too.

    Args:
        types: Component classes whose ``config`` is to be checked as well, where
            a file names them as ``module:Class``.
    """
    kinds = tuple(types)
    rules, definitions = _config_rules(kinds)
    component = _component()
    if rules:
        component["allOf"] = rules
    return {
        "$schema": DRAFT,
        "title": "A kinesis program",
        "description": "Components that kinesis runs, supervises and stops.",
        **_mapping(_program(), required=["name", "components"]),
        "$defs": {
            "variable": {
                "description": "Takes environment variables: ${NAME}, or "
                "${NAME:-default}.",
                "type": "string",
                "pattern": r"\$\{",
            },
            "component": component,
            "restart": _restart(),
            "backoff": _backoff(),
            **definitions,
        },
    }


def _program() -> Schema:
    """Return the keys of the file."""
    return {
        "name": _name("The program's name: the first part of every path."),
        "components": _components("What the program consists of, in start order."),
        "strategy": _strategy(),
        "shutdown_deadline": _seconds("Seconds for the whole shutdown. Default: 30."),
        "http": {
            "description": "The HTTP server; 'off' for none.",
            "anyOf": [
                {"enum": ["on", "off", True, False]},
                _VARIABLE,
                _mapping(
                    {
                        "host": _text("The address to listen at. Default: 127.0.0.1."),
                        "port": _whole(
                            "The port; 0 takes a free one. Default: 8080.", 0, 65535
                        ),
                        "token": _text(
                            "What requests that change something must carry; needed "
                            "where the address is not loopback. Write ${NAME} here."
                        ),
                        "hosts": {
                            "description": "More names of this server, such as those "
                            "of a proxy before it.",
                            "type": "array",
                            "items": {"type": "string"},
                        },
                        "cert": _text("PEM file of the certificate, for HTTPS."),
                        "key": _text("PEM file of the certificate's key."),
                        "stop_delay": _duration(
                            "Seconds between /-/ready failing and new requests being "
                            "refused, at a stop. Default: 0."
                        ),
                        "threads": _whole(
                            "So many requests are answered at once. Default: 8.", 1
                        ),
                    }
                ),
            ],
        },
    }


def _component() -> Schema:
    """Return the schema of one component."""
    keys = {
        "name": _name("Unique among its siblings; the last part of its path."),
        "type": {
            "description": "The class, as 'package.module:Class'. It is looked up "
            "beside this file first. A container if left out.",
            "anyOf": [{"type": "string", "pattern": _TYPE_PATTERN}, _VARIABLE],
        },
        "config": {
            "description": "Values for the fields of the class.",
            "type": ["object", "null"],
        },
        "restart": {"$ref": "#/$defs/restart"},
        "start_deadline": _seconds("Seconds to come up. Default: 30."),
        "stop_deadline": _seconds("Seconds to stop. Default: 5."),
        "components": _components("Children, in start order. This is a container."),
        "strategy": _strategy(),
        "stall_after": _seconds("A handler that takes longer is reported. Default: 5."),
        "mailbox_bound": _whole("So many messages may wait. Default: 10 000.", 1),
        "overflow": _choice("What a full mailbox does.", CHOICES["overflow"]),
        "on_stop": _choice("What happens to waiting messages.", CHOICES["on_stop"]),
        "dispatch": _choice("Whose thread handles messages.", CHOICES["dispatch"]),
    }
    either = [{"required": ["type"]}, {"required": ["components"]}]
    described = {"description": "A component, or a container of components."}
    return {**described, **_mapping(keys, required=["name"]), "anyOf": either}


def _restart() -> Schema:
    """Return the schema of a restart policy."""
    keys = {
        "when": _choice("Which ends are followed by a restart.", WHENS),
        "backoff": {"$ref": "#/$defs/backoff"},
        "limit": _whole("So many restarts within the window. Default: 5.", 0),
        "window": _number("Seconds that the limit looks back. Default: 60."),
    }
    return {
        "description": "What follows when the component ends. Default: on-failure.",
        "anyOf": [{"enum": list(WHENS)}, _VARIABLE, _mapping(keys)],
    }


def _backoff() -> Schema:
    """Return the schema of the waits between restarts."""
    keys = {
        "first": _number("Seconds before the first restart. Default: 0.1."),
        "factor": _number("Each wait is so many times the last. Default: 2."),
        "most": _number("Seconds that no wait exceeds. Default: 30."),
        "jitter": _number("Fraction by which a wait varies. Default: 0.1."),
    }
    return {"description": "How long to wait before restarts.", **_mapping(keys)}


def _mapping(keys: Mapping[str, Schema], required: Sequence[str] = ()) -> Schema:
    """Return the schema of a mapping that has no other *keys*."""
    return {
        "type": "object",
        "properties": dict(keys),
        "additionalProperties": False,
        **({"required": list(required)} if required else {}),
    }


def _name(description: str) -> Schema:
    """Return the schema of a name."""
    pattern = {"type": "string", "pattern": _NAME_PATTERN}
    return {"description": description, "anyOf": [pattern, _VARIABLE]}


def _text(description: str) -> Schema:
    """Return the schema of a text."""
    return {"description": description, "type": "string"}


def _components(description: str) -> Schema:
    """Return the schema of a list of components."""
    items = {"$ref": "#/$defs/component"}
    return {"description": description, "type": "array", "items": items}


def _strategy() -> Schema:
    """Return the schema of a container's strategy."""
    return _choice(
        "Which children a restart concerns: the one that ended, also those after "
        "it, or all. Default: one-for-one.",
        STRATEGIES,
    )


def _choice(description: str, choices: Sequence[str]) -> Schema:
    """Return the schema of one of *choices*."""
    return {"description": description, "anyOf": [{"enum": list(choices)}, _VARIABLE]}


def _number(description: str) -> Schema:
    """Return the schema of a number, 0 or more."""
    number = {"type": "number", "minimum": 0}
    return {"description": description, "anyOf": [number, _VARIABLE]}


def _seconds(description: str) -> Schema:
    """Return the schema of seconds, more than 0."""
    number = {"type": "number", "exclusiveMinimum": 0}
    return {"description": description, "anyOf": [number, _VARIABLE]}


def _duration(description: str) -> Schema:
    """Return the schema of seconds, 0 or more."""
    number = {"type": "number", "minimum": 0}
    return {"description": description, "anyOf": [number, _VARIABLE]}


def _whole(description: str, least: int, most: int | None = None) -> Schema:
    """Return the schema of a whole number."""
    number: Schema = {"type": "integer", "minimum": least}
    if most is not None:
        number["maximum"] = most
    return {"description": description, "anyOf": [number, _VARIABLE]}


# -- the config of known classes -----------------------------------------------


def _config_rules(kinds: Sequence[type]) -> tuple[list[Schema], Schema]:
    """Return a rule for the config of each class, and what the rules refer to."""
    fields = {kind: _state_fields(kind) for kind in kinds}
    schemas, definitions = _field_schemas(
        [field.type for own in fields.values() for field in own]
    )
    rules = []
    for kind, own in fields.items():
        keys = {field.name: _field_schema(field, schemas) for field in own}
        required = [field.name for field in own if not field.has_default]
        rules.append(_rule(kind, keys, required))
    return rules, definitions


def _state_fields(kind: type) -> list[FieldInfo]:
    """Return the fields that ``config`` may give."""
    return [field for field in fields_of(kind).values() if field.kind == "state"]


def _rule(kind: type, keys: Schema, required: list[str]) -> Schema:
    """Return: a component of this class has a config of these keys."""
    named = {"const": f"{kind.__module__}:{kind.__qualname__}"}
    config = {**_mapping(keys, required), "type": ["object", "null"]}
    then: Schema = {"properties": {"config": config}}
    if required:
        then["required"] = ["config"]
        config["type"] = "object"
    return {
        "if": {"properties": {"type": named}, "required": ["type"]},
        "then": then,
    }


def _field_schemas(types: Iterable[Any]) -> tuple[list[tuple[Any, Schema]], Schema]:
    """Return a schema for each of *types*, and the definitions they refer to."""
    import msgspec  # lazy: only this needs its schemas

    known = [each for each in types if _has_schema(each)]
    found, definitions = msgspec.json.schema_components(
        known, ref_template="#/$defs/{name}"
    )
    loose = [_with_variables(each) for each in found]
    return list(zip(known, loose, strict=True)), _each_with_variables(definitions)


def _has_schema(kind: Any) -> bool:
    """Return whether msgspec can say what *kind* looks like."""
    import msgspec

    try:
        msgspec.json.schema(kind)
    except (TypeError, RecursionError):
        return False
    return True


def _field_schema(field: FieldInfo, schemas: list[tuple[Any, Schema]]) -> Schema:
    """Return the schema of one field: anything where its type has none."""
    found = next((each for kind, each in schemas if kind == field.type), {})
    return dict(found)


def _with_variables(node: Any) -> Any:
    """Return a schema in which ``${NAME}`` may stand for each scalar."""
    if isinstance(node, list):
        return [_with_variables(each) for each in node]
    if not isinstance(node, dict):
        return node
    if node.get("type") in ("integer", "number", "boolean", "null") or "enum" in node:
        return {"anyOf": [node, _VARIABLE]}
    return {
        key: _each_with_variables(value)
        if key == "properties"
        else _loosened(key, value)
        for key, value in node.items()
    }


_SCHEMA_KEYS = ("items", "prefixItems", "anyOf", "allOf", "oneOf")


def _loosened(key: str, value: Any) -> Any:
    """Return the *value* of a schema's *key*, loosened where it is a schema."""
    is_schema = key in _SCHEMA_KEYS or key == "additionalProperties"
    return _with_variables(value) if is_schema else value


def _each_with_variables(schemas: Mapping[str, Any]) -> Schema:
    """Return *schemas* with each of them loosened."""
    return {key: _with_variables(value) for key, value in schemas.items()}
