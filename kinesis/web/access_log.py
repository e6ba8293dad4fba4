"""
The access log: a line for each answer, its parts as attributes of the record.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from kinesis.web.channels import TRACE_KEY
from kinesis.web.parsing import Fault, Parser

if TYPE_CHECKING:
    from kinesis.web.channels import Channel

log = logging.getLogger("kinesis.http")


class AccessLog:
    """
    Writes what a server has answered.

    Args:
        path: Of the component that the server belongs to.
        monotonic: The clock that answers are timed by.

    Thread safety: any thread may call any method.
    """

    def __init__(self, path: str, monotonic: Callable[[], float]) -> None:
        self._path = path
        self._monotonic = monotonic

    def answered(self, task: Any, began: float) -> None:
        """Log an answer of a task's, or that a stream has begun."""
        if log.isEnabledFor(logging.INFO):
            environ = getattr(task, "environ", None) or {}
            self._write(
                task.channel,
                task.request,
                status=int(task.status[:3]),
                size=task.body_bytes,
                seconds=self._monotonic() - began,
                trace=environ.get(TRACE_KEY),
            )

    def refused(self, channel: Channel, request: Parser | None, fault: Fault) -> None:
        """Log an answer that took no task."""
        if log.isEnabledFor(logging.INFO):
            self._write(channel, request, status=fault.status, size=0, seconds=0.0)

    def _write(
        self,
        channel: Channel,
        request: Parser | None,
        *,
        status: int,
        size: int,
        seconds: float,
        trace: object = None,
    ) -> None:
        """Write one line."""
        method = getattr(request, "command", "") or "-"
        target = getattr(request, "request_uri", "") or "-"
        target = target.encode("unicode_escape").decode()  # no control characters
        extra = {
            "path": self._path,
            "client": channel.addr[0],
            "method": method,
            "target": target,
            "status": status,
            "size": size,
            "seconds": seconds,
        }
        if trace is not None:
            extra["trace"] = trace
        log.info(
            "%s %s %s %d %d B %.1f ms",
            channel.addr[0],
            method,
            target,
            status,
            size,
            seconds * 1e3,
            extra=extra,
        )
