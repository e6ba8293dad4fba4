"""
Reading what clients send: JSON, checked before anything is made of it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

import msgspec

from kinesis.errors import InvalidStateError
from kinesis.snapshots import MASK, Snapshot, StateCodec, check
from kinesis.snapshots.kinds import pretty
from kinesis.snapshots.reading import BAD, Fault, Reader
from kinesis.snapshots.shapes import shape_of
from kinesis.web.answers import JSON, Problem
from kinesis.web.tags import json_of

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

MERGE_PATCH = "application/merge-patch+json"

# What is shown besides the fields, and may differ when it is sent back in a PUT.
CHANGING = frozenset({"stage", "state", "etag", "children"})

NO_STATE = "shows what is so, and is no state: nobody sets it"


def read_json(environ: WSGIEnvironment, *, accept: Iterable[str] = (JSON,)) -> Any:
    """
    Return the JSON that a request has sent.

    Raises:
        Problem: 415 unless it says that it is JSON, which no form of a foreign
            page can; 400 if it is none, or none was sent.
    """
    kind = environ.get("CONTENT_TYPE", "").partition(";")[0].strip().lower()
    if kind not in accept:
        wanted = " or ".join(accept)
        found = f"not {kind!r}" if kind else "and say so in Content-Type"
        raise Problem(415, f"send {wanted}, {found}.", [("Accept", ", ".join(accept))])
    data = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    if not data:
        raise Problem(400, "the request has no body. Send JSON.")
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise Problem(400, f"the body is no JSON: {error}.") from error


def invalid(detail: str, faults: Iterable[object]) -> Problem:
    """Return how to say that values do not fit, naming each."""
    return Problem(422, detail, faults=[str(fault) for fault in faults])


def read_message(kind: type, data: Any) -> Any:
    """
    Return *data* as a message of class *kind*.

    Raises:
        Problem: 422, with every fault: msgspec alone would stop at the first, and
            ignore keys that it does not know.
    """
    if not is_declared(kind):  # a class whose attributes are not declared
        return _plain_message(kind, data)
    reader = Reader()
    try:
        message = reader.read(kind, data)
    except RecursionError:
        message = reader.fault((), "nested too deeply")
    if message is BAD:
        raise invalid(f"that is no {kind.__name__}. Nothing was sent.", reader.faults)
    return message


@cache
def is_declared(kind: type) -> bool:
    """Whether it is known what a message of class *kind* is made of."""
    return not shape_of(kind).problem


def _plain_message(kind: type, data: Any) -> Any:
    """Return a message that has nothing to say but its class."""
    if data == {}:
        try:
            return kind()
        except TypeError:
            pass_on = "its class does not declare what it takes: make it attrs.frozen"
            raise invalid(f"that is no {kind.__name__}.", [pass_on]) from None
    known = [Fault((str(key),), "unknown") for key in data] if _is_object(data) else []
    raise invalid(
        f"{kind.__name__} has no fields: send {{}}.", known or ["expected an object"]
    )


def _is_object(data: Any) -> bool:
    """Whether *data* is a JSON object."""
    return isinstance(data, Mapping)


# -- the state ----------------------------------------------------------------------


def replacement(
    data: Any, snapshot: Snapshot, secret: Collection[str], besides: Mapping[str, Any]
) -> Any:
    """
    Return the fields that a PUT of *data* sets.

    What a GET has shown may be sent back as it was: what it shows besides the
    fields is left out, and so is a masked secret.
    """
    if not _is_object(data):
        return data
    fields = snapshot.fields()
    shown = {**msgspec.json.decode(snapshot.to_json()), **besides}
    return {
        key: value
        for key, value in data.items()
        if not (key in secret and value == MASK)
        and (key in fields or not _is_known(key, value, shown))
    }


def _is_known(key: str, value: Any, shown: Mapping[str, Any]) -> bool:
    """Whether a GET shows that besides the fields, or may have shown it before."""
    return key in CHANGING or (key in shown and value == shown[key])


def merged_fields(
    data: Any, snapshot: Snapshot, secret: Collection[str], besides: Mapping[str, Any]
) -> Any:
    """
    Return the fields that a merge patch of *data* sets.

    Source: RFC 7396. A field cannot be removed: null is the value None.
    """
    if not _is_object(data):
        return data
    current = msgspec.json.decode(snapshot.content)
    shown = {**msgspec.json.decode(json_of(snapshot)), **besides}
    return {
        key: merge(current.get(key), value) if _is_object(value) else value
        for key, value in data.items()
        if not (key in secret and value == MASK)
        and (key in current or key not in shown or value != shown[key])
    }


def checked(
    codec: StateCodec, values: Any, *, whole: bool, besides: Collection[str]
) -> tuple[dict[str, Any], list[str]]:
    """
    Return *values* as what the state of *codec*'s class holds, and every fault.

    Args:
        whole: Whether each field must be there; but never a secret, which who has
            read all the others has not seen.
        besides: What is shown and is no state.
    """
    faults = []
    if _is_object(values):
        odd = [key for key in values if key in besides and key not in codec.fields]
        faults += [str(Fault((key,), NO_STATE)) for key in odd]
        values = {key: value for key, value in values.items() if key not in odd}
    typed: dict[str, Any] = {}
    try:
        typed = check(codec.cls, values, partial=True)
    except InvalidStateError as error:
        faults += error.faults
    if whole and _is_object(values):
        faults += [
            str(Fault((name,), f"missing (expected {pretty(field.type)})"))
            for name, field in codec.fields.items()
            if name not in values and not field.secret
        ]
    return typed, faults


def merge(target: Any, patch: Any) -> Any:
    """Return *target* with a merge patch applied. Source: RFC 7396, 2."""
    if not _is_object(patch):
        return patch
    result = dict(target) if _is_object(target) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merge(result.get(key), value)
    return result
