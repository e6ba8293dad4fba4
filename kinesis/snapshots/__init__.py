"""
What a component's state is: immutable snapshots, JSON, ETags, checked updates.

A snapshot is made of bytes: nothing of the live component is in it. What it
costs is one encoding; values and the ETag are computed when somebody asks.
"""

from __future__ import annotations

from typing import Any

import msgspec

from kinesis.snapshots.checks import Fault, check, check_config
from kinesis.snapshots.codec import Saved, StateCodec, codec_of
from kinesis.stages import Stage, State

__all__ = [
    "MASK",
    "Fault",
    "Saved",
    "Snapshot",
    "StateCodec",
    "check",
    "check_config",
    "codec_of",
]

MASK = "***"
"""What readers see in the place of a secret."""

_LONGEST = 60  # characters of a value in the repr


class Snapshot:
    """
    The state of one component at one moment; nothing changes it.

    The state fields are attributes: ``snapshot.balance``. A value that could be
    changed in place is a new one each time it is asked for.

    Thread safety: any thread may call any method.

    Args:
        codec: Of the component's class.
        path: Where the component is.
        stage: The stage it is in.
        content: What the codec's `encode` returned.
    """

    __slots__ = ("_codec", "_content", "_etag", "_path", "_stage", "_values")

    def __init__(
        self, codec: StateCodec, path: str, stage: Stage, content: bytes
    ) -> None:
        self._codec = codec
        self._path = path
        self._stage = stage
        self._content = content
        self._etag: str | None = None
        self._values: dict[str, Any] | None = None

    @property
    def path(self) -> str:
        """Where the component is: ``/app/shop/stock``."""
        return self._path

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self._path.rpartition("/")[2]

    @property
    def type(self) -> str:
        """The name of the component's class."""
        return self._codec.cls.__name__

    @property
    def stage(self) -> Stage:
        """The stage it was in."""
        return self._stage

    @property
    def state(self) -> State:
        """Whether it was in the part of its life in which it works."""
        return self._stage.state

    @property
    def content(self) -> bytes:
        """The state fields as a JSON object, secrets as they are."""
        return self._content

    @property
    def etag(self) -> str:
        """
        The hash of the content: equal exactly when the content is.

        It covers secrets too: a secret that can be guessed can be confirmed.
        """
        if self._etag is None:
            self._etag = self._codec.etag(self._content)
        return self._etag

    def moved_to(self, stage: Stage) -> Snapshot:
        """Return the same state in another *stage*."""
        moved = Snapshot(self._codec, self._path, stage, self._content)
        moved._etag = self._etag
        return moved

    def fields(self) -> dict[str, Any]:
        """Return the state fields by name, in order; new values each time."""
        return self._codec.decode_leniently(self._content)

    def __getitem__(self, name: str) -> Any:
        values = self._values
        if values is None:
            values = self._values = self.fields()
        if name in self._codec.mutable and name in values:
            return self.fields()[name]
        return values[name]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # while it is being made, or looked into
            raise AttributeError(name)
        try:
            return self[name]
        except KeyError:
            raise AttributeError(self._no_field(name)) from None

    def _no_field(self, name: str) -> str:
        """Return what to say of a field that is not there."""
        fields = ", ".join(self._codec.fields) or "none"
        return f"the snapshot of '{self._path}' has no '{name}'. Fields: {fields}."

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self._codec.fields]

    def to_json(self, mask_secrets: bool = True) -> bytes:
        """
        Return the snapshot as one JSON object.

        ``name path type stage state etag``, then the state fields in their order.
        """
        head = {
            "name": self.name,
            "path": self._path,
            "type": self.type,
            "stage": self._stage.value,
            "state": self.state.value,
            "etag": self.etag,
        }
        start = msgspec.json.encode(head)
        content = self._masked() if mask_secrets else self._content
        return start if content == b"{}" else start[:-1] + b"," + content[1:]

    def _masked(self) -> bytes:
        """Return the content with a mask in the place of each secret."""
        secret = self._codec.secret
        if not secret:
            return self._content
        raw = msgspec.json.decode(self._content, type=dict[str, msgspec.Raw])
        mask = msgspec.Raw(msgspec.json.encode(MASK))
        return msgspec.json.encode(
            {name: mask if name in secret else each for name, each in raw.items()}
        )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Snapshot):
            return NotImplemented
        return self._parts() == other._parts()

    def __hash__(self) -> int:
        return hash(self._parts())

    def _parts(self) -> tuple[Any, ...]:
        """Return all that makes this snapshot what it is."""
        return (self._codec.cls, self._path, self._stage, self._content)

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild, self._parts())

    def __repr__(self) -> str:
        shown = "".join(
            f" {name}={_shorten(MASK if name in self._codec.secret else repr(value))}"
            for name, value in self.fields().items()
        )
        return (
            f"<Snapshot {self._path} [{self._stage} | {self.state}] {self.type}{shown}>"
        )


def _shorten(text: str) -> str:
    """Return *text*, its end left out if it is long."""
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def _rebuild(cls: type, path: str, stage: Stage, content: bytes) -> Snapshot:
    """Make a copied or unpickled snapshot."""
    return Snapshot(codec_of(cls), path, stage, content)
