"""
What is answered, and how it gets to the server.

Most answers are some bytes and a few headers, and go to WSGI as they are: a
`werkzeug.Response` is only made by those who write one themselves. (To make and
emit one costs about as much as all the rest of a request.)
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextvars import Context
from typing import TYPE_CHECKING, Any

import attrs
import msgspec
from werkzeug import Response
from werkzeug.exceptions import HTTPException

from kinesis.errors import describe
from kinesis.snapshots import Snapshot
from kinesis.snapshots.canonical import canonical, count_odd_numbers
from kinesis.snapshots.shapes import to_data
from kinesis.web.problems import MEDIA_TYPE, document, title_of
from kinesis.web.streams import TASK_KEY, EventStream, respond
from kinesis.web.tags import json_of

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

JSON = "application/json"
TEXT = "text/plain; charset=utf-8"
BYTES = "application/octet-stream"

BODILESS = frozenset({204, 304})

Headers = list[tuple[str, str]]


@attrs.define(eq=False)  # not frozen: one is made for every request
class Answer:
    """
    An answer on its way to the server.

    Attributes:
        body: All of it, or an iterable whose parts are sent as they come.
        raw: A response of Werkzeug's, which then is the answer.
    """

    status: int
    body: bytes | Iterable[bytes] = b""
    headers: Headers = attrs.field(factory=list)
    raw: Response | None = None


class Problem(Exception):
    """
    Raised to answer with a problem document.

    Args:
        status: The HTTP status.
        detail: What happened, and what to do about it.
        headers: More headers.
        members: More members of the document.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        headers: Iterable[tuple[str, str]] = (),
        **members: object,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = list(headers)
        self.members = members

    def answer(self, instance: str) -> Answer:
        """Return the answer; *instance* is the path it is about."""
        return problem(
            self.status,
            self.detail,
            instance=instance,
            headers=self.headers,
            **self.members,
        )


def problem(
    status: int,
    detail: str,
    *,
    instance: str,
    headers: Iterable[tuple[str, str]] = (),
    **members: object,
) -> Answer:
    """Return a problem document as an answer; see `kinesis.web.problems`."""
    body = document(status, detail, instance=instance, **members)  # type: ignore[arg-type]  # type= is text
    return Answer(status, body, [("Content-Type", MEDIA_TYPE), *headers])


def json_answer(
    content: Any, status: int = 200, headers: Headers | None = None
) -> Answer:
    """Return *content*, encoded unless it is bytes, as JSON."""
    body = content if isinstance(content, bytes) else encode(content)
    return Answer(status, body, [("Content-Type", JSON), *(headers or ())])


def encode(value: object) -> bytes:
    """
    Return *value* as JSON: a snapshot, or what msgspec can encode.

    Numbers that JSON has not are text, as in a snapshot; msgspec has null for them.

    Raises:
        TypeError: There is something in it that has no form in JSON.
    """
    if isinstance(value, Snapshot):
        return json_of(value)
    content = msgspec.json.encode(value, enc_hook=_to_data)
    if b"null" in content and count_odd_numbers(value):
        return msgspec.json.encode(canonical(value), enc_hook=_to_data)
    return content


def _to_data(value: object) -> Any:
    """Return what stands for a value that msgspec does not know."""
    if isinstance(value, Snapshot):
        return msgspec.Raw(json_of(value))
    return to_data(value)


def answer_of(result: object) -> Answer:
    """
    Return the answer that the *result* of a route stands for.

    Raises:
        TypeError: It is nothing that can be an answer.
    """
    maker = _MAKERS.get(type(result))
    if maker is not None:
        return maker(result)
    for cls, maker in _KINDS:
        if isinstance(result, cls):
            return maker(result)
    if isinstance(result, Answer):  # its headers are added to; it may be kept
        return attrs.evolve(result, headers=list(result.headers))
    if isinstance(result, Response):
        return Answer(result.status_code, b"", [], result)
    if isinstance(result, EventStream):
        response = respond(result)
        return Answer(response.status_code, b"", [], response)
    if isinstance(result, Mapping):
        return json_answer(dict(result))
    if isinstance(result, Snapshot) or _is_value(result):
        return json_answer(result)
    if isinstance(result, Iterable):
        return _streamed(iter(result))
    raise TypeError(
        f"a route returned {type(result).__name__}. Return a Response, str, bytes, "
        f"dict, list, None, or an iterable of str or bytes."
    )


def _is_value(result: object) -> bool:
    """Whether *result* is an instance of a class of values that JSON can hold."""
    cls = type(result)
    return (
        isinstance(result, msgspec.Struct)
        or hasattr(cls, "__attrs_attrs__")
        or hasattr(cls, "__dataclass_fields__")
    )


def _streamed(parts: Iterator[object]) -> Answer:
    """Return an answer of *parts*; of the first one now, so that it may still fail."""
    first = [_as_bytes(part) for part in itertools.islice(parts, 1)]
    body = _Parts(itertools.chain(first, map(_as_bytes, parts)), parts)
    return Answer(200, body, [("Content-Type", TEXT)])


class _Parts:
    """The parts of a streamed body; closed when the client has gone."""

    def __init__(self, parts: Iterator[bytes], source: Iterator[object]) -> None:
        self._parts = parts
        self._close: Callable[[], object] | None = getattr(source, "close", None)

    def __iter__(self) -> Iterator[bytes]:
        return self._parts

    def close(self) -> None:
        """Close what makes the parts."""
        if self._close is not None:
            self._close()


