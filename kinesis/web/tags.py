"""
Entity tags that tell nothing of secrets.

The tag of a state without secrets is its ETag, the same in every process. That is a
hash of the state, and everybody may read it. So with a secret in the state it would
tell who guesses when a guess is right: four digits take 10 000 hashes, on any machine.
Hence the tag of such a state is a hash of its ETag, with a key that this process alone
knows. After a restart of the program it is another one: one 304 less, and a change has
to look again first, which is what 412 says.

What remains: who may change a component can write a guess, and see whether the tag is
again the one from before. That overwrites the secret, which they may do anyway.
"""

from __future__ import annotations

import secrets
from functools import cache, lru_cache
from hashlib import blake2b

from kinesis.snapshots import Snapshot, StateCodec

TAG_BYTES = 16
KEPT = 1_024  # tags


def tag_of(snapshot: Snapshot) -> str:
    """Return the entity tag of a state."""
    return tag_for(snapshot._codec, snapshot.etag)


def tag_for(codec: StateCodec, etag: str) -> str:
    """Return the entity tag of a state of *codec*'s class whose ETag is *etag*."""
    return _keyed(etag) if codec.secret else etag


def json_of(snapshot: Snapshot) -> bytes:
    """Return a snapshot as JSON: secrets masked, the tag in the ETag's place."""
    shown = snapshot.to_json()
    etag, tag = snapshot.etag, tag_of(snapshot)
    if tag == etag:
        return shown
    return shown.replace(f'"etag":"{etag}"'.encode(), f'"etag":"{tag}"'.encode(), 1)


@lru_cache(maxsize=KEPT)
def _keyed(etag: str) -> str:
    """Return what stands for an ETag that nobody shall guess from."""
    return blake2b(etag.encode(), digest_size=TAG_BYTES, key=_key()).hexdigest()


@cache
def _key() -> bytes:
    """Return the key of this process."""
    return secrets.token_bytes(32)
