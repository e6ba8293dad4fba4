"""
One connection.

Waitress reads a whole request on its loop, then hands the channel to a thread of
the pool, whose task (see `kinesis.web.tasks`) writes the answer. The subclass here
adds the deadlines, refusals, and streams that let go of their thread.

Who may do what: the loop's thread alone opens, reads and closes a socket. Threads
of the pool write through `outbuf_lock`; what else they want done they hand over
with `Listener.call`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from waitress.channel import HTTPChannel
from waitress.utilities import build_http_date

from kinesis.web.parsing import Fault, Parser
from kinesis.web.problems import MEDIA_TYPE, document, title_of
from kinesis.web.streams import Detached, EventStream
from kinesis.web.tasks import ApplicationTask, RefusalTask

if TYPE_CHECKING:
    from kinesis.web.listener import Listener

TRACE_KEY = "kinesis.trace"  # where in the environ the application leaves a trace id
PIECE = 2_048  # bytes read at once: some fifty requests, if they are short
LEAST_IDLE = 0.1  # seconds; a new client's request may be on its way
DISCARD_SECONDS = 2.0  # how long, and
DISCARD_BYTES = 8 * 2**20  # how much of a refused request is read and thrown away


class Channel(HTTPChannel):  # type: ignore[misc]  # waitress is not typed
    """A connection; see the module for who may touch what."""

    task_class = ApplicationTask
    error_task_class = RefusalTask
    parser_class = Parser

    server: Listener
    requests: list[Parser]  # whole ones; the first is being answered
    stream: EventStream | None = None  # set while one has let go of its thread
    streamed = False
    input_ended = False  # the client sends no more, and may wait for answers
    unread = False  # the client may still be sending what has been refused
    discarding: float | None = None  # since when it is read and thrown away
    discarded = 0
    request_began = 0.0
    _rest = b""  # what has come and is not read yet
    _activity = 0.0
    _held: list[bytes] | None = None

    # Waitress notes the time of day here, which may be set back or forward, and
    # then every client would look idle, or none ever again.
    @property
    def last_activity(self) -> float:
        """The moment when bytes came or went last, on the monotonic clock."""
        return self._activity

    @last_activity.setter
    def last_activity(self, time_of_day: float) -> None:
        self._activity = self.server.monotonic()

    # --- on the loop's thread ---

    def received(self, data: bytes) -> bool:
        """Take bytes from the client."""
        self._rest += data
        return self.read_on()

    def read_on(self) -> bool:
        """
        Read what has come, until enough requests wait; the rest when they do not.

        Waitress would read all: thousands of short requests, if a client sends them
        at once, while all other clients wait. Notes when each request began.
        """
        taken, most = False, self.adj.channel_request_lookahead
        while self._rest and len(self.requests) <= most:
            piece, self._rest = self._rest[:PIECE], self._rest[PIECE:]
            before = self.request
            taken = super().received(piece)
            if self.request is not before:
                self.request_began = self.server.monotonic()
            if not taken:  # it is about to be closed
                self._rest = b""
        if self._rest:
            self.server.behind.add(self)
        return taken

    def readable(self) -> bool:
        """Whether the loop should read; waitress's rules, or to throw away."""
        if self.discarding is not None:
            return True
        return not self.input_ended and not self._rest and super().readable()

    def handle_read(self) -> None:
        """Read; after a refusal only to let the client get to the answer."""
        try:
            data = self.recv(self.adj.recv_bytes)
        except OSError:
            self.handle_close()
            return
        if not data:  # `recv` has seen the end, or there is nothing yet
            return
        if self.discarding is None:
            self._activity = self.server.monotonic()
            self.received(data)
        else:
            self._discard(len(data))

    def recv(self, buffer_size: int) -> bytes | None:
        """Return bytes, None if there are none yet; empty at the end."""
        try:
            data: bytes = self.socket.recv(buffer_size)
        except BlockingIOError:
            return None
        if not data:
            self.end_of_input()
        return data

    def end_of_input(self) -> None:
        """
        Close, once what the client has asked for is answered.

        It has ended its side of the connection, and perhaps not the other: some
        clients do so to say that they have asked for all that they want. Who reads a
        stream has not, so there it is the end.
        """
        with self.requests_lock, self.outbuf_lock:
            waits = bool(self.requests or self.total_outbufs_len)
            self.input_ended = waits and self.stream is None and self.discarding is None
            self.close_when_flushed |= self.input_ended and not self.requests
        if not self.input_ended:
            self.handle_close()

    def check_client_disconnected(self) -> bool:
        """Whether the client has gone, or looks like it; waitress gives it to apps."""
        return self.input_ended or not self.connected

    def _discard(self, count: int) -> None:
        """Throw *count* bytes away; close when it has been enough of that."""
        self.discarded += count
        if self.discarded > DISCARD_BYTES:
            self.handle_close()

    def handle_write(self) -> None:
        """Send what waits; then close, or first let a refused client finish."""
        if not self.unread or self.will_close or not self.close_when_flushed:
            super().handle_write()
            return
        self._flush_exception(self._flush_some)
        if self.connected and not self.total_outbufs_len and not self.will_close:
            self._begin_discarding()

    def _begin_discarding(self) -> None:
        """
        End our side of the connection, and read on for a while.

        To close a socket that has unread input resets the connection, and the
        answer may be lost with it (RFC 9112, 9.6).
        """
        self.close_when_flushed = False
        self.discarding = self.server.monotonic()
        try:
            self.end_of_output()
        except OSError:  # the client has gone already
            self.handle_close()

    def end_of_output(self) -> None:
        """Tell the client that nothing more will come."""
        self.socket.shutdown(1)

    def overdue(self, now: float) -> str | None:
        """Return which deadline this connection has missed, if one."""
        limits = self.server.limits
        if self.discarding is not None:
            return "refused" if now - self.discarding > DISCARD_SECONDS else None
        silent = now - self._activity
        if self.total_outbufs_len:
            return "slow reader" if silent > limits.write_timeout else None
        if self.requests:
            self.request_began = now  # the next one is not read meanwhile
            return None
        if self.request is not None:
            late = now - self.request_began > limits.request_timeout
            return "slow request" if late else None
        return "idle" if silent > limits.idle_timeout else None

    def is_quiet(self, now: float, linger: float) -> bool:
        """
        Return whether a stopping server may close this connection.

        *linger* seconds are left for a request that is on its way, more for one
        that has arrived in part and for a stream's last bytes.
        """
        silent = now - self._activity
        if self.streamed:
            return self.stream is None and silent > 3 * linger
        if self.requests or self.total_outbufs_len:
            return False
        return silent > linger * (1 if self.is_between_requests() else 3)

    def is_idle(self, now: float) -> bool:
        """Return whether nothing is lost if it is closed now."""
        if self.requests or self.total_outbufs_len or self.discarding is not None:
            return False
        return self.is_between_requests() and now - self._activity > LEAST_IDLE

    def is_between_requests(self) -> bool:
        """Return whether nothing of a next request has arrived."""
        return self.request is None and not self._rest

    def refuse(self, fault: Fault, retry_after: float | None = None) -> None:
        """
        Answer the request at hand without a thread of the pool, and close.

        On the loop, or by the task that has just ended: nobody else is writing.
        """
        request = self.requests[0] if self.requests else self.request
        for waiting in self.requests:
            waiting.close()
        self.requests = []
        self.unread = True
        answer = refusal(fault, request, retry_after, self.server.threads.time())
        self._activity = self.server.monotonic()
        with self.outbuf_lock:
            self.outbufs[-1].append(answer)
            self.current_outbuf_count += len(answer)
            self.total_outbufs_len += len(answer)
            self.close_when_flushed = True
        self.server.access.refused(self, request, fault)

    def handle_close(self) -> None:
        """Close the connection and what hangs on it."""
        super().handle_close()
        self._rest = b""
        if self.request is not None:
            self.request.close()
        stream, self.stream = self.stream, None
        if stream is not None:
            stream.left()

    # --- on threads of the pool, and others ---

    def write_soon(self, data: Any) -> int:
        """Take bytes for the client; its time to take them begins now."""
        if self._held is not None:
            self._held.append(data)
            return len(data)
        if not self.total_outbufs_len:
            self._activity = self.server.monotonic()
        taken: int = super().write_soon(data)
        return taken

    def hold(self) -> None:
        """
        Keep what is written until `let_go`, to send it at once.

        Waitress would send an answer's head and its body one after the other, in
        two packets.
        """
        self._held = []

    def let_go(self) -> None:
        """Send what has been kept."""
        held, self._held = self._held, None
        if held:
            self.write_soon(held[0] if len(held) == 1 else b"".join(held))

    def service(self) -> None:
        """Answer one request; a stream only begins here."""
        try:
            super().service()
        except Detached as detached:
            self._keep(detached.stream)
        if self.input_ended:
            self._close_if_answered()

    def _close_if_answered(self) -> None:
        """Close once all is sent, if nothing is left to be answered."""
        with self.requests_lock:
            self.close_when_flushed |= not self.requests
        self.server.pull_trigger()

    def _keep(self, stream: EventStream) -> None:
        """
        Leave the request running, without a thread, for the stream.

        Under the lock, since the loop may be closing the channel: it either finds
        the stream, or has closed before, and then we tell the stream.
        """
        self.requests[0].close()
        with self.outbuf_lock:
            kept = self.connected and not self.input_ended
            if kept:
                self.streamed, self.stream = True, stream
        if kept:
            stream.begin()
        else:
            stream.left()
            self.cut()
        self.server.pull_trigger()

    def end_stream(self) -> None:
        """Close the connection once everything has been sent."""
        with self.requests_lock:
            self.close_when_flushed = True
            waiting, self.requests = self.requests, []
        for request in waiting:
            request.close()
        self.server.call(self._forget_stream)

    def _forget_stream(self) -> None:
        """Let go of a stream that has ended; on the loop."""
        stream, self.stream = self.stream, None
        if stream is not None:
            stream.left()

    def cut(self) -> None:
        """Close on the loop at once, unsent bytes or not."""
        self.server.call(self._cut)

    def _cut(self) -> None:
        """Close unless that has happened; on the loop."""
        if self.socket is not None:
            self.handle_close()

    def _flush_some(self, do_close: bool = True) -> bool:
        """
        Send what the socket takes, under the lock.

        Waitress leaves the lock out when no request is running, and a thread
        that sends ``100 Continue`` just then sends the same bytes.
        """
        with self.outbuf_lock:
            sent: bool = super()._flush_some(do_close=do_close)
        return sent

    def send(self, data: bytes, do_close: bool = True) -> int:
        """Send what the socket takes; a dead one is closed on the loop alone."""
        close = do_close and self.server.is_loop()
        try:
            sent: int = super().send(data, do_close=close)
        except AttributeError:
            if self.socket is not None:
                raise
            return 0  # the loop has closed it in this very moment
        return sent


def refusal(
    fault: Fault, request: Parser | None, retry_after: float | None, now: float
) -> bytes:
    """Return all the bytes of an answer that says *fault*."""
    path = getattr(request, "path", "") or None
    command = getattr(request, "command", "")
    body = document(fault.status, fault.detail, instance=path)
    lines = [
        f"HTTP/1.1 {fault.status} {title_of(fault.status)}",
        "Connection: close",
        f"Content-Length: {len(body)}",
        f"Content-Type: {MEDIA_TYPE}",
        f"Date: {build_http_date(now)}",
    ]
    if retry_after is not None:
        lines.append(f"Retry-After: {retry_after:.0f}")
    head = "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"
    return head if command == "HEAD" else head + body
