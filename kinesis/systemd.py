"""
Tells systemd how the program is, if it asks.

A service of ``Type=notify`` is told READY and STOPPING, and with
``WatchdogSec=`` that it lives. Without ``NOTIFY_SOCKET`` nothing happens.

Source: sd_notify(3), sd_watchdog_enabled(3).
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Mapping

LONGEST_WATCHDOG = 3600.0  # seconds; some systems refuse to wait for years

log = logging.getLogger("kinesis")


class Notifier:
    """
    Sends states to the socket that the environment names.

    Thread safety: any thread may call any method; none blocks for long.
    """

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        self._address = environ.get("NOTIFY_SOCKET", "")
        self.watchdog_seconds = _watchdog_seconds(environ)

    def tell(self, state: str) -> bool:
        """
        Send *state*, such as ``READY=1``; return whether somebody took it.

        A socket that refuses is logged at debug level: the service goes on.
        """
        if not self._address:
            return False
        address = self._address
        if address.startswith("@"):  # an abstract socket
            address = "\0" + address[1:]
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.settimeout(1.0)
                sender.sendto(state.encode(), address)
        except OSError as error:
            log.debug("systemd was not told %s: %s", state, error)
            return False
        return True


def _watchdog_seconds(environ: Mapping[str, str]) -> float | None:
    """Return how often systemd wants to hear that we live, None if never."""
    if environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    try:
        seconds = int(environ.get("WATCHDOG_USEC", "")) / 1e6
    except (ValueError, OverflowError):  # no number, or one beyond any float
        return None
    return min(seconds, LONGEST_WATCHDOG) if seconds > 0 else None
