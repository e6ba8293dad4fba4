"""
Outside data for a component, checked key by key before anything is set.

`check` is for state (an update, a request, a store); `check_config` is for the
arguments of a constructor (a file). Both name every fault. Neither ever takes a
private attribute; state never takes a setting.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NoReturn

from kinesis.declared import FieldInfo, Kind, fields_of
from kinesis.errors import InvalidStateError, did_you_mean
from kinesis.snapshots.kinds import pretty
from kinesis.snapshots.reading import BAD, Fault, Path, Reader

__all__ = ["Fault", "check", "check_config"]

_WHY_NOT: Mapping[Kind, str] = {
    "private": "is private to the component: nobody sets it from outside",
    "setting": "is a setting, not state: only the constructor takes it",
    "state": "is state",
}


def check(
    cls: type, mapping: Mapping[str, Any], *, partial: bool, path: str = ""
) -> dict[str, Any]:
    """
    Return *mapping* as typed values for the state of a component of class *cls*.

    The values are new ones: they share nothing with *mapping* that could change.

    Args:
        cls: A class of components.
        mapping: JSON-like data by field; values that are typed already are fine.
        partial: Whether fields may be missing.
        path: Of the component, for the error.

    Raises:
        InvalidStateError: With every fault: an unknown key, a value of the wrong
            type, a missing field, a private attribute or setting, NaN.
    """
    values, faults = _read(cls, mapping, kinds=("state",), required=not partial)
    if faults:
        _refuse(cls, faults, path)
    return values


def check_config(
    cls: type, mapping: Mapping[str, Any]
) -> tuple[dict[str, Any], tuple[Fault, ...]]:
    """
    Return *mapping* as typed constructor arguments, and what is wrong with it.

    State and settings are taken; what has no default must be there. The path of
    a fault leads to the value in *mapping*: ``("rules", 0, "above")``; that of
    a missing one ends with its key.
    """
    return _read(cls, mapping, kinds=("state", "setting"), required=None)


def _refuse(cls: type, faults: Iterable[Fault], path: str) -> NoReturn:
    """Raise the error that lists the *faults*."""
    texts = tuple(map(str, faults))
    where = f"'{path}'" if path else cls.__qualname__
    raise InvalidStateError(
        f"these values do not fit the state of {where}: {'; '.join(texts)}. "
        f"Nothing was changed.",
        path=path,
        faults=texts,
    )


def _read(
    cls: type, mapping: Any, *, kinds: tuple[Kind, ...], required: bool | None
) -> tuple[dict[str, Any], tuple[Fault, ...]]:
    """Read each value; *required* None means: what has no default."""
    fields = fields_of(cls)
    if not isinstance(mapping, Mapping):
        found = type(mapping).__name__
        return {}, (Fault((), f"expected values by field, found {found}"),)
    values: dict[str, Any] = {}
    faults: list[Fault] = []
    for key, value in mapping.items():
        problem = _key_problem(fields, key, kinds)
        if problem:
            faults.append(Fault((str(key),), problem))
        else:
            read = _read_field(fields[key], value, faults)
            if read is not BAD:
                values[key] = read
    for name, field in fields.items():
        needed = not field.has_default if required is None else required
        if field.kind in kinds and needed and name not in mapping:
            at: Path = (name,)
            faults.append(Fault(at, f"missing (expected {pretty(field.type)})"))
    return values, tuple(faults)


def _read_field(field: FieldInfo, value: Any, faults: list[Fault]) -> Any:
    """Read one value, quoting it in faults unless it is a secret."""
    reader = Reader(show=not field.secret)
    try:
        read = reader.read(field.type, value, (field.name,))
    except RecursionError:  # of a class that has itself as a part
        faults.append(Fault((field.name,), "nested too deeply"))
        return BAD
    faults += reader.faults
    return read


def _key_problem(
    fields: Mapping[str, FieldInfo], key: object, kinds: tuple[Kind, ...]
) -> str:
    """Return why *key* cannot be given; nothing if it can."""
    field = fields.get(key) if isinstance(key, str) else None
    if field is None:
        known = [name for name, each in fields.items() if each.kind in kinds]
        hint = did_you_mean(str(key), known)
        return f"unknown.{hint} Known: {', '.join(known) or 'none'}"
    return "" if field.kind in kinds else _WHY_NOT[field.kind]
