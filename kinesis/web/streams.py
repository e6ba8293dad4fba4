"""
Streams of events that hold no thread.

A plain streaming body keeps a thread of the pool for as long as its reader
listens: eight readers, and an eight-thread server answers nobody. An
`EventStream` sends its first bytes as a body does, and then *detaches*: its
second `next()` raises `Detached`, which unwinds the task and gives the thread
back while the connection stays open. From then on `EventStream.write` sends from
any thread, and never waits.

`Hub` is the one thread that writes to all of them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from waitress.channel import ClientDisconnected

if TYPE_CHECKING:
    from werkzeug import Response

TASK_KEY = "kinesis.task"  # where in the environ the server leaves its task

BOUND = 256 * 1024  # bytes of events that may wait for one reader; then it is cut off


class Detached(BaseException):
    """
    Unwind the task of a stream; not an error.

    A `BaseException`, as `GeneratorExit` is, so that an ``except Exception`` on
    the way leaves it alone.
    """

    def __init__(self, stream: EventStream) -> None:
        super().__init__(stream)
        self.stream = stream


class EventStream:
    """
    A response's body that goes on after its thread has gone.

    Under another server than ours, such as a test client, it is *first* alone.

    Args:
        environ: The request's.
        first: Sent with the headers, from the pool's thread.
        bound: Bytes that may wait for a reader that is slower than its events; one
            event alone may be larger.
        on_begin: Called once it has detached, on the pool's thread.
        on_left: Called once when it is over, whoever ended it, on any thread;
            also if it never began. It must not wait for anything.

    Thread safety: any thread may call `write` and `end`.
    """

    def __init__(
        self,
        environ: Mapping[str, Any],
        *,
        first: bytes = b"",
        bound: int = BOUND,
        on_begin: Callable[[EventStream], object] | None = None,
        on_left: Callable[[EventStream], object] | None = None,
    ) -> None:
        self._task = environ.get(TASK_KEY)
        self._first: bytes | None = first
        self._is_head = environ.get("REQUEST_METHOD") == "HEAD"
        self._bound = bound
        self._on_begin = on_begin
        self._on_left = on_left
        self._detaching = False
        self._open = False
        self._over = [True]  # popped by the one who says that it is over
        if self._task is not None:
            self._lock = self._task.channel.server.threads.lock()

    @property
    def is_open(self) -> bool:
        """Whether it takes writes."""
        return self._open

    # --- as a body, on a thread of the pool ---

    def __iter__(self) -> EventStream:
        return self

    def __next__(self) -> bytes:
        """Return the first bytes; then leave the thread."""
        if self._is_head:
            raise StopIteration
        if self._first is not None:
            first, self._first = self._first, None
            return first
        if self._task is None:
            self.left()
            raise StopIteration
        self._detaching = True
        raise Detached(self)

    def close(self) -> None:
        """
        Called by the server when it is done with the body.

        Also on the way out of detaching, when the stream has only begun.
        """
        if not self._detaching:
            self.left()

    def begin(self) -> None:
        """Take writes from now on; called once the connection is kept."""
        self._open = True
        if not self._over:  # left in this very moment, and `left` came first
            self._open = False
        elif self._on_begin is not None:
            self._on_begin(self)

    # --- from any thread ---

    def write(self, data: bytes) -> bool:
        """
        Send *data*, or keep it until the reader takes it; never wait.

        Returns:
            False if the reader has gone, or is cut off now: something waits for it
            already, and with *data* that is more than the bound.
        """
        if self._task is None:
            return False
        channel = self._task.channel
        with self._lock:
            if not self._open:
                return False
            waiting = channel.total_outbufs_len
            if waiting and waiting + len(data) > self._bound:  # slow, not only large
                self._open = False
                channel.cut()
                return False
            try:
                self._task.write(data)
            except (ClientDisconnected, OSError):
                self._open = False
        return self._open

    def end(self) -> None:
        """Tell the reader that nothing more comes, and close. Idempotent."""
        if self._task is None:
            return
        with self._lock:
            if not self._open:
                return
            self._open = False
            with contextlib.suppress(ClientDisconnected, OSError):
                self._task.finish()
        self._task.channel.end_stream()

    def left(self) -> None:
        """Note that it is over. Called by the server, perhaps under its locks."""
        try:
            self._over.pop()
        except IndexError:
            return
        self._open = False
        if self._on_left is not None:
            self._on_left(self)


def respond(stream: EventStream) -> Response:
    """Return the response whose body is *stream*, with the headers that it needs."""
    from werkzeug import Response  # lazy: only those who answer with it need it

    response = Response(stream, mimetype="text/event-stream")
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Accel-Buffering"] = "no"  # nginx would hold events back
    return response


def format_event(
    data: str, *, event: str | None = None, id: str | None = None
) -> bytes:
    """
    Return one server-sent event.

    A line break in *data* begins another ``data:`` line; one in *event* or *id*
    would begin a field of the sender's choosing, and is taken out.
    """
    lines = [
        f"{name}: {''.join(value.splitlines())}"
        for name, value in (("id", id), ("event", event))
        if value is not None
    ]
    text = data.replace("\r\n", "\n").replace("\r", "\n")
    lines += [f"data: {line}" for line in text.split("\n")]
    return ("\n".join(lines) + "\n\n").encode()
