"""
Errors as problem documents (RFC 9457): JSON that says what went wrong.

Used for the server's own refusals, which are made before there is a response
object, and by the applications above it.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from werkzeug import Response

MEDIA_TYPE = "application/problem+json"


def title_of(status: int) -> str:
    """Return the phrase that belongs to *status*, ``Not Found`` for 404."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"


def document(
    status: int,
    detail: str,
    *,
    instance: str | None = None,
    type: str = "about:blank",
    **members: object,
) -> bytes:
    """
    Return the problem document as JSON; see `problem` for the arguments.

    Its keys are sorted as RFC 9457 lists them, *members* after them.
    """
    content: dict[str, object] = {
        "type": type,
        "title": title_of(status),
        "status": status,
        "detail": detail,
    }
    if instance is not None:
        content["instance"] = instance
    return msgspec.json.encode(content | members)


def problem(
    status: int,
    detail: str,
    *,
    instance: str | None = None,
    type: str = "about:blank",
    **members: object,
) -> Response:
    """
    Return a response whose body is a problem document.

    Args:
        status: The HTTP status; its phrase becomes the title.
        detail: What happened here, and what to do about it, in a sentence.
        instance: The path that the problem is about.
        type: A URI for this kind of problem, if it has a page of its own.
        members: More members of the document, such as ``faults=[...]``; what
            msgspec can encode. ``title=`` replaces the status's phrase.

    Raises:
        TypeError: A member is nothing that JSON can hold.

    Source: RFC 9457, "Problem Details for HTTP APIs".
    """
    from werkzeug import Response  # lazy: the server itself does not need it

    body = document(status, detail, instance=instance, type=type, **members)
    return Response(body, status=status, mimetype=MEDIA_TYPE)
