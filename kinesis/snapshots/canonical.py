"""
One form for equal content, where msgspec's own order is not enough.

`canonical` rewrites a value so that encoding it gives the same bytes in every
process: sets are sorted by the bytes of their items, keys become text, and
numbers that JSON does not have become text (``"NaN"``, ``"Infinity"``,
``"-Infinity"``, as in the JSON form of protocol buffers), never ``null``.
"""

from __future__ import annotations

import dataclasses
import math
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from kinesis.snapshots.shapes import to_data

__all__ = ["NUMBERS", "canonical", "count_odd_numbers", "encoder"]

NUMBERS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
"""What JSON has no numbers for, by the text that stands for each."""

encoder = msgspec.json.Encoder(enc_hook=to_data, order="deterministic")
_unordered = msgspec.json.Encoder(enc_hook=to_data)


def canonical(value: Any) -> Any:
    """
    Return *value* in a form whose deterministic encoding is its content's.

    Raises:
        ValueError: Two keys of a dict have the same text: ``1`` and ``"1"``.
    """
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else _text(value)
    if isinstance(value, list | tuple | deque):
        return [canonical(each) for each in value]
    if isinstance(value, set | frozenset):
        items = sorted(encoder.encode(canonical(each)) for each in value)
        return [msgspec.Raw(item) for item in items]
    if isinstance(value, Mapping):
        return _with_text_keys(value)
    attributes = _attributes(value)
    if attributes is None:
        return value
    return {name: canonical(each) for name, each in attributes}


def _text(value: float) -> str:
    """Return the text that stands for a number JSON does not have."""
    if math.isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"


def _with_text_keys(value: Mapping[Any, Any]) -> dict[str, Any]:
    """Return the dict with every key as JSON writes it."""
    found = {}
    for key, each in value.items():
        text = key if type(key) is str else _key_text(key)
        if text in found:
            raise ValueError(f"two keys are both written '{text}' in JSON")
        found[text] = canonical(each)
    return found


def _key_text(key: Any) -> str:
    """Return *key* as msgspec writes it."""
    written = msgspec.json.decode(_unordered.encode({key: 0}), type=dict[str, int])
    return next(iter(written))


def _attributes(value: Any) -> Iterator[tuple[str, Any]] | None:
    """Return what a value of a class consists of in JSON; None for plain values."""
    if isinstance(value, msgspec.Struct):
        config = value.__struct_config__
        if config.tag is not None or config.array_like:
            return None  # its JSON form is msgspec's to know
        names = zip(
            value.__struct_encode_fields__, value.__struct_fields__, strict=True
        )
        return ((key, getattr(value, name)) for key, name in names)
    fields = getattr(type(value), "__attrs_attrs__", None)
    if fields is None and dataclasses.is_dataclass(value):
        fields = dataclasses.fields(value)
    if fields is None:
        return None
    return (
        (each.name, getattr(value, each.name))
        for each in fields
        if not each.name.startswith("_")  # as msgspec does
    )


def count_odd_numbers(value: Any) -> int:
    """Return how many numbers in *value* JSON has no form for."""
    if isinstance(value, float):
        return not math.isfinite(value)
    if value is None or isinstance(value, int | str | bytes):
        return 0
    if isinstance(value, Mapping):
        return sum(map(count_odd_numbers, value.values()))
    if isinstance(value, list | tuple | set | frozenset | deque):
        return sum(map(count_odd_numbers, value))
    return sum(count_odd_numbers(each) for _, each in _attributes(value) or ())
