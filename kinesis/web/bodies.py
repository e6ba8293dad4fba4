"""
Reading what clients send: JSON, checked before anything is made of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

import msgspec

from kinesis.snapshots import MASK, Snapshot
from kinesis.snapshots.reading import BAD, Fault, Reader
from kinesis.snapshots.shapes import shape_of
from kinesis.web.answers import JSON, Problem

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

MERGE_PATCH = "application/merge-patch+json"

# What a representation shows besides the fields, and what of it must not differ.
READ_ONLY = ("name", "path", "type", "stage", "state", "etag", "children")
FIXED = ("name", "path", "type")


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


def replacement(data: Any, snapshot: Snapshot, secret: Iterable[str]) -> Any:
    """
    Return the fields that a PUT of *data* sets.

    What a GET has shown may be sent back as it was: what it shows besides the
    fields is left out, and a masked secret is left as it is.
    """
    if not _is_object(data):
        return data
    fields = snapshot.fields()
    shown = msgspec.json.decode(snapshot.to_json())
    kept = {
        key: value
        for key, value in data.items()
        if key in fields
        or key not in READ_ONLY
        or (key in FIXED and value != shown.get(key))
    }
    for name in secret:
        if kept.get(name) == MASK:
            kept[name] = fields[name]
    return kept


def merged_fields(data: Any, snapshot: Snapshot, secret: Iterable[str]) -> Any:
    """
    Return the fields that a merge patch of *data* sets.

    Source: RFC 7396. A field cannot be removed: null is the value None.
    """
    if not _is_object(data):
        return data
    current = msgspec.json.decode(snapshot.content)
    shown = msgspec.json.decode(snapshot.to_json())
    hidden = {name for name in secret if data.get(name) == MASK}
    same = {
        key
        for key in READ_ONLY
        if key not in current and key in data and data[key] == shown.get(key)
    }
    return {
        key: merge(current.get(key), value) if _is_object(value) else value
        for key, value in data.items()
        if key not in hidden and key not in same
    }


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
