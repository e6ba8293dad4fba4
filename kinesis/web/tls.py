"""
TLS on the loop: handshakes and reads that never wait for a client.

One OpenSSL object must not be used by two threads at once, so everything here
that touches it holds the channel's output lock, as those who send do.
"""

from __future__ import annotations

import contextlib
import ssl

from kinesis.web.channels import Channel

WANTS = (ssl.SSLWantReadError, ssl.SSLWantWriteError)
SLOW_HANDSHAKE = 1.0  # seconds of silence in it, when there is no place for others
HANDSHAKE_TIMEOUT = 10.0  # seconds from accepting a connection


def server_context(cert: str, key: str | None) -> ssl.SSLContext:
    """
    Return the context of a server with that certificate.

    Args:
        cert: Path of the PEM file with the certificate and those that sign it.
        key: Path of the PEM file with its private key; None if *cert* has it.

    Raises:
        OSError: A file cannot be read. `ssl.SSLError` is one too: it is no
            certificate, or the key is not its.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(cert, key)
    context.options |= ssl.OP_NO_RENEGOTIATION  # a write would wait for a read
    context.set_alpn_protocols(["http/1.1"])
    return context


class TLSChannel(Channel):
    """A connection that shakes hands before it carries requests."""

    socket: ssl.SSLSocket | None
    shaken = False
    wants_write = False
    opened = 0.0

    def handshake(self) -> None:
        """Go on with the handshake as far as the client lets us."""
        assert self.socket is not None
        self.opened = self.opened or self.server.monotonic()
        self.wants_write = False
        try:
            self.socket.do_handshake()
        except ssl.SSLWantReadError:
            return
        except ssl.SSLWantWriteError:
            self.wants_write = True
            return
        except (OSError, ValueError):  # no TLS, or none that we speak
            self.handle_close()
            return
        self.shaken = True

    def readable(self) -> bool:
        """Whether the loop should read, for the handshake too."""
        return super().readable() if self.shaken else True

    def writable(self) -> bool:
        """Whether the loop should write, for the handshake too."""
        if self.shaken:
            return bool(super().writable())
        return self.wants_write or self.will_close

    def handle_write(self) -> None:
        """Send what waits, or go on with the handshake."""
        if self.shaken or self.will_close:
            super().handle_write()
        else:
            self.handshake()

    def handle_read(self) -> None:
        """Read all that OpenSSL has taken in: the loop sees only the socket."""
        if not self.shaken:
            self.handshake()
        if not self.shaken:
            return
        super().handle_read()
        while self.socket is not None and not self.input_ended and self._pending():
            super().handle_read()

    def _pending(self) -> bool:
        """Whether OpenSSL holds bytes that have been received already."""
        with self.outbuf_lock:
            return bool(self.connected and self.socket and self.socket.pending())

    def recv(self, buffer_size: int) -> bytes | None:
        """Return bytes, None if there are none yet; empty at the end."""
        assert self.socket is not None
        with self.outbuf_lock:
            try:
                data = self.socket.recv(buffer_size)
            except WANTS:
                return None
            except OSError:  # what came is no TLS
                data = b""
                self.handle_close()
        if not data and self.socket is not None:
            self.end_of_input()
        return data

    def send(self, data: bytes, do_close: bool = True) -> int:
        """Send what OpenSSL takes; waitress holds the lock."""
        if self.socket is None:
            return 0
        try:
            return self.socket.send(data)
        except WANTS:
            return 0
        except OSError:
            if do_close and self.server.is_loop():
                self.handle_close()
            else:
                self.will_close = True
            return 0

    def end_of_output(self) -> None:
        """Say goodbye in TLS; then read on below it, only to throw away."""
        self._say_goodbye()
        super().end_of_output()

    def _say_goodbye(self) -> None:
        """Send the close notification, without which an answer may look cut off."""
        with self.outbuf_lock, contextlib.suppress(OSError, ValueError):
            if self.socket is not None and self.shaken and self.discarding is None:
                self.socket.unwrap()  # sends ours, and would wait for theirs

    def handle_close(self) -> None:
        """Close the connection, with a goodbye if it still can be said."""
        self._say_goodbye()
        super().handle_close()

    def overdue(self, now: float) -> str | None:
        """Return which deadline this connection has missed, the handshake's too."""
        if self.shaken:
            return super().overdue(now)
        self.opened = self.opened or now
        return "slow handshake" if now - self.opened > HANDSHAKE_TIMEOUT else None

    def is_idle(self, now: float) -> bool:
        """Return whether nothing is lost, or a handshake that does not go on."""
        if self.shaken:
            return super().is_idle(now)
        return now - self.last_activity > SLOW_HANDSHAKE

    def is_between_requests(self) -> bool:
        """Return whether nothing of a request, or of a handshake, has arrived."""
        return self.shaken and super().is_between_requests()
