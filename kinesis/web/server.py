"""
The HTTP server: a WSGI application on a socket, startable and stoppable.

`HTTPServer` is the seam. What stands behind it is waitress, wrapped by the modules
beside this one; nothing above it knows.
"""

from __future__ import annotations

import errno
import logging
import socket
from typing import TYPE_CHECKING

import attrs
from attrs.validators import ge, gt, le

from kinesis.concurrency import Lock, Thread, Threads
from kinesis.errors import ListenError, StageError
from kinesis.web.limits import Limits
from kinesis.web.listener import Draining, Listener
from kinesis.web.pool import Pool

if TYPE_CHECKING:
    import ssl

    from _typeshed.wsgi import WSGIApplication

log = logging.getLogger("kinesis.http")

KIB = 1024
MIB = 1024 * KIB

SPARE_FILES = 64  # descriptors that connections leave to the rest of the process
LEAST_CONNECTIONS = 16

RESERVED_THREADS = 2  # for paths that must be answered when all others are busy

LINGER = 0.15  # seconds that a stop leaves for requests that are on their way
CUT_EARLY = 0.2  # seconds before a stop's deadline, to end threads in


@attrs.frozen
class Load:
    """What a server is doing now; for metrics."""

    connections: int = 0
    streams: int = 0
    waiting: int = 0  # requests without a thread
    busy: int = 0  # threads with a request