def _as_bytes(part: object) -> bytes:
    """Return a part of a streamed body."""
    if isinstance(part, str):
        return part.encode()
    if isinstance(part, bytes | bytearray | memoryview):
        return bytes(part)
    raise TypeError(f"a part of a streamed answer is {type(part).__name__}, not text")


def _text_answer(text: str) -> Answer:
    return Answer(200, text.encode(), [("Content-Type", TEXT)])


def _bytes_answer(data: bytes | bytearray | memoryview) -> Answer:
    return Answer(200, bytes(data), [("Content-Type", BYTES)])


_MAKERS: dict[type, Callable[[Any], Answer]] = {
    str: _text_answer,
    bytes: _bytes_answer,
    dict: json_answer,
    list: json_answer,
    type(None): lambda _: Answer(204),
}

# Of subclasses too, such as those of an enumeration: they are iterable as well, and
# would be streamed a letter at a time.
_KINDS: tuple[tuple[Any, Callable[[Any], Answer]], ...] = (
    (str, _text_answer),
    (bytes | bytearray | memoryview, _bytes_answer),
    (list | tuple, json_answer),
)


def answer_of_exception(error: HTTPException, environ: WSGIEnvironment) -> Answer:
    """Return the answer that one of Werkzeug's exceptions asks for."""
    if error.response is not None or error.code is None or error.code < 400:
        response = error.get_response(environ)
        assert isinstance(response, Response)
        return Answer(response.status_code, b"", [], response)
    detail = error.description or f"{title_of(error.code)}."
    headers = [
        (name, value)
        for name, value in error.get_headers(environ)
        if name.lower() not in {"content-type", "content-length"}
    ]
    return problem(error.code, detail, instance=environ["PATH_INFO"], headers=headers)


def emit(
    answer: Answer,
    environ: WSGIEnvironment,
    start_response: StartResponse,
    context: Context,
) -> Iterable[bytes]:
    """
    Hand *answer* to the server.

    A body that is made while it is sent runs in *context*.
    """
    if answer.raw is not None:
        return _emit_response(
            answer.raw, answer.headers, environ, start_response, context
        )
    content, headers = answer.body, answer.headers
    status = status_line(answer.status)
    if answer.status in BODILESS:
        if _send_at_once(environ, status, headers, None):
            return ()
        content = b""
    elif isinstance(content, bytes):
        if _send_at_once(environ, status, headers, content):
            return ()
        headers.append(("Content-Length", str(len(content))))
    start_response(status, headers)
    if environ["REQUEST_METHOD"] == "HEAD":
        close = getattr(content, "close", None)
        if close is not None:
            close()
        return ()
    if isinstance(content, bytes):
        return (content,) if content else ()
    return _InContext(content, context)


def _send_at_once(
    environ: WSGIEnvironment, status: str, headers: Headers, body: bytes | None
) -> bool:
    """Have our server's task send the whole answer; false if it cannot."""
    task = environ.get(TASK_KEY)
    return task is not None and task.answer(status, headers, body)


def _emit_response(
    response: Response,
    more: Headers,
    environ: WSGIEnvironment,
    start_response: StartResponse,
    context: Context,
) -> Iterable[bytes]:
    """
    Hand a response of Werkzeug's to the server; a plain one without its help.

    Headers are added on the way, not to *response*: a route may return one again.
    """
    more = [header for header in more if header[0] not in response.headers]
    if _is_plain(response):
        body = response.get_data()
        headers = [*response.headers.to_wsgi_list(), *more]
        if "Content-Length" not in response.headers:
            if _send_at_once(environ, response.status, headers, body):
                return ()
            headers.append(("Content-Length", str(len(body))))
        start_response(response.status, headers)
        return () if environ["REQUEST_METHOD"] == "HEAD" else (body,)

    def start(status: str, headers: Headers, *failure: Any) -> Callable[..., object]:
        return start_response(status, [*headers, *more], *failure)

    parts = response(environ, start)
    if response.is_sequence or _detaches(response):
        return parts
    return _InContext(parts, context)


def _is_plain(response: Response) -> bool:
    """Whether all that Werkzeug would do is to join the body and count it."""
    return (
        type(response) is Response
        and response.is_sequence
        and response.status_code >= 200
        and response.status_code not in BODILESS
        and not response._on_close
        and "Location" not in response.headers
        and "Content-Location" not in response.headers
    )


def _detaches(response: Response) -> bool:
    """Whether the server must see the body itself: a stream lets go of its thread."""
    return isinstance(response.response, EventStream)


class _InContext:
    """A body whose parts are made in the context of their request."""

    def __init__(self, body: Iterable[bytes], context: Context) -> None:
        self._body = body
        self._parts = iter(body)
        self._context = context

    def __iter__(self) -> _InContext:
        return self

    def __next__(self) -> bytes:
        return self._context.run(next, self._parts)

    def close(self) -> None:
        """Close the body."""
        close = getattr(self._body, "close", None)
        if close is not None:
            self._context.run(close)


def status_line(status: int) -> str:
    """Return ``404 Not Found``."""
    line = _LINES.get(status)
    if line is None:
        line = _LINES[status] = f"{status} {title_of(status)}"
    return line


_LINES: dict[int, str] = {}


def tell(error: BaseException) -> str:
    """Return what an error says, for a client: its own text, with no type."""
    text = getattr(error, "message", None)
    return text if isinstance(text, str) and text else describe(error)
