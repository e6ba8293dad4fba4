"""
The trace of a request: taken from its headers or begun, and given back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kinesis.traces import Trace, new_trace, trace_of
from kinesis.web.answers import Headers

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment


def begin(environ: WSGIEnvironment) -> Trace:
    """Return the trace that a request is part of."""
    parent = environ.get("HTTP_TRACEPARENT")
    older = environ.get("HTTP_TRACE_ID") or environ.get("HTTP_TRACEID")
    if parent is None and older is None:
        return new_trace()
    return trace_of(parent, older)


def give_back(headers: Headers, trace: Trace, environ: WSGIEnvironment) -> None:
    """Tell the client which trace it was, in the words that it has used."""
    headers.append(("traceparent", trace.parent))
    headers.append(("Trace-ID", trace.id))
    if "HTTP_TRACEID" in environ:
        headers.append(("TraceID", trace.id))
