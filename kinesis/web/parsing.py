"""
What a request must look like before anything else sees it.

Waitress's parser is strict about most things. This one adds what lets two
servers in a row disagree about where a request ends (RFC 9112, 6.1), which host
it is for, or which resource a path names: such requests are refused, not mended.

Paths are judged as they were sent, since waitress decodes them once and by then
``%2f`` looks like a slash.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote_to_bytes

import attrs
from waitress.parser import HTTPRequestParser, ParsingError
from waitress.utilities import Error

from kinesis.web.problems import title_of

MAX_TARGET = 8_192  # bytes of path and query together
MAX_PATH = 2_048  # bytes of path, as sent

MAX_LINES = 256  # of a head; each takes about as long as all the rest

SLICE = 4_096  # bytes of a chunked body read at once: each chunk copies the rest
MAX_FRAMING = 4 * 1024  # bytes around chunks, besides twice those in them

VERSIONS = ("1.0", "1.1")

TARGET = re.compile(r"[\x21-\x7e]+")
HOST = re.compile(r"[A-Za-z0-9._~!$&'()*+;=%:\[\]-]*")
LONE_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
HIDDEN = re.compile(r"%(?:2[fF]|5[cC]|[01][0-9A-Fa-f]|7[fF])|\\")
FOLDED = re.compile(rb"\r\n[ \t]")
CODINGS = re.compile(rb"^transfer-encoding:([^\r\n]*)", re.I | re.M)
PADDED = re.compile(rb"(\r\n[^\r\n:]*:)[ \t]+")  # before a value


@attrs.frozen
class Fault:
    """Why a request is refused: an HTTP status, and a sentence for the client."""

    status: int
    detail: str


def fault_of_target(method: str, target: str) -> Fault | None:
    """Say what is wrong with the request's *target* as it was sent, if anything."""
    if len(target) > MAX_TARGET:
        return Fault(414, f"the target is longer than {MAX_TARGET} bytes.")
    if method == "OPTIONS" and target == "*":
        return None
    if not target.startswith("/"):
        return Fault(400, "send the path alone, beginning with a slash.")
    if not TARGET.fullmatch(target) or "#" in target:
        return Fault(400, "the target has a character that must be percent-encoded.")
    return fault_of_path(target.partition("?")[0])


def fault_of_path(path: str) -> Fault | None:
    """Say what is wrong with a *path*, still percent-encoded, if anything."""
    if len(path) > MAX_PATH:
        return Fault(414, f"the path is longer than {MAX_PATH} bytes.")
    if "//" in path:
        return Fault(400, "the path has an empty segment.")
    if LONE_PERCENT.search(path):
        return Fault(400, "the path has a % without two hexadecimal digits.")
    if HIDDEN.search(path):
        return Fault(400, "the path hides a slash, backslash or control character.")
    try:
        decoded = unquote_to_bytes(path).decode()
    except UnicodeDecodeError:
        return Fault(400, "the path is not UTF-8.")
    if not {".", ".."}.isdisjoint(decoded.split("/")):
        return Fault(400, "the path has a segment '.' or '..'.")
    return None


def fault_of_lines(head: bytes) -> Fault | None:
    """Say why the lines of a *head* are not even parsed, if so."""
    if head.count(b"\n") > MAX_LINES:
        return Fault(431, f"the head has more than {MAX_LINES} lines.")
    if FOLDED.search(head):
        return Fault(400, "a header is folded over several lines.")
    return None


def fault_of_head(
    version: str, headers: Mapping[str, str], head: bytes
) -> Fault | None:
    """
    Say what is wrong with a request's head, if anything.

    Args:
        version: ``1.1``, or nothing where the request line has none.
        headers: As waitress keeps them: ``CONTENT_LENGTH``, repeated ones joined
            by commas.
        head: All of it, as sent.
    """
    if version not in VERSIONS:
        status = 505 if version else 400
        return Fault(status, "only HTTP/1.0 and HTTP/1.1 are spoken here.")
    return fault_of_framing(version, headers, head) or fault_of_host(version, headers)