@attrs.define(eq=False)
class HTTPServer:
    """
    Serve *app* over HTTP/1.1.

    Requests are read whole on one thread, the loop's, and answered on a pool, so
    clients that are slow to ask hold no thread of it.

    Args:
        app: A WSGI application; several threads call it at once. What it raises
            is logged with an id and answered with 500 and that id.
        host: Address or name to listen on.
        port: 0 takes any free one; `port` tells which.
        threads_pool: Threads that answer requests.
        cert: PEM file of the certificate, for HTTPS.
        key: PEM file of its key; None if *cert* has it.
        connection_limit: Open connections; for more, idle ones are closed, or they
            wait in the system's backlog. A process that may open fewer files has
            fewer.
        max_body: Bytes of a request's body; 413 above.
        max_header: Bytes of its head; 431 above.
        request_timeout: Seconds for a whole request to arrive; 408 above.
        idle_timeout: Seconds that a connection may be open between requests.
        write_timeout: Seconds that a client may take nothing of its answer.
        queue_limit: Requests that wait for a thread; 503 above.
        reserved: Beginnings of paths that are answered on threads of their own,
            however many requests wait for the others.
        path: Of the component that this serves for: in thread names and the log.
        threads: Where threads, locks and time come from.

    Thread safety: start it from one thread; then any may call any method.
    """

    app: WSGIApplication
    host: str = attrs.field(default="127.0.0.1", kw_only=True)
    _wanted: int = attrs.field(
        default=0, kw_only=True, alias="port", validator=[ge(0), le(65_535)]
    )
    threads_pool: int = attrs.field(default=8, kw_only=True, validator=ge(1))
    cert: str | None = attrs.field(default=None, kw_only=True)
    key: str | None = attrs.field(default=None, kw_only=True)
    connection_limit: int = attrs.field(default=2_000, kw_only=True, validator=ge(1))
    max_body: int = attrs.field(default=MIB, kw_only=True, validator=ge(0))
    max_header: int = attrs.field(default=64 * KIB, kw_only=True, validator=gt(0))
    request_timeout: float = attrs.field(default=20.0, kw_only=True, validator=gt(0))
    idle_timeout: float = attrs.field(default=20.0, kw_only=True, validator=gt(0))
    write_timeout: float = attrs.field(default=10.0, kw_only=True, validator=gt(0))
    queue_limit: int = attrs.field(default=1_000, kw_only=True, validator=ge(0))
    reserved: tuple[str, ...] = attrs.field(default=(), kw_only=True)
    path: str = attrs.field(default="/http", kw_only=True)
    threads: Threads = attrs.field(kw_only=True)

    _books: Lock = attrs.field(
        init=False,
        default=attrs.Factory(lambda self: self.threads.lock(), takes_self=True),
    )
    _port: int | None = attrs.field(init=False, default=None)
    _running: Running | None = attrs.field(init=False, default=None)

    @property
    def port(self) -> int:
        """The port it listens on, or did last; before that, the one asked for."""
        return self._wanted if self._port is None else self._port

    @property
    def address(self) -> str:
        """Where it is reached, ``http://127.0.0.1:8080``."""
        scheme = "http" if self.cert is None else "https"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{scheme}://{host}:{self.port}"

    @property
    def has_listened(self) -> bool:
        """Whether `port` is one that it listens on, or did."""
        return self._port is not None

    @property
    def is_running(self) -> bool:
        """Whether it listens now."""
        return self._running is not None

    @property
    def load(self) -> Load:
        """What it is doing now; all zero when it is not running."""
        running = self._running
        if running is None:
            return Load()
        channels = running.listener.channels()
        return Load(
            connections=len(channels),
            streams=sum(channel.stream is not None for channel in channels),
            waiting=running.pool.waiting,
            busy=running.pool.busy,
        )

    def start(self) -> None:
        """
        Listen and serve; the port is known once this returns.

        After `stop` it may be started again.

        Raises:
            ListenError: The address cannot be had, or the certificate not be used.
            StageError: It is running.
            RuntimeError: The system refuses a thread. Nothing is left behind.
        """
        with self._books:
            if self._running is not None:
                raise StageError(
                    f"cannot start '{self.path}': it listens on {self.address} "
                    f"already. Stop it first.",
                    path=self.path,
                )
            context = self._make_context()
            bound = self._bind()
            self._port = bound.getsockname()[1]
            self._running = self._run(bound, context)
        log.info("listening on %s", self.address, extra={"path": self.path})

    def drain(
        self, *, retry_after: float = 5.0, keep: tuple[str, ...] = ("/-/",)
    ) -> None:
        """
        Answer new requests with 503; those in flight are answered as ever.

        Connections are still accepted, so that a load balancer sees an answer.
        Does nothing when it is not running. Idempotent.

        Args:
            retry_after: Seconds, told to the clients.
            keep: Beginnings of the paths that are still served.
        """
        running = self._running
        if running is not None:
            running.listener.drain(Draining(retry_after, keep))

    def stop(self, deadline: float = 5.0) -> bool:
        """
        Take no new connections, answer what is in flight, then close.

        The port is free for the next bind with ``SO_REUSEADDR``. Idempotent.

        Args:
            deadline: Seconds; what is not answered by then is cut. An application
                that hangs keeps its thread, which is logged by name.

        Returns:
            Whether everything was answered and every thread has ended.
        """
        with self._books:
            running, self._running = self._running, None
            return running is None or self._end(running, deadline)

    def reload_certificate(self) -> None:
        """
        Read the certificate's files again; new connections use them.

        Raises:
            ListenError: They cannot be used. Those read before stay in use.
        """
        running = self._running
        if running is not None and running.context is not None:
            self._make_context()  # a context that fails half way would be neither
            assert self.cert is not None
            running.context.load_cert_chain(self.cert, self.key)

    def _make_context(self) -> ssl.SSLContext | None:
        """Read the certificate, if there is one."""
        if self.cert is None and self.key is None:
            return None
        from kinesis.web.tls import server_context  # lazy: imports ssl

        try:
            if self.cert is None:
                raise OSError("there is a key, but no certificate")
            return server_context(self.cert, self.key)
        except OSError as error:
            raise ListenError(
                f"cannot serve HTTPS with cert={self.cert!r}, key={self.key!r}: "
                f"{error}. Give the PEM files of a certificate and its own key.",
                host=self.host,
                port=self._wanted,
            ) from error

    def _bind(self) -> socket.socket:
        """Return a socket bound to the address."""
        try:
            return bind(self.host, self._wanted)
        except OSError as error:
            raise ListenError(
                f"cannot listen on {self.host}:{self._wanted}: "
                f"{error.strerror or error}. {advice(error)}",
                host=self.host,
                port=self._wanted,
            ) from error

    def _run(self, bound: socket.socket, context: ssl.SSLContext | None) -> Running:
        """Start the threads that serve *bound*; leave nothing behind on failure."""
        pool = self._pool("http", self.threads_pool)
        reserve = self._pool("http-own", RESERVED_THREADS if self.reserved else 0)
        listener = Listener(
            self.app,
            bound,
            pool=pool,
            reserve=reserve,
            reserved=self.reserved,
            limits=self._limits(),
            threads=self.threads,
            path=self.path,
            context=context,
        )
        try:
            pool.start()
            reserve.start()
            loop = self.threads.start(listener.run, f"kinesis:{self.path}:http-loop")
        except BaseException:
            pool.stop(CUT_EARLY)
            reserve.stop(CUT_EARLY)
            listener.dispose()
            raise
        return Running(listener, pool, reserve, loop, context)

    def _pool(self, name: str, count: int) -> Pool:
        """Return a pool of *count* threads with that name."""
        prefix = f"kinesis:{self.path}:{name}"
        return Pool(self.threads, count, lambda number: f"{prefix}-{number}")

    def _limits(self) -> Limits:
        """Return what clients may use, with fewer connections if files are few."""
        return Limits(
            connections=connections_within_files(self.connection_limit, self.path),
            max_body=self.max_body,
            max_header=self.max_header,
            queue=self.queue_limit,
            request_timeout=self.request_timeout,
            idle_timeout=self.idle_timeout,
            write_timeout=self.write_timeout,
        )

    def _end(self, running: Running, deadline: float) -> bool:
        """End the loop, then the pool; say whether all went well."""
        clock = self.threads.monotonic
        end = clock() + deadline
        cut_at = end - min(CUT_EARLY, deadline / 10)
        linger = min(LINGER, deadline / 8)
        running.listener.call(lambda: running.listener.close_by(cut_at, linger))
        running.loop.join(max(0.0, end - clock()))
        late = running.pool.stop(max(0.0, end - clock()))
        late += running.reserve.stop(max(0.0, end - clock()))
        if running.loop.is_alive():
            late.append(running.loop.name)
        if late:
            log.error(
                "stopped, but these threads still run: %s",
                ", ".join(late),
                extra={"path": self.path},
            )
        return running.listener.clean and not late

    def __repr__(self) -> str:
        state = "stopped" if self._running is None else "running"
        return f"<HTTPServer {self.path} {self.address} [{state}]>"


