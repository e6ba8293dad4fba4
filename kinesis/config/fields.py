"""Check the ``config`` of a component against the fields of its class."""

from __future__ import annotations

import types
import typing
from collections.abc import Collection, Mapping
from typing import Any

from kinesis.config.nodes import (
    Faults,
    Items,
    KeyPath,
    Leaf,
    Node,
    Place,
    Table,
    follow,
    has_broken,
    key_place,
    plain,
    show,
)
from kinesis.declared import FieldInfo, fields_of
from kinesis.errors import DeclarationError, did_you_mean
from kinesis.snapshots import Fault as Misfit
from kinesis.snapshots import check_config

_UNKNOWN = "unknown."  # so a misfit begins that is about a key
_FOUND = ", found "  # parts what a misfit expected from what is there


def check_fields(
    kind: type[Any],
    table: Table,
    elsewhere: Collection[str],
    type_place: Place,
    faults: Faults,
) -> dict[str, object]:
    """
    Return the values that *table* gives to the fields of *kind*, typed.

    Every value that does not fit is noted at its own place, however deep.

    Args:
        elsewhere: The settings that a file says beside ``config``.
        type_place: Where the file names the class, for faults of the class.
    """
    try:
        fields = fields_of(kind)
    except DeclarationError as error:
        got = str(error).removesuffix(".")
        faults.expected(type_place, "a class whose fields have types", got)
        return {}
    own = {
        name: each
        for name, each in fields.items()
        if each.kind == "state" or (each.kind == "setting" and name not in elsewhere)
    }
    for key, entry in table.entries.items():
        if key not in own:
            _refuse_key(kind, key, fields.get(key), own, entry.key, faults)
    for name, each in own.items():
        if name not in table.entries and not each.has_default:
            expected = f"'{name}' in the config of {kind.__name__}"
            faults.expected(table.place, expected, "nothing")
    return _values(kind, table, own, faults)


def _refuse_key(
    kind: type,
    key: str,
    field: FieldInfo | None,
    own: Collection[str],
    place: Place,
    faults: Faults,
) -> None:
    """Note a key that ``config`` cannot have."""
    if field is not None and field.kind == "setting":
        faults.expected(place, f"'{key}' beside 'config'", "it inside")
    elif field is not None:
        got = f"'{key}', which is private to the component"
        faults.expected(place, f"a field of {kind.__name__}", got)
    else:
        known = f" Known: {', '.join(own) or 'none'}."
        hint = did_you_mean(key, own) or known
        faults.expected(place, f"a field of {kind.__name__}", f"'{key}'", hint)


def _values(
    kind: type, table: Table, own: Mapping[str, FieldInfo], faults: Faults
) -> dict[str, object]:
    """Return the typed values, with what does not fit noted."""
    data = {
        key: _data(entry.node, own[key])
        for key, entry in table.entries.items()
        if key in own
    }
    values, misfits = check_config(kind, data)
    for misfit in misfits:
        if misfit.path[0] in data:  # what is missing is noted already
            _note(table, misfit, own, faults)
    return values


def _data(node: Node, field: FieldInfo) -> object:
    """Return *node* as data; the digits of a variable are text for a text field."""
    if isinstance(node, Leaf) and node.secret and _is_text(field.type):
        return node.text
    return plain(node)


def _is_text(kind: Any) -> bool:
    """Return whether a field of type *kind* is text, if it is anything."""
    options = (kind,)
    if typing.get_origin(kind) in {typing.Union, types.UnionType}:
        options = typing.get_args(kind)
    return {str} == {each for each in options if each is not type(None)}


def _note(
    table: Table, misfit: Misfit, own: Mapping[str, FieldInfo], faults: Faults
) -> None:
    """Note *misfit* at its place, unless a fault there is noted already."""
    place, node = follow(table, misfit.path)
    inside, name = _where(misfit.path[:-1]), misfit.path[-1]
    if node is None:
        faults.expected(place, f"'{name}' in '{inside}'", "nothing")
    elif has_broken(node):
        return
    elif misfit.problem.startswith(_UNKNOWN):
        hint = misfit.problem.removeprefix(_UNKNOWN)
        end = "" if hint.endswith(("?", ".")) else "."
        place = key_place(table, misfit.path)
        faults.expected(place, f"a key of '{inside}'", f"'{name}'", f"{hint}{end}")
    else:
        is_secret = own[str(misfit.path[0])].secret
        faults.add(place, _misfit_text(misfit, node, is_secret))


def _where(path: KeyPath) -> str:
    """Return *path* as people write it: ``rules[0].above``."""
    steps = [f"[{each}]" if isinstance(each, int) else f".{each}" for each in path]
    return "".join(steps).removeprefix(".")


def _misfit_text(misfit: Misfit, node: Node, is_secret: bool) -> str:
    """Return the message for a value that does not fit."""
    expected, found, got = misfit.problem.rpartition(_FOUND)
    if found:
        got = got if is_secret else show(node)
        return f"{expected} for '{_where(misfit.path)}'; got {got}."
    problem = misfit.problem.removesuffix(".")
    if _has_variable(node):  # the problem may repeat it
        problem = "a value from the environment that does not"
    return f"expected a value that fits '{_where(misfit.path)}'; got: {problem}."


def _has_variable(node: Node) -> bool:
    """Return whether *node* or a part of it is what a variable holds."""
    match node:
        case Leaf():
            return node.secret
        case Items():
            return any(_has_variable(item) for item in node.items)
        case Table():
            return any(_has_variable(each.node) for each in node.entries.values())
