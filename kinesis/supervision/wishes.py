"""
What somebody asks for by hand: remove, stop, start, restart.
"""

from __future__ import annotations

from kinesis.restarts import History
from kinesis.stages import Stage
from kinesis.supervision.ending import STOPPED_PHASES, Ending
from kinesis.supervision.facts import (
    Ask,
    Child,
    Do,
    Phase,
    Say,
    Settle,
    Status,
    Tell,
    Wish,
)


class Wishes(Ending):
    """Does as somebody asks, where that can be."""

    def _ask(self, event: Ask) -> None:
        """Somebody wants something done with one child."""
        child = self._by_cell.get(event.cell)
        if child is None:
            gone = event.wish in (Wish.REMOVE, Wish.STOP)
            self._do(Settle(event.reply, None if gone else "gone", cell=event.cell))
            return
        ups = (Wish.START, Wish.RESTART)
        if self.phase in STOPPED_PHASES and event.wish in ups:
            self._do(Settle(event.reply, "", cell=event.cell, stopping=True))
            return
        match event.wish:
            case Wish.REMOVE:
                self._remove(child, event)
            case Wish.STOP:
                self._stop(child, event)
            case Wish.START | Wish.RESTART:
                self._start(child, event)

    def _remove(self, child: Child, event: Ask) -> None:
        """Tear it down and forget it."""
        child.removing = True
        if child.status is Status.ENDED:
            self._forget(child)
            self._do(Settle(event.reply))
            return
        self._do(Say(child.cell, f"removed by {event.by}"))
        if child.status is Status.QUEUED:
            self._unqueue(child)
            self._forget(child)
            self._do(Settle(event.reply))
            return
        child.until_down += (event.reply,)
        if self.phase is not Phase.ENDING:
            self._take_down(child)

    def _unqueue(self, child: Child) -> None:
        """Take back an add that was not begun."""
        if child in self.queue:
            self.queue.remove(child)
        self._reject(child, None)
        self._need_not_begin(child)

    def _stop(self, child: Child, event: Ask) -> None:
        """Stop it, to stay stopped until somebody starts it."""
        cell = child.cell
        cell.by_hand = True
        if child.status is Status.QUEUED:
            self._do(Say(cell, f"stopped by {event.by}, before it began"))
            self._unqueue(child)
            child.status = Status.ENDED
            self._do(Tell(Do.TEAR_DOWN, cell))
        if child.status in (Status.STOPPED, Status.ENDED):
            self._do(Settle(event.reply))
            return
        self._do(Say(cell, f"stopped by {event.by}"))
        child.until_down += (event.reply,)
        if child.status is Status.STOPPING:
            self._reject(child, None)
            return
        child.token = 0
        cell.next_attempt = None
        child.status = Status.STOPPING
        self._do(Tell(Do.STOP, cell))

    def _start(self, child: Child, event: Ask) -> None:
        """Start it, with a fresh budget; or end its run and start it again."""
        cell = child.cell
        restart = event.wish is Wish.RESTART
        if child.status is Status.STOPPING:
            if cell.stage is Stage.STOPPED and not child.removing:
                child.once_down += (event,)  # who saw it in that stage knew before us
            else:
                self._do(Settle(event.reply, "stopping", cell=cell))
            return
        if child.status is Status.UP and not restart:
            self._do(Settle(event.reply))
            return
        cell.by_hand = False
        once_more = restart and child.status is Status.STARTING
        if once_more:
            child.until_again += (event.reply,)
        else:
            child.until_up += (event.reply,)
        self._do(Say(cell, f"{event.wish.value}ed by {event.by}"))
        match child.status:
            case Status.STOPPED:
                child.history = History()
                self._start_again(child)
            case Status.ENDED:
                child.history = History()
                child.status = Status.QUEUED
                self.queue.append(child)
            case Status.WAITING | Status.ENDING:
                child.history = History()
                self._hurry(child)
            case Status.UP:
                self._restart(child, 0.0)

    def _stopped(self, child: Child) -> None:
        """It is STOPPED, and stays so."""
        if child.status is not Status.STOPPING or child.removing:
            self.stale += 1
            return
        child.status = Status.STOPPED
        if child in self.stack:
            self._give_back(child)
        starts: tuple[Ask, ...] = ()
        if self.phase is Phase.RUNNING:
            starts, child.once_down = child.once_down, ()
        self._reject(child, None)
        self._resolve(child.until_down)
        child.until_down = ()
        for event in starts:
            self._start(child, event)
