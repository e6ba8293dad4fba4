"""
Which request something is done for: W3C trace context, inside the process.

`TRACE` is set while code runs for a request. Log lines carry its id, and the
messages sent meanwhile carry it along, to the handlers and what those send.
"""

from __future__ import annotations

import re
from contextvars import Context, ContextVar, copy_context
from hashlib import blake2b
from random import getrandbits

import attrs

PARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
OLDER = re.compile(r"[A-Za-z0-9._:-]{1,128}")
HEXADECIMAL = re.compile(r"[0-9a-f]{32}")

SAMPLED = "01"

ONES = 1 << 64 | 1  # neither a trace nor a span is all zero


@attrs.define(eq=False)  # not frozen: one is made for every request
class Trace:
    """
    A request on its way through several programs.

    Attributes:
        id: What log lines show: the id that was given, or made here.
        trace: 32 hexadecimal digits, the same in every program.
        span: 16 hexadecimal digits, of the work that is done here.
        flags: As given: two hexadecimal digits.
    """

    id: str
    trace: str
    span: str
    flags: str = SAMPLED

    @property
    def parent(self) -> str:
        """The ``traceparent`` header for what is asked of others."""
        return f"00-{self.trace}-{self.span}-{self.flags}"


TRACE: ContextVar[Trace | None] = ContextVar("kinesis_trace", default=None)
"""The trace that the code which runs here is part of; None for none."""


def new_trace() -> Trace:
    """Return the first part of a new trace."""
    bits = f"{getrandbits(192) | ONES:048x}"
    trace = bits[:32]
    return Trace(trace, trace, bits[32:])


def new_span() -> str:
    """Return 16 hexadecimal digits, not all zero."""
    return f"{getrandbits(64) | 1:016x}"


def trace_of(parent: str | None, older: str | None = None) -> Trace:
    """
    Return the trace that a request's headers tell of, else a new one.

    Args:
        parent: ``traceparent``; of a version that is not known, what is known of
            it counts. One that is malformed counts as none.
        older: ``TraceID`` or ``Trace-ID``, any word.

    Source: W3C, "Trace Context", 3.2.
    """
    if parent is not None and (found := PARENT.fullmatch(parent.strip())):
        version, trace, span, flags, more = found.groups()
        usable = version != "ff" and (version != "00" or more is None)
        if usable and trace.strip("0") and span.strip("0"):
            return Trace(trace, trace, new_span(), flags)
    if older is not None and OLDER.fullmatch(older):
        return Trace(older, as_hexadecimal(older), new_span())
    return new_trace()


def as_hexadecimal(older: str) -> str:
    """Return the id that stands for *older* where 32 digits are asked for."""
    if HEXADECIMAL.fullmatch(older) and older.strip("0"):
        return older
    return blake2b(older.encode(), digest_size=16).hexdigest()


def carried() -> Context | None:
    """Return a copy of the caller's context if it is part of a trace, else None."""
    return copy_context() if TRACE.get() is not None else None