@attrs.frozen
class Running:
    """The parts of a started server."""

    listener: Listener
    pool: Pool
    reserve: Pool
    loop: Thread
    context: ssl.SSLContext | None


def bind(host: str, port: int) -> socket.socket:
    """Return a socket bound to the first address that *host* has."""
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    bound = socket.socket(family, kind, protocol)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.bind(address)
    except BaseException:
        bound.close()
        raise
    return bound


def advice(error: OSError) -> str:
    """Say what to do about an address that cannot be bound."""
    if error.errno == errno.EADDRINUSE:
        return (
            "Stop the program that has it, or choose another port; 0 takes a free one."
        )
    if error.errno == errno.EACCES:
        return "Ports below 1024 need a privilege: choose another."
    return "Give an address or a name of this machine."


def connections_within_files(wanted: int, path: str) -> int:
    """Return *wanted*, or what the limit of open files allows, which is logged."""
    try:
        import resource  # lazy: not on every system
    except ImportError:  # pragma: no cover - Windows has no such limit
        return wanted
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files == resource.RLIM_INFINITY or wanted <= files - SPARE_FILES:
        return wanted
    fewer = max(LEAST_CONNECTIONS, files - SPARE_FILES)
    log.warning(
        "connection_limit=%d does not fit the limit of %d open files: %d it is. "
        "Raise that limit (ulimit -n), or lower this one.",
        wanted,
        files,
        fewer,
        extra={"path": path},
    )
    return fewer
