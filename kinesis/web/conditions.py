"""
Conditional requests: what a client has seen, and what it may change.

The entity tag of a component is the ETag of its state, which changes exactly
when the state's content does. What else a representation shows (that it has been
stopped, the children of a container) is a suffix behind a dash; to change the
state it is enough to have seen the state.

Source: RFC 9110, 8.8.3 and 13.1.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from kinesis.web.answers import Problem

TAG = re.compile(r'\s*(W/)?"([\x21\x23-\x7e\x80-\xff]*)"\s*')

ANY = "*"


def tags_in(header: str) -> Iterator[tuple[str, bool]]:
    """
    Yield the entity tags in a header's value, and whether each is a weak one.

    Raises:
        Problem: It is no list of them.
    """
    at = 0
    while True:
        found = TAG.match(header, at)
        if found is None:
            raise Problem(400, f"{header!r} is no list of entity tags in quotes.")
        yield found[2], found[1] is not None
        at = found.end()
        if at == len(header):
            return
        if header[at] != ",":
            raise Problem(400, f"{header!r} is no list of entity tags in quotes.")
        at += 1


def is_unchanged(if_none_match: str | None, etag: str) -> bool:
    """Whether the client has this representation already."""
    if if_none_match is None:
        return False
    if if_none_match == f'"{etag}"':  # the usual case
        return True
    if if_none_match.strip() == ANY:
        return True
    return any(tag == etag for tag, _ in tags_in(if_none_match))


def may_change(if_match: str | None, etag: str) -> str | None:
    """
    Return the state's ETag that a change must find; None for any.

    Args:
        etag: Of the state now.

    Raises:
        Problem: 428 without the header, 412 if the client has seen another state.
    """
    if if_match is None:
        raise Problem(
            428,
            "say which state you have seen: send its ETag as If-Match, so that a "
            "change of somebody else is not undone.",
        )
    if if_match.strip() == ANY:
        return None
    for tag, weak in tags_in(if_match):
        if not weak and tag.partition("-")[0] == etag:
            return etag
    raise mismatch(etag)


def mismatch(etag: str) -> Problem:
    """Return how to say that the state is another one by now."""
    return Problem(
        412,
        "the state has changed since. Get it again, and make the change again. "
        "Nothing was changed.",
        [("ETag", f'"{etag}"')],
    )
