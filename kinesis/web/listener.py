"""
The loop: one thread that accepts, reads, watches deadlines and, at the end, closes.

A subclass of waitress's server. Waitress has no way to stop one, lets a client
that does not read hold a thread for ever, and queues without a bound; this has.
The loop is ours, too, so that all of that happens on its thread, between two
polls, and needs no lock.
"""

from __future__ import annotations

import errno
import logging
import socket
import sys
from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import attrs
from waitress import wasyncore
from waitress.server import TcpWSGIServer
from waitress.utilities import build_http_date

from kinesis.concurrency import Threads
from kinesis.web.access_log import AccessLog
from kinesis.web.channels import Channel
from kinesis.web.limits import BACKLOG, Limits, adjustments
from kinesis.web.parsing import Fault, Parser
from kinesis.web.pool import Pool

if TYPE_CHECKING:
    import ssl

    from _typeshed.wsgi import WSGIApplication

log = logging.getLogger("kinesis.http")

ACCEPTED_AT_ONCE = 64  # connections taken before the loop looks at the others again
CLOSING_TURN = 0.01  # and while it waits for the last answers
FULL_PAUSE = 0.1  # seconds without accepting when there is no place
ACCEPT_PAUSE = 0.5  # seconds without accepting when there are no descriptors left

NO_DESCRIPTORS = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


@attrs.frozen
class Draining:
    """New work is refused, except below the paths to *keep*."""

    retry_after: float
    keep: tuple[str, ...]


