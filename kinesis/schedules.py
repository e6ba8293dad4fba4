"""
Messages that a component sends to itself, later or again and again.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from kinesis.control import Control
from kinesis.errors import ComponentStoppedError, MailboxFullError
from kinesis.services import report
from kinesis.stages import Stage
from kinesis.timers import Timer

if TYPE_CHECKING:
    from kinesis.serving import Serving

_RUN = (Stage.STARTING, Stage.STARTED)


class Scheduled:
    """
    A message that a timer posts, once or with a period.

    Args:
        of_run: It was set during a run, and ends with it.
    """

    __slots__ = ("_serving", "_timer", "cancelled", "message", "of_run", "period")

    def __init__(
        self, serving: Serving, message: object, period: float | None, of_run: bool
    ) -> None:
        self._serving = serving
        self._timer: Timer | None = None
        self.message = message
        self.period = period
        self.of_run = of_run
        self.cancelled = False

    def begin(self, seconds: float) -> None:
        """Post the message in so many *seconds* for the first time."""
        timers = self._serving.cell.services.timers
        timer = timers.call_later(seconds, self, period=self.period)
        self._timer = timer
        if self.cancelled:  # before the timer was to be seen
            timer.cancel()

    def __call__(self) -> None:
        """Post the message; on the timer thread, so it never waits."""
        serving = self._serving
        if self.cancelled:
            return
        if self.period is None:
            serving.timers.discard(self)
        try:
            if isinstance(self.message, Control):  # it passes no mailbox
                serving.cell.services.ref_of(serving.cell).post(self.message)
            else:
                serving.mailbox.post(self.message, timeout=0.0)
        except ComponentStoppedError:
            self.cancel()
        except MailboxFullError as error:
            report(logging.WARNING, serving.cell.path, f"a timer's message: {error}")

    def cancel(self) -> None:
        """Post no more; idempotent, from any thread."""
        self.cancelled = True
        self._serving.timers.discard(self)
        if self._timer is not None:
            self._timer.cancel()

    def __repr__(self) -> str:
        return f"<Scheduled {self.message!r} for {self._serving.cell.path}>"


def schedule(
    serving: Serving, seconds: float, period: float | None, message: object
) -> Scheduled:
    """
    Deliver *message* into the component's own mailbox, once or again and again.

    What is set in a run ends with it; what `init` sets, with the component's life.

    Raises:
        ComponentStoppedError: It stops, or has stopped.
        ValueError: The times are none.
    """
    if period is not None and not period > 0:
        raise ValueError(f"every() takes seconds above 0, not {period!r}")
    scheduled = Scheduled(serving, message, period, serving.cell.stage in _RUN)
    if serving.mailbox.is_closed:
        raise _closed(serving)
    serving.timers.add(scheduled)
    scheduled.begin(seconds)
    return scheduled  # if it closes meanwhile, the first post fails, and cancels it


def _closed(serving: Serving) -> ComponentStoppedError:
    """Say that there are no more timers."""
    path = serving.cell.path
    return ComponentStoppedError(
        f"'{path}' stops or has stopped: it takes no new timers.", path=path
    )
