"""
What clients may use, and what waitress is told of it.
"""

from __future__ import annotations

import attrs
from waitress.adjustments import Adjustments

BACKLOG = 1_024  # connections that the system holds until they are accepted
RECEIVED_AT_ONCE = 64 * 1024  # bytes
HIGH_WATER = 2**20  # bytes of an answer that may wait before its thread has to
TURN = 1.0  # seconds that the loop sleeps at most


@attrs.frozen(kw_only=True)
class Limits:
    """What clients may use. Times are seconds, sizes bytes."""

    connections: int
    max_body: int
    max_header: int
    queue: int
    request_timeout: float
    idle_timeout: float
    write_timeout: float

    @property
    def turn(self) -> float:
        """How often the deadlines are looked at."""
        times = (self.request_timeout, self.idle_timeout, self.write_timeout)
        return min(TURN, *(seconds / 4 for seconds in times))


def adjustments(limits: Limits, scheme: str) -> Adjustments:
    """Return waitress's settings. Its limits are where it refuses: one more."""
    return Adjustments(
        url_scheme=scheme,
        backlog=BACKLOG,
        recv_bytes=RECEIVED_AT_ONCE,
        outbuf_high_watermark=HIGH_WATER,
        max_request_body_size=limits.max_body + 1,
        max_request_header_size=limits.max_header + 1,
        channel_request_lookahead=1,  # so that a client's end is noticed meanwhile
        clear_untrusted_proxy_headers=True,
        log_socket_errors=False,
        ident=None,
        sockets=[],
        server_name="localhost",
    )