class Listener(TcpWSGIServer):  # type: ignore[misc]  # waitress is not typed
    """
    The listening socket, its connections, and the loop that serves them.

    Args:
        bound: A socket that is bound already; closed with this.
        reserve: Answers what begins as one of *reserved*, the pool all else.
        path: Of the component that this belongs to, for the log.
        context: For TLS; None for plain HTTP.

    Thread safety: `call`, `pull_trigger`, `drain` and `add_task` from any thread;
    the rest on the thread that runs `run`.
    """

    channel_class = Channel
    task_dispatcher: Pool
    active_channels: dict[int, Channel]

    def __init__(
        self,
        app: WSGIApplication,
        bound: socket.socket,
        *,
        pool: Pool,
        limits: Limits,
        threads: Threads,
        path: str,
        context: ssl.SSLContext | None,
        reserve: Pool | None = None,
        reserved: tuple[str, ...] = (),
    ) -> None:
        self.limits = limits
        self.threads = threads
        self.monotonic = threads.monotonic
        self.path = path
        self.access = AccessLog(path, threads.monotonic)
        self.draining = False  # answers ask clients to go elsewhere
        self.clean = True  # nothing had to be cut at the end
        self.behind: set[Channel] = set()  # have come further than they are read
        self._context = context
        self._reserve = pool if reserve is None else reserve
        self._reserved = reserved
        self._refusing: Draining | None = None
        self._date = (-1, "")
        self._calls: deque[Callable[[], object]] = deque()
        self._wake = threads.lock()
        self._awake = False  # a byte is in the trigger's pipe
        self._deaf = False  # the trigger is closed, its descriptors may be another's
        self._thread = 0
        self._paused_until = 0.0
        self._full = False
        self._next_sweep = 0.0
        self._cut_at: float | None = None
        self._linger = 0.0
        if context is not None:
            from kinesis.web.tls import TLSChannel  # lazy: imports ssl

            self.channel_class = TLSChannel
        super().__init__(
            app,
            {},
            True,
            bound,
            dispatcher=pool,
            adj=adjustments(limits, "http" if context is None else "https"),
            sockinfo=(bound.family, bound.type, bound.proto, bound.getsockname()),
            bind_socket=False,
        )

    # --- from any thread ---

    def call(self, job: Callable[[], object]) -> None:
        """Run *job* soon, on the loop; never, once that has ended."""
        self._calls.append(job)
        self.pull_trigger()

    def pull_trigger(self) -> None:
        """
        Make the loop look again at what its channels want.

        A byte for each wake, not for each call: the pipe never fills up, so
        this never waits.
        """
        with self._wake:
            if not self._awake and not self._deaf:
                self._awake = True
                self.trigger.pull_trigger()

    def is_loop(self) -> bool:
        """Whether the calling thread is the loop's."""
        return self.threads.get_ident() == self._thread

    def drain(self, draining: Draining) -> None:
        """Refuse new work from now on."""
        self._refusing = draining
        self.draining = True

    def add_task(self, channel: Channel) -> None:
        """
        Have the channel's next request answered: by the pool, or refused here.

        Called under the channel's `requests_lock`, on the loop, or on the thread
        that has answered the request before.
        """
        if channel.close_when_flushed:  # the one before was refused
            channel.requests = []
            return
        request = channel.requests[0]
        own = request.path.startswith(self._reserved)
        pool = self._reserve if own else self.task_dispatcher
        if request.error is None and (refusal := self._refusal_of(request, pool)):
            channel.refuse(*refusal)
            self.pull_trigger()
        else:
            pool.add_task(channel)

    def _refusal_of(self, request: Parser, pool: Pool) -> tuple[Fault, float] | None:
        """Say why a request that is right in itself is not taken now, if so."""
        refusing = self._refusing
        if refusing is not None and not request.path.startswith(refusing.keep):
            fault = Fault(503, "the server is stopping and takes no new requests.")
            return fault, refusing.retry_after
        if pool.waiting >= self.limits.queue:
            return Fault(503, "the server is busy. Try again later."), 1.0
        return None

    def http_date(self) -> str:
        """Return the time of now as headers have it; made once a second."""
        second = int(self.threads.time())
        known = self._date
        if known[0] != second:
            known = self._date = (second, build_http_date(second))
        return known[1]

    def channels(self) -> list[Channel]:
        """Return the open connections, as they are now."""
        return list(self.active_channels.copy().values())

    # --- the loop ---

    def run(self) -> None:
        """Serve until `close_by` has been called and nothing is left to do."""
        self._thread = self.threads.get_ident()
        try:
            while not self._is_finished():
                self._turn()
        finally:
            self.dispose()

    def _turn(self) -> None:
        """Wait for sockets and serve them, once; a turn that fails is logged."""
        wait = self.limits.turn if self._cut_at is None else CLOSING_TURN
        paused = self._paused_until - self.monotonic()
        if paused > 0:
            wait = min(wait, paused)
        try:
            wasyncore.loop(timeout=wait, use_poll=True, map=self._map, count=1)
            self._make_calls()
            self._read_on()
            self._sweep(self.monotonic())
        except Exception:
            log.exception("a turn of the loop failed", extra={"path": self.path})
            self.threads.sleep(CLOSING_TURN)  # should it fail again, not at full speed

    def _make_calls(self) -> None:
        """Make the calls that are there; those made meanwhile are next turn's."""
        with self._wake:
            self._awake = False
        for _ in range(len(self._calls)):
            self._calls.popleft()()

    def _read_on(self) -> None:
        """Read on where it was enough before; who answers a request wakes us."""
        behind, self.behind = self.behind, set()
        for channel in behind:
            try:
                channel.read_on()
            except Exception:  # as waitress does with what fails in a poll
                channel.handle_error()

    def readable(self) -> bool:
        """
        Whether to accept.

        Instead of waitress's, which also looks for idle channels, by the time of
        day.
        """
        if not self.accepting or self.monotonic() < self._paused_until:
            return False
        full = len(self.active_channels) >= self.limits.connections
        if full and not self._full:
            log.warning(
                "%d connections are open, as many as may be: for new ones, idle ones "
                "are closed, or they wait",
                len(self.active_channels),
                extra={"path": self.path},
            )
        self._full = full
        return True

    def handle_accept(self) -> None:
        """
        Take the connections that wait, some at once.

        When there is no place, the one goes that has been idle for longest: else
        those who say nothing would keep out all others.
        """
        self._accept(self.limits.connections)

    def _accept(self, most: int) -> None:
        """Take connections until there are *most*."""
        idle = self._idle()
        for _ in range(ACCEPTED_AT_ONCE):
            full = len(self.active_channels) >= most
            oldest = next(idle, None) if full else None
            if full and oldest is None:
                self._paused_until = self.monotonic() + FULL_PAUSE
                return
            try:
                accepted = self.accept()
            except OSError as error:
                self._pause(error)
                return
            if accepted is None:
                return
            if oldest is not None:
                oldest.handle_close()
            self._open(*accepted)

    def _idle(self) -> Iterator[Channel]:
        """Yield the connections that wait for nothing, the most silent one first."""
        now = self.monotonic()
        idle = [channel for channel in self.channels() if channel.is_idle(now)]
        yield from sorted(idle, key=lambda channel: channel.last_activity)

    def _pause(self, error: OSError) -> None:
        """Without descriptors, do not try again at once; else the client has gone."""
        if error.errno in NO_DESCRIPTORS:
            self._paused_until = self.monotonic() + ACCEPT_PAUSE
            log.warning("cannot accept: %s", error, extra={"path": self.path})

    def _open(self, connection: socket.socket, address: Any) -> None:
        """Make a channel of a connection that may be gone again already."""
        try:
            self.set_socket_options(connection)
            connection.setblocking(False)
            if self._context is not None:
                connection = self._context.wrap_socket(
                    connection, server_side=True, do_handshake_on_connect=False
                )
            self.channel_class(self, connection, address, self.adj, map=self._map)
        except (OSError, ValueError):
            connection.close()

    def _sweep(self, now: float) -> None:
        """Close what has missed a deadline; when stopping, what has nothing to do."""
        if self._cut_at is not None:
            self._close_quiet(now)
        if now < self._next_sweep:
            return
        self._next_sweep = now + self.limits.turn
        for channel in self.channels():
            reason = channel.overdue(now)
            if reason is not None:
                self._end_overdue(channel, reason)

    def _end_overdue(self, channel: Channel, reason: str) -> None:
        """Tell a slow sender why, cut off all others."""
        if reason != "idle":
            client = channel.addr
            log.debug("cut off %s: %s", client, reason, extra={"path": self.path})
        if reason == "slow request":
            most = self.limits.request_timeout
            channel.refuse(Fault(408, f"no whole request came within {most:g} s."))
        else:
            channel.handle_close()

    # --- the end ---

    def close_by(self, deadline: float, linger: float) -> None:
        """
        Take no more connections, answer what is in flight, then end the loop.

        Connections that the system has accepted already are taken in first.

        Args:
            deadline: The moment at which what is left is cut.
            linger: Seconds for a request that is on its way.
        """
        for _ in range(BACKLOG // ACCEPTED_AT_ONCE):
            self._accept(sys.maxsize)
        self.draining = True
        wasyncore.dispatcher.close(self)  # the socket alone: `close` ends the trigger
        self._cut_at, self._linger = deadline, linger

    def _close_quiet(self, now: float) -> None:
        """End streams, and close the connections that wait for nothing."""
        for channel in self.channels():
            if channel.stream is not None:
                channel.stream.end()
            elif channel.is_quiet(now, self._linger):
                channel.handle_close()

    def _is_finished(self) -> bool:
        """Whether there is nothing left to serve, or no time."""
        if self._cut_at is None:
            return False
        return not self.active_channels or self.monotonic() >= self._cut_at

    def dispose(self) -> None:
        """Cut what is left; close every descriptor of ours. Also if never run."""
        self.clean = not self.active_channels
        for channel in self.channels():
            channel.handle_close()
        if self.socket is not None:
            wasyncore.dispatcher.close(self)
        with self._wake:
            self._deaf = True
            self.trigger.close()
