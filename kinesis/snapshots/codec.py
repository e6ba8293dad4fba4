"""
The state of components of one class as bytes, and back.

One codec per class; everything that can be decided once is. Encoding goes
through a `msgspec.Struct` that is made for the class: no name of a private
attribute ever reaches it, and it encodes 100 fields in less time than it takes
to look at them one by one, so nothing tracks which have changed.
"""

from __future__ import annotations

import copy
import hashlib
import operator
import pickle
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

import attrs
import msgspec

from kinesis.declared import FieldInfo, fields_of
from kinesis.errors import DeclarationError, InvalidStateError, describe
from kinesis.snapshots.canonical import canonical, count_odd_numbers, encoder
from kinesis.snapshots.reading import BAD, Fault, Reader
from kinesis.snapshots.shapes import Order, Shape, from_data, shape_of, to_data

__all__ = ["Saved", "StateCodec", "codec_of"]

_ETAG_BYTES = 16

_Values = Callable[[Mapping[str, Any]], tuple[Any, ...]]


@attrs.define(eq=False)  # not frozen: that makes it half a microsecond slower
class Saved:
    """State put aside by `StateCodec.save`."""

    values: Mapping[str, Any]
    changeable: Any  # the fields that could be changed in place, as *load* takes them
    load: Callable[[Any], tuple[Any, ...]]


def codec_of(cls: type) -> StateCodec:
    """
    Return the codec of a class of components, the same one each time.

    Raises:
        DeclarationError: A state field has a type that has no form in JSON.
    """
    cached = cls.__dict__.get("__kinesis_codec__")
    if not isinstance(cached, StateCodec):
        cached = StateCodec(cls)
        cls.__kinesis_codec__ = cached  # type: ignore[attr-defined]  # ours, on every class
    return cached


