"""
The tasks that answer requests: the application's, and the one for refusals.

A task of waitress's runs on a thread of the pool and writes through its channel.
What is added here: problem documents, the access log, a right end for HEAD and for
answers without a body, and streams that let go of their thread.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from typing import Any

from waitress.channel import ClientDisconnected
from waitress.task import ErrorTask, WSGITask

from kinesis.web.problems import MEDIA_TYPE, document, title_of
from kinesis.web.streams import TASK_KEY, Detached

log = logging.getLogger("kinesis.http")

CLIENT_LEFT = 499  # nginx's number for a client that did not wait for the answer


class Answer:
    """
    What both kinds of task do, the application's and the one for refusals.

    Mixed in before a task of waitress's.
    """

    body_bytes = 0
    ends_itself = False  # while the head of a 204 or 304 is built

    def service(self: Any) -> None:
        """
        Answer the request, and log that.

        Not waitress's own `service`, which takes an `OSError` of the application
        for one of the socket's.
        """
        began = self.channel.server.monotonic()
        try:
            self.start()
            self.execute()
            self.finish()
        except ClientDisconnected:
            self.status = f"{CLIENT_LEFT} Client Left"
            raise
        except Detached:
            raise
        except BaseException as error:  # SystemExit in a handler is its failure too
            self.fail(error)
        finally:
            self.channel.server.access.answered(self, began)

    def write(self: Any, data: bytes) -> None:
        """Send *data*; for HEAD the headers alone."""
        if self.request.command == "HEAD":
            data = b""
        self.body_bytes += len(data)
        if self.wrote_header:
            super().write(data)  # type: ignore[misc]  # the task that this is mixed into
            return
        self.channel.hold()  # the head and these bytes go out together
        try:
            super().write(data)  # type: ignore[misc]  # as above
        finally:
            self.channel.let_go()

    def finish(self: Any) -> None:
        """End the answer; for HEAD without the last, empty chunk of a body."""
        if self.request.command == "HEAD":
            self.write(b"")
            self.chunked_response = False
        super().finish()  # type: ignore[misc]  # the task that this is mixed into

    def build_response_header(self: Any) -> bytes:
        """Tell the client to ask elsewhere next time, if the server is stopping."""
        if self.channel.server.draining:
            self.set_close_on_finish()
        self.ends_itself = (
            not self.has_body
            and not self.close_on_finish
            and self.version == "1.1"
            and not self.request.connection_close
        )
        try:
            head: bytes = super().build_response_header()  # type: ignore[misc]  # as above
        finally:
            self.ends_itself = False
        return head

    def set_close_on_finish(self: Any) -> None:
        """Close afterwards; but not for want of a length where there is no body."""
        if not self.ends_itself:
            super().set_close_on_finish()  # type: ignore[misc]  # as above

    def fail(self: Any, error: BaseException) -> None:
        """Log *error*; answer 500 if no answer has begun, else break it off."""
        number = os.urandom(6).hex()
        target = self.request.request_uri
        log.error(
            "%s %s failed [%s]",
            self.request.command,
            target,
            number,
            exc_info=error,
            extra={"path": self.channel.server.path, "error_id": number},
        )
        if self.wrote_header:
            self.close_on_finish = True
            return
        detail = f"The request failed. The log has the reason, as {number}."
        body = document(500, detail, instance=self.request.path, id=number)
        self.send_problem(500, body)

    def send_problem(self: Any, status: int, body: bytes) -> None:
        """Make *body* the whole answer."""
        self.complete = True
        self.status = f"{status} {title_of(status)}"
        self.response_headers = [("Content-Type", MEDIA_TYPE)]
        self.content_length = len(body)
        self.content_bytes_written = 0
        if self.close_on_finish:
            self.set_close_on_finish()
        self.write(body)


class ApplicationTask(Answer, WSGITask):  # type: ignore[misc]  # waitress is not typed
    """Let the application answer."""

    def get_environment(self) -> dict[str, Any]:
        """Return the environ, in which event streams find their task."""
        environ: dict[str, Any] = super().get_environment()
        environ[TASK_KEY] = self
        environ["SERVER_SOFTWARE"] = "kinesis"
        return environ

    def answer(
        self, status: str, headers: Iterable[tuple[str, str]], body: bytes | None
    ) -> bool:
        """
        Send a whole answer at once, in place of `start_response` and a body.

        That takes a good part of what a short request costs: each header is looked
        at twice, and lists of them are made three times.

        Args:
            status: ``200 OK``.
            headers: All but ``Content-Length`` and ``Date``.
            body: None where there is none, not even an empty one: 204 and 304.

        Returns:
            Whether it is sent. If not, it must go the long way: the connection
            ends with it, or a header cannot be sent.
        """
        server, request = self.channel.server, self.request
        if (
            self.version != "1.1"
            or request.connection_close
            or request.command == "HEAD"
            or server.draining
        ):
            return False
        lines = [f"HTTP/1.1 {status}"]
        lines += [f"{name}: {value}" for name, value in headers]
        lines.append(f"Date: {server.http_date()}")
        if body is None:
            body = b""
        else:
            lines.append(f"Content-Length: {len(body)}")
        head = "\r\n".join([*lines, "\r\n"])
        if head.count("\n") > len(lines) + 1 or head.count("\r") > len(lines) + 1:
            return False  # a header that would begin another: the long way raises
        try:
            data = head.encode("latin-1") + body
        except UnicodeEncodeError:
            return False
        self.complete = self.wrote_header = True
        self.status, self.body_bytes = status, len(body)
        self.channel.write_soon(data)
        return True


class RefusalTask(Answer, ErrorTask):  # type: ignore[misc]  # waitress is not typed
    """Say what is wrong with the request, then close the connection."""

    def execute(self) -> None:
        """Send the problem document; called by `service`."""
        error = self.request.error
        self.version = "1.1"  # ours; the client's may be what is wrong
        self.channel.unread = True
        self.close_on_finish = True
        instance = self.request.path or None
        self.send_problem(
            error.code, document(error.code, error.body, instance=instance)
        )