def fault_of_framing(
    version: str, headers: Mapping[str, str], head: bytes
) -> Fault | None:
    """Say why two servers might disagree about where the request ends, if so."""
    codings = CODINGS.findall(head)
    if not codings:
        return None
    if version == "1.0":
        return Fault(400, "HTTP/1.0 has no Transfer-Encoding.")
    if "CONTENT_LENGTH" in headers:
        return Fault(400, "both Content-Length and Transfer-Encoding are given.")
    if [coding.strip(b" \t").lower() for coding in codings] != [b"chunked"]:
        return Fault(400, "the one Transfer-Encoding known here is 'chunked', once.")
    return None


def fault_of_host(version: str, headers: Mapping[str, str]) -> Fault | None:
    """Say what is wrong with the Host header, if anything."""
    host = headers.get("HOST")
    if host is None:
        return Fault(400, "HTTP/1.1 needs a Host.") if version == "1.1" else None
    if not HOST.fullmatch(host):  # several are joined by a comma, which no host has
        return Fault(400, "the Host is repeated or malformed.")
    return None


class Refusal(Error):  # type: ignore[misc]  # waitress is not typed
    """A `Fault` in the form in which waitress carries errors."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.detail)
        self.code = fault.status
        self.reason = title_of(fault.status)


class Parser(HTTPRequestParser):  # type: ignore[misc]  # waitress is not typed
    """Waitress's parser of one request, with the faults above refused."""

    # The names of waitress's that exist only once the first line has been read.
    command = ""
    request_uri = ""
    path = ""
    error: Any = None

    _fault: Fault | None = None

    def received(self, data: bytes) -> int:
        """Take more bytes of the request; return how many belong to it."""
        if self.chunked:
            data = data[:SLICE]
        try:
            taken: int = super().received(data)
        except ValueError:  # a length of 5000 digits, an address like [::
            self._fault = Fault(400, "the head of the request cannot be read.")
            self.error, self.completed, taken = True, True, len(data)
        if self.chunked and self._is_mostly_framing():
            self._fault = Fault(400, "the chunks of the body are too small.")
            self.error = self.completed = True
        if self.error is not None:
            self.error = Refusal(self._fault or self._translated(self.error))
        return taken

    def _is_mostly_framing(self) -> bool:
        """
        Whether what is around the chunks of the body is out of proportion.

        Reading a chunk takes the loop as long as reading some hundred bytes in one.
        Source: the limit of Go's ``net/http`` (CVE-2023-39326), with less to begin
        with: 16 KiB of it took the loop 9 ms.
        """
        size: int = len(self.body_rcv)
        framing: int = self.body_bytes_received - size
        return framing > MAX_FRAMING + 2 * size

    def parse_header(self, header_plus: bytes) -> None:
        """
        Read the head; raise `ParsingError` for what is refused.

        Spaces before a value are taken out first: waitress's pattern for a header
        takes time squared for them, 40 s of the loop for 60 KB. They mean nothing.
        """
        self._fault = fault_of_lines(header_plus)
        if self._fault is not None:
            raise ParsingError(self._fault.detail)
        super().parse_header(PADDED.sub(rb"\1", header_plus))
        self._fault = fault_of_head(
            self.version, self.headers, header_plus
        ) or fault_of_target(self.command, self.request_uri)
        if self._fault is not None:
            raise ParsingError(self._fault.detail)
        self._read_connection()

    def _read_connection(self) -> None:
        """Find ``close`` in a list of options too; waitress looks for it alone."""
        options = self.headers.get("CONNECTION", "").lower().split(",")
        if "close" in {option.strip() for option in options}:
            self.headers["CONNECTION"] = "close"
            self.connection_close = True

    def _translated(self, error: Any) -> Fault:
        """Say in our words what waitress has found itself."""
        if error.code == 431:  # it has put GET / in place of what came
            self.command, self.request_uri, self.path = "", "", ""
            most = self.adj.max_request_header_size - 1
            return Fault(431, f"the head is longer than {most} bytes.")
        if error.code == 413:
            most = self.adj.max_request_body_size - 1
            return Fault(413, f"the body is longer than {most} bytes.")
        return Fault(error.code, str(error.body))