class StateCodec:
    """
    Encodes, decodes, puts aside and brings back the state of one class.

    Equal content gives equal bytes, in every process. What makes the content is
    what JSON can say of it: the order of a dict's keys is not part of it.

    Thread safety: any thread may call any method; the component must not be
    changed meanwhile.
    """

    def __init__(self, cls: type) -> None:
        self.cls = cls
        state = {n: f for n, f in fields_of(cls).items() if f.kind == "state"}
        shapes = {name: _usable_shape(cls, each) for name, each in state.items()}
        self.fields: Mapping[str, FieldInfo] = state
        self.mutable = frozenset(n for n, each in shapes.items() if each.mutable)
        self.secret = frozenset(n for n, each in state.items() if each.secret)
        self._names = tuple(state)
        self._values = _getter(self._names)
        self._changeable = tuple(n for n in state if n in self.mutable)
        self._changeable_values = _getter(self._changeable)
        self._unpickled = False  # once pickle has failed, deepcopy it is
        self._canonical = tuple(
            i for i, s in enumerate(shapes.values()) if s.order is Order.CANONICAL
        )
        self._floats = tuple(i for i, s in enumerate(shapes.values()) if s.floats)
        ordered = any(each.order is not Order.PLAIN for each in shapes.values())
        order = "deterministic" if ordered else None
        plain = msgspec.json.Encoder(enc_hook=to_data, order=order)  # type: ignore[arg-type]  # both are allowed
        self._dump = plain.encode
        self._view: Callable[..., msgspec.Struct] = msgspec.defstruct(
            cls.__name__,
            [(name, _exact(each.type)) for name, each in state.items()],
            forbid_unknown_fields=True,
        )
        decoder = msgspec.json.Decoder(self._view, dec_hook=from_data)
        self._load = decoder.decode

    # -- bytes -----------------------------------------------------------------

    def encode(self, component: object) -> bytes:
        """
        Return the state of *component* as a JSON object, its fields in order.

        Raises:
            InvalidStateError: A value has no form in JSON, or is not set; every
                such field is named.
        """
        try:
            values = self._values(component.__dict__)
            if self._canonical:
                values = self._canonical_values(values)
            content = self._dump(self._view(*values))
        except InvalidStateError:
            raise
        except Exception:  # found again, and named, field by field
            self._blame(component)
        if self._floats and b"null" in content:  # or is it a number JSON has not?
            return self._without_null(values, content)
        return content

    def _canonical_values(self, values: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return *values* with those that msgspec cannot sort made canonical."""
        rewritten = list(values)
        for index in self._canonical:
            rewritten[index] = canonical(values[index])
            if count_odd_numbers(values[index]):
                self._require_typed(index, values[index])
        return tuple(rewritten)

    def _without_null(self, values: tuple[Any, ...], content: bytes) -> bytes:
        """Return the content with NaN kept, if it is what became ``null``."""
        odd = [index for index in self._floats if count_odd_numbers(values[index])]
        if not odd:
            return content
        rewritten = list(values)
        for index in odd:
            self._require_typed(index, values[index])
            rewritten[index] = canonical(values[index])
        return encoder.encode(self._view(*rewritten))

    def _require_typed(self, index: int, value: Any) -> None:
        """Refuse NaN where its text could not be told from text."""
        kind = self.fields[self._names[index]].type
        form = msgspec.json.decode(encoder.encode(canonical(value)))
        read = Reader(ours=True).read(_exact(kind), form)
        if read is BAD or count_odd_numbers(read) != count_odd_numbers(value):
            problem = "NaN and infinity are kept only where the type is float"
            self._refuse([Fault((self._names[index],), problem)], "cannot be encoded")

    def _blame(self, component: object) -> NoReturn:
        """Raise the error that names each field that cannot be encoded."""
        faults = []
        for name in self._names:
            try:
                self._dump(canonical(component.__dict__[name]))
            except KeyError:
                faults.append(Fault((name,), "not set"))
            except Exception as error:  # whatever the value is made of
                faults.append(Fault((name,), describe(error)))
        if not faults:
            faults = [Fault((), "it changed while it was read")]
        self._refuse(faults, "cannot be encoded")

    def etag(self, content: bytes) -> str:
        """Return the hash of what `encode` returned."""
        return hashlib.blake2b(content, digest_size=_ETAG_BYTES).hexdigest()

    def decode(self, content: bytes) -> dict[str, Any]:
        """
        Return new typed values of all state fields.

        Raises:
            InvalidStateError: The content does not fit the types, as when the
                class has changed since; every fault is named.
        """
        try:
            return msgspec.structs.asdict(self._load(content))
        except msgspec.MsgspecError:
            values, faults = self._decode_slowly(content)
        if faults:
            self._refuse(faults, "does not fit what was encoded")
        return values

    def _refuse(self, faults: list[Fault], why: str) -> NoReturn:
        """Raise the error that lists the *faults*."""
        texts = tuple(map(str, faults))
        name = self.cls.__qualname__
        raise InvalidStateError(
            f"the state of {name} {why}: {'; '.join(texts)}.", path="", faults=texts
        )

    def decode_leniently(self, content: bytes) -> dict[str, Any]:
        """Return values as `decode`, with JSON's own where the type does not fit."""
        try:
            return msgspec.structs.asdict(self._load(content))
        except msgspec.MsgspecError:
            return {**msgspec.json.decode(content), **self._decode_slowly(content)[0]}

    def _decode_slowly(self, content: bytes) -> tuple[dict[str, Any], list[Fault]]:
        """Read each field by itself: what `encode` wrote for NaN, or a fault."""
        values: dict[str, Any] = {}
        faults: list[Fault] = []
        try:
            data = msgspec.json.decode(content, type=dict[str, Any])
        except msgspec.MsgspecError as error:
            return values, [Fault((), str(error))]
        for name, field in self.fields.items():
            if name not in data:
                faults.append(Fault((name,), "missing"))
                continue
            reader = Reader(show=not field.secret, ours=True)
            read = reader.read(_exact(field.type), data[name], (name,))
            faults += reader.faults
            if read is not BAD:
                values[name] = read
        faults += [Fault((n,), "unknown") for n in data if n not in self.fields]
        return values, faults

    # -- transactions ----------------------------------------------------------

    def save(self, component: object) -> Saved:
        """
        Put the state aside, for `restore`.

        Fields whose types never change in place are kept as they are, the
        others as a copy. Private attributes and settings are not kept.

        Raises:
            InvalidStateError: A value cannot be copied.
        """
        # pickle, not msgspec, which reads a tuple back as a list, and a whole
        # number in a list of floats as a float; for small states it is as fast.
        values = dict(component.__dict__)
        if not self._changeable:
            return Saved(values, None, _nothing)
        try:
            changeable = self._changeable_values(values)
        except KeyError:
            return self._save_what_is_set(values)
        if not self._unpickled:
            try:
                return Saved(values, pickle.dumps(changeable, 5), pickle.loads)
            except Exception:  # a class that pickle cannot find, as a local one
                self._unpickled = True
        try:
            return Saved(values, copy.deepcopy(changeable), copy.deepcopy)
        except Exception as error:  # whatever the copying of a value raises
            name = self.cls.__qualname__
            raise InvalidStateError(
                f"cannot put the state of {name} aside: {describe(error)}. "
                f"Declare what cannot be copied as private(...).",
                path="",
                faults=(describe(error),),
            ) from error

    def _save_what_is_set(self, values: dict[str, Any]) -> Saved:
        """Put aside a state in which fields were deleted."""
        copies = copy.deepcopy({n: values[n] for n in self._changeable if n in values})
        return Saved({**values, **copies}, None, _nothing)

    def restore(self, component: object, saved: Saved) -> None:
        """
        Make the state what it was: equal content and types, not the same objects.

        May be called more than once with what was saved once.
        """
        values = {n: saved.values[n] for n in self._names if n in saved.values}
        values.update(zip(self._changeable, saved.load(saved.changeable), strict=False))
        state = component.__dict__
        for name in self._names:
            if name not in values:
                state.pop(name, None)
        state.update(values)


def _nothing(_: Any) -> tuple[Any, ...]:
    """Return no values: none can change in place."""
    return ()


def _getter(names: tuple[str, ...]) -> _Values:
    """Return what takes these values out of a dict, as a tuple."""
    if len(names) > 1:
        return operator.itemgetter(*names)
    return lambda values: tuple(values[name] for name in names)


def _usable_shape(cls: type, field: FieldInfo) -> Shape:
    """Return the shape of the field's type, or refuse it."""
    shape = shape_of(field.type)
    if shape.problem:
        raise DeclarationError(
            f"'{cls.__qualname__}.{field.name}' cannot be state: {shape.problem}. "
            f"Write private(...) for a resource, setting(...) for configuration, "
            f"or a type that JSON can hold.",
            component=cls,
            field=field.name,
        )
    return shape


def _exact(kind: Any) -> Any:
    """Return *kind* with ``int | float`` for float: so 1 does not come back as 1.0."""
    if kind is float:
        return int | float
    arguments = typing.get_args(kind)
    origin = typing.get_origin(kind)
    if not arguments or origin in {typing.Annotated, typing.Literal}:
        return kind
    exact = tuple(each if each is Ellipsis else _exact(each) for each in arguments)
    if origin in {typing.Union, types.UnionType}:
        return typing.Union[exact]  # noqa: UP007  # made of a tuple
    if exact == arguments or isinstance(arguments[0], list):
        return kind
    return kind.copy_with(exact) if hasattr(kind, "copy_with") else origin[exact]
