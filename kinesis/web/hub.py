"""
Events for many readers: one thread that sends each event to all who want it.

Publishers only put a job into the hub's queue. Its thread owns the readers and
the recent events, so a reader that comes back with ``Last-Event-ID`` gets what it
has missed, without a gap or a repeat, and then what is new.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import attrs

from kinesis.concurrency import Empty, Queue, Thread, Threads
from kinesis.errors import ComponentStoppedError, TooManyReadersError
from kinesis.web.streams import EventStream, format_event

log = logging.getLogger("kinesis.http")

HEARTBEAT = 15.0  # seconds; proxies close what is silent for a minute
MOST_WAITING = 10_000  # jobs in the queue; beyond, events are dropped and said so
HISTORY = 192 * 1024  # bytes of recent events; below a stream's bound, to fit it
COMMENT = b":\n\n"  # gets the headers to the client
HELLO = b"retry: 2000\n\n"  # milliseconds until a browser comes back

Wants = Callable[[str], bool]


@attrs.frozen
class Event:
    """What has been published, as it goes over the wire."""

    number: int
    topic: str
    wire: bytes


def everything(topic: str) -> bool:
    """Want every event."""
    return True


class Hub:
    """
    Sends events to readers, each bounded, none waiting for another.

    Args:
        name: Of its thread, and in its messages.
        most_readers: `open` refuses more.
        heartbeat: Seconds between comments that keep a silent connection open,
            and find readers that have gone.

    Thread safety: any thread may call any method.
    """

    def __init__(
        self,
        threads: Threads,
        *,
        name: str = "kinesis:/-/events",
        most_readers: int = 1_000,
        heartbeat: float = HEARTBEAT,
    ) -> None:
        self._threads = threads
        self._name = name
        self._most_readers = most_readers
        self._heartbeat = heartbeat
        self._boot = os.urandom(8).hex()  # ids of an earlier hub are not ours
        self._jobs: Queue[Callable[[], object] | None] = threads.queue()
        self._books = threads.lock()
        self._taken = 0  # places, of readers here and on their way
        self._closed = False
        self._lossy = False
        self._thread: Thread | None = None
        # The rest belongs to the hub's thread.
        self._readers: dict[EventStream, Wants] = {}
        self._history: deque[Event] = deque()
        self._history_bytes = 0
        self._last = 0
        self._next_beat = 0.0

    @property
    def readers(self) -> int:
        """How many readers there are, those on their way included."""
        return self._taken

    def start(self) -> None:
        """Start the thread. Once."""
        self._thread = self._threads.start(self._run, self._name, background=True)

    def stop(self, timeout: float) -> bool:
        """
        Handle what waits, end all readers and the thread. Idempotent.

        Returns:
            Whether the thread ended within *timeout* seconds.
        """
        self._closed = True
        self._jobs.put(None)
        if self._thread is None:
            return True
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def publish(self, topic: str, data: str, *, event: str | None = None) -> bool:
        """
        Send *data* to the readers who want *topic*; never wait.

        Events arrive in the order of the calls.

        Returns:
            False if it is dropped, since the hub has stopped or is far behind.
            In the second case readers get an event ``gap``.
        """
        if self._closed:
            return False
        if self._jobs.qsize() >= MOST_WAITING:
            self._lossy = True
            return False
        self._jobs.put(partial(self._publish, topic, data, event))
        return True

    def skip(self) -> None:
        """Note that events are missing here: readers get a ``gap``, now or later."""
        self._jobs.put(self._break_off)

    def open(
        self,
        environ: Mapping[str, Any],
        *,
        wants: Wants = everything,
        after: str | None = None,
    ) -> EventStream:
        """
        Return the body of a response that streams events from now on.

        Args:
            environ: The request's. Once its client has got ``retry: 2000``, it
                gets every event published from then on.
            wants: Asked with an event's topic, on the hub's thread. A reader whose
                *wants* raises is ended.
            after: The request's ``Last-Event-ID``. What came later is sent first;
                if that is not known any more, an event ``gap`` is.

        Raises:
            TooManyReadersError: Answer 503; the place of another is not taken.
            ComponentStoppedError: The hub has stopped, and will take none.
        """
        self._take_place()
        return EventStream(
            environ,
            first=COMMENT,
            on_begin=lambda stream: self._enter(stream, wants, after),
            on_left=self._leave,
        )

    def _take_place(self) -> None:
        """Count one more reader, unless there is no place."""
        if self._closed:
            raise ComponentStoppedError(
                f"{self._name} has stopped and takes no more readers."
            )
        with self._books:
            if self._taken >= self._most_readers:
                raise TooManyReadersError(
                    f"{self._name} has {self._taken} readers, as many as it may. "
                    f"Try again later, or raise most_readers.",
                    most=self._most_readers,
                )
            self._taken += 1

    def _enter(self, stream: EventStream, wants: Wants, after: str | None) -> None:
        """Add the reader on the hub's thread; end it if that has ended."""
        self._jobs.put(partial(self._add, stream, wants, after))
        if self._closed:  # perhaps after the thread looked at its queue last
            stream.end()

    def _leave(self, stream: EventStream) -> None:
        """Give the place back; called once for each stream, under others' locks."""
        with self._books:
            self._taken -= 1
        self._jobs.put(lambda: self._readers.pop(stream, None))

    # --- on the hub's thread ---

    def _run(self) -> None:
        """Do the jobs in order, until told to end."""
        self._next_beat = self._threads.monotonic() + self._heartbeat
        while (job := self._next_job()) is not None:
            self._do(job)
        self._finish()

    def _next_job(self) -> Callable[[], object] | None:
        """Wait for a job, which is the heartbeat when that is due."""
        wait = self._next_beat - self._threads.monotonic()
        with contextlib.suppress(Empty):
            if wait > 0:
                return self._jobs.get(timeout=wait)
        self._next_beat = self._threads.monotonic() + self._heartbeat
        return partial(self._send_all, b": still here\n\n")

    def _do(self, job: Callable[[], object]) -> None:
        """Do one job; the others are done whatever becomes of it."""
        try:
            job()
        except Exception:
            log.exception("%s: an event is lost", self._name)

    def _finish(self) -> None:
        """Do what came before the end, then end every reader."""
        while not self._jobs.empty():
            job = self._jobs.get_nowait()
            if job is not None:
                self._do(job)
        for stream in list(self._readers):
            stream.end()
        self._readers.clear()

    def _publish(self, topic: str, data: str, kind: str | None) -> None:
        """Number the event, keep it for a while, send it."""
        if self._lossy:
            self._break_off()
        self._last += 1
        wire = format_event(data, event=kind, id=f"{self._boot}-{self._last}")
        event = Event(self._last, topic, wire)
        self._remember(event)
        for stream, wants in list(self._readers.items()):
            self._send(stream, wants, event)

    def _break_off(self) -> None:
        """Forget what came before the gap, and tell of it."""
        self._lossy = False
        self._history.clear()
        self._history_bytes = 0
        self._last += 1  # for what is missing, so that replays miss it too
        self._send_all(self._gap())

    def _remember(self, event: Event) -> None:
        """Keep *event*; forget the oldest beyond the bound."""
        self._history.append(event)
        self._history_bytes += len(event.wire)
        while self._history_bytes > HISTORY:
            self._history_bytes -= len(self._history.popleft().wire)

    def _add(self, stream: EventStream, wants: Wants, after: str | None) -> None:
        """Send a reader what it has missed; then it is one of them."""
        if not stream.is_open:
            return
        self._readers[stream] = wants
        stream.write(HELLO)
        if after is None:
            return
        last = self._number_in(after)
        oldest = self._history[0].number if self._history else self._last + 1
        if last is None or last + 1 < oldest:
            stream.write(self._gap())
            return
        for event in list(self._history):
            if event.number > last:
                self._send(stream, wants, event)

    def _number_in(self, event_id: str) -> int | None:
        """Return the number in one of our event ids; None if it is not ours."""
        boot, _, number = event_id.partition("-")
        if boot != self._boot or not (number.isascii() and number.isdigit()):
            return None
        return int(number) if len(number) < 20 and int(number) <= self._last else None

    def _gap(self) -> bytes:
        """Return the event that says: read everything anew, events are missing."""
        return format_event("{}", event="gap", id=f"{self._boot}-{self._last}")

    def _send(self, stream: EventStream, wants: Wants, event: Event) -> None:
        """Send *event* to one reader if it wants it; drop a reader that has gone."""
        try:
            if not wants(event.topic) or stream.write(event.wire):
                return
        except Exception:  # what `wants` raises must not end the others' events
            log.exception("%s: a reader's filter failed, it is ended", self._name)
            stream.end()
        self._readers.pop(stream, None)

    def _send_all(self, wire: bytes) -> None:
        """Send bytes to every reader."""
        for stream in list(self._readers):
            if not stream.write(wire):
                self._readers.pop(stream, None)
