"""
How a message gets to a component: from outside, from inside another, from asyncio.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

from kinesis.cells import Cell
from kinesis.control import Control
from kinesis.direct import DEPTH, NOT_HERE
from kinesis.errors import PeerMessagingDisabledError, UnhandledMessageError
from kinesis.life import Life, at_most
from kinesis.serving import Serving
from kinesis.steering import serving_of


def send(cell: Cell, message: object, timeout: float | None) -> object:
    """
    Send *message*; inside a component no longer than it has, and no deadlock.

    `Ref.send` does itself what comes of this outside of all components.
    """
    serving = cell.serving or serving_of(cell)
    inside = cell.services.inside()
    if inside is None:
        return _send_outside(serving, message, timeout)
    check_peer(cell, inside)
    timeout = at_most(inside, timeout)
    node = inside.node
    if serving.direct:
        with cell.services.waits.edge(node, cell.path):
            value = serving.handle_here(message, timeout, DEPTH.get() + 1)
        if value is not NOT_HERE:
            return value
    return serving.mailbox.send(message, timeout, inside.path, waiter=node)


def _send_outside(serving: Serving, message: object, timeout: float | None) -> object:
    """Send *message* from a thread that is in no component of this runtime."""
    if serving.direct:
        value = serving.handle_here(message, timeout)
        if value is not NOT_HERE:
            return value
    return serving.mailbox.send(message, timeout)


def post(cell: Cell, message: object, timeout: float | None) -> None:
    """Let *message* in; inside a component, wait for room no longer than it has."""
    serving = cell.serving or serving_of(cell)
    inside = cell.services.inside()
    if inside is None:
        serving.mailbox.post(message, timeout=timeout)
        return
    check_peer(cell, inside)
    timeout = at_most(inside, timeout)
    serving.mailbox.post(message, inside.path, timeout=timeout, waiter=inside.node)


def send_all(cell: Cell, messages: Iterable[object], timeout: float | None) -> object:
    """
    Send *messages* as one transaction.

    Raises:
        UnhandledMessageError: One is a control message: those pass no mailbox.
    """
    messages = tuple(messages)
    _check_batch(cell, messages)
    serving = cell.serving or serving_of(cell)
    inside = cell.services.inside()
    if inside is None:
        return serving.mailbox.send_all(messages, timeout)
    check_peer(cell, inside)
    timeout = at_most(inside, timeout)
    return serving.mailbox.send_all(messages, timeout, inside.path, waiter=inside.node)


def _check_batch(cell: Cell, messages: tuple[object, ...]) -> None:
    """Refuse control messages in a transaction: it could not undo what they do."""
    for message in messages:
        if isinstance(message, Control):
            raise UnhandledMessageError(
                f"{type(message).__name__} cannot be part of a transaction of "
                f"'{cell.path}': it is a control message. Send it by itself.",
                path=cell.path,
                handled=(),
            )


def check_peer(cell: Cell, inside: Life) -> None:
    """
    Refuse a sibling's message where peers are not listened to.

    Raises:
        PeerMessagingDisabledError: It is one.
    """
    if cell.peers_enabled or cell.parent is None or inside.path == cell.path:
        return
    if inside.path.rpartition("/")[0] == cell.parent.path:
        raise PeerMessagingDisabledError(
            f"'{cell.path}' takes no messages from its siblings now, and "
            f"'{inside.path}' is one. Send EnablePeerMessaging first.",
            path=cell.path,
        )


# -- from asyncio ----------------------------------------------------------------------


async def asend(cell: Cell, message: object, timeout: float | None) -> object:
    """Send *message* from a coroutine; see `Ref.asend`."""
    serving = cell.serving or serving_of(cell)
    inside = cell.services.inside()
    if inside is None:
        return await _answer(serving, message, timeout, None)
    check_peer(cell, inside)
    with cell.services.waits.edge(inside.node, cell.path):
        return await _answer(serving, message, at_most(inside, timeout), inside.path)


async def _answer(
    serving: Serving,
    message: object,
    timeout: float | None,
    sender: str | None,
) -> object:
    """Let *message* in, and wait for its answer without blocking the loop."""
    import asyncio  # lazy: only those who use it pay for it

    loop = asyncio.get_running_loop()
    until = None if timeout is None else loop.time() + timeout
    let_in = await _room(serving, until)
    gate = _Gate()
    pending = serving.mailbox.submit(
        message,
        timeout=None if until is None else until - loop.time(),
        sender=sender,
        let_in=let_in,
        then=lambda _: gate.release(),
    )
    try:
        if not await gate.opened(until):
            pending.withdraw()
            await gate.opened(None)  # at once: it is answered, if only by us
    except asyncio.CancelledError:
        pending.withdraw()
        raise
    return pending.result(0)


async def _room(serving: Serving, until: float | None) -> bool:
    """Wait for room, where a full mailbox makes wait; whether somebody let us in."""
    gate = _Gate()
    if not serving.mailbox.knock(gate):
        return False
    opened = False
    try:
        opened = await gate.opened(until)
    finally:
        if not opened:
            serving.mailbox.turn_back(gate)
    return opened


class _Gate:
    """What other threads open for a coroutine."""

    def __init__(self) -> None:
        import asyncio

        self._loop = asyncio.get_running_loop()
        self._event = asyncio.Event()

    def release(self) -> None:
        """Open it; from any thread."""
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits
            self._loop.call_soon_threadsafe(self._event.set)

    async def opened(self, until: float | None) -> bool:
        """Wait until it is open; false if it is not at the moment *until*."""
        import asyncio

        # Not wait_for, which in 3.11 may swallow a cancellation.
        try:
            async with asyncio.timeout_at(until):
                await self._event.wait()
        except TimeoutError:
            return False
        return True
