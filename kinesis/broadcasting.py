"""
One message to many components.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from typing import Any

import attrs

from kinesis.cells import Cell
from kinesis.control import Control
from kinesis.errors import KinesisError, WaitTimeoutError
from kinesis.life import at_most
from kinesis.mailbox import Pending
from kinesis.sending import check_peer
from kinesis.services import Services
from kinesis.steering import obey, serving_of


@attrs.frozen
class Broadcast:
    """What one component answered to a broadcast: a value, or an error."""

    value: Any
    error: BaseException | None = None

    @property
    def ok(self) -> bool:
        """Whether its handler returned."""
        return self.error is None


def broadcast(
    services: Services, cells: Iterable[Cell], message: object, timeout: float | None
) -> dict[str, Broadcast]:
    """
    Send *message* to all *cells* at once; return by path what came of it.

    Args:
        cells: Those that handle no messages at all are left out.
        timeout: Seconds, for the whole.
    """
    inside = services.inside()
    if inside is not None:
        timeout = at_most(inside, timeout)
    now = services.threads.monotonic
    until = None if timeout is None else now() + timeout
    with ExitStack() as waits:
        sent = {
            cell.path: _send(cell, message, timeout, waits)
            for cell in cells
            if _listens(cell, message)
        }
        return {
            path: _collect(each, None if until is None else max(0.0, until - now()))
            for path, each in sent.items()
        }


def _listens(cell: Cell, message: object) -> bool:
    """Whether the component could do anything with *message*."""
    serving = cell.serving
    return isinstance(message, Control) or serving is None or bool(serving.handlers)


def _send(
    cell: Cell, message: object, timeout: float | None, waits: ExitStack
) -> Pending | Broadcast:
    """Let *message* in, or say why not; *waits* notes that we wait."""
    services = cell.services
    inside = services.inside()
    try:
        if isinstance(message, Control):
            obey(cell, message)
            return Broadcast(None)
        if inside is not None:
            check_peer(cell, inside)
            waits.enter_context(services.waits.edge(inside.node, cell.path))
        sender = None if inside is None else inside.path
        mailbox = serving_of(cell).mailbox
        return mailbox.submit(message, timeout=timeout, sender=sender)
    except KinesisError as error:
        return Broadcast(None, error)


def _collect(answer: Pending | Broadcast, timeout: float | None) -> Broadcast:
    """Wait for one answer; take the message out if its time is over."""
    if isinstance(answer, Broadcast):
        return answer
    try:
        error = answer.exception(timeout)
    except WaitTimeoutError:
        answer.withdraw()
        error = answer.exception()  # at once: it is answered, if only by us
    return Broadcast(None, error) if error is not None else Broadcast(answer.result(0))
