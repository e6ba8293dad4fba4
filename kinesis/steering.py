"""
Carries out control messages.

They steer a component from outside of its mailbox, so they pass ahead of all that
waits in it. Each is carried out on the thread that sends it, or on the timer
thread when its time has come; none of them waits.
"""

from __future__ import annotations

import logging

from kinesis import control
from kinesis.cells import Cell
from kinesis.errors import (
    ComponentStoppedError,
    MailboxFullError,
    StageError,
    WouldDeadlockError,
)
from kinesis.life import CURRENT
from kinesis.services import report
from kinesis.serving import Lane, Serving
from kinesis.stages import Stage
from kinesis.supervision import Wish
from kinesis.supervisor import Answer, Supervisor
from kinesis.timers import Timer

_BEFORE_START = frozenset({Stage.PREINITIALIZING, Stage.INITIALIZING})


def ask(cell: Cell, wish: Wish) -> Answer:
    """
    Have the container of *cell* do what is wished.

    Raises:
        ForkedError: In a forked child.
        StageError: It is in no container.
    """
    cell.services.check_process()
    supervisor = _supervisor_of(cell, wish)
    inside = CURRENT.get()
    by = f"'{inside.path}'" if inside is not None else "a caller outside"
    return supervisor.ask(wish, cell, by)


def _supervisor_of(cell: Cell, wish: Wish) -> Supervisor:
    """Return who can do what is wished, or raise `StageError`."""
    supervisor = cell.supervised_by
    if supervisor is None:
        raise StageError(
            f"'{cell.path}' is the root, or is in no container yet: nobody can "
            f"{wish.value} it. Stop the runtime instead.",
            path=cell.path,
            stage=cell.stage,
            event=wish.value,
        )
    return supervisor


def check_wait(cell: Cell) -> None:
    """
    Refuse a wait for *cell* to come up that waits for the hook in which it is made.

    Components come up one after another: in a hook before `start`, what comes later
    is not there yet, nor is the component itself or what it is in.

    Raises:
        WouldDeadlockError: It would last until the start deadline.
    """
    inside = cell.services.inside()
    if inside is None:
        return
    chain = [inside.path]
    above: Cell | None = cell
    while above is not None:
        chain.append(above.path)
        if above.path == inside.path:
            break
        above = above.waits_for()
    if above is not None and above.stage in _BEFORE_START:
        raise WouldDeadlockError(
            f"'{inside.path}' would wait for itself: {' -> '.join(chain)}. Wait in "
            f"start(), after ready(): then what comes later has its turn.",
            chain=tuple(chain),
        )


def serving_of(cell: Cell) -> Serving:
    """
    Return what handles the messages of *cell*.

    Raises:
        ComponentStoppedError: Nothing does yet.
    """
    if cell.serving is None:
        raise ComponentStoppedError(
            f"'{cell.path}' is {cell.status()}: it takes no messages yet. Wait for "
            f"it with wait_for(Stage.STARTED).",
            path=cell.path,
        )
    return cell.serving


def obey(cell: Cell, message: control.Control) -> None:
    """Do what *message* says to the component in *cell*."""
    match message:
        case control.Restart():
            ask(cell, Wish.RESTART)
        case control.Shutdown():
            cell.cancel_scheduled()  # it stays stopped, until somebody starts it
            ask(cell, Wish.STOP)
        case control.RestartMailbox():
            _renew(cell)
        case control.EnablePeerMessaging():
            cell.peers_enabled = True
        case control.DisablePeerMessaging():
            cell.peers_enabled = False
        case control.NotifyPeers(told):
            notify_peers(cell, told)
        case control.Persist():
            cell.persist()
        case _:
            _obey_in_time(cell, message)


def _renew(cell: Cell) -> None:
    """Have message handling begin afresh, or raise `ComponentStoppedError`."""
    if not serving_of(cell).mailbox.control(Lane.RENEW):
        raise ComponentStoppedError(
            f"'{cell.path}' is {cell.status()}: it handles no messages. Start it "
            f"again first.",
            path=cell.path,
        )


def _obey_in_time(cell: Cell, message: control.Control) -> None:
    """Schedule something, or forget what is scheduled."""
    match message:
        case control.RestartAfter(seconds):
            cell.scheduled(_ask_later(cell, seconds, Wish.RESTART))
        case control.ShutdownAfter(seconds):
            cell.scheduled(_ask_later(cell, seconds, Wish.STOP))
        case control.CancelAfter(seconds):
            cell.services.timers.call_later(seconds, cell.cancel_scheduled)
        case control.Cancel():
            cell.cancel_scheduled()


def _ask_later(cell: Cell, seconds: float, wish: Wish) -> Timer:
    """Ask for it in *seconds*; whether there is anybody to ask is looked at now."""
    _supervisor_of(cell, wish)
    return cell.services.timers.call_later(seconds, lambda: ask(cell, wish))


def notify_peers(cell: Cell, message: object) -> None:
    """Post *message* to each sibling that listens to siblings, and handles it."""
    supervisor = cell.supervised_by
    for child in supervisor.books.in_order() if supervisor is not None else ():
        peer = child.cell
        if peer is cell or not peer.peers_enabled or peer.serving is None:
            continue
        if isinstance(message, control.Control):
            obey(peer, message)
            continue
        if not peer.serving.handlers.takes(type(message)):
            continue
        try:
            peer.serving.mailbox.post(message, cell.path, timeout=0.0)
        except (ComponentStoppedError, MailboxFullError) as error:
            report(logging.WARNING, peer.path, f"not notified: {error}")
