"""A picture that stays at the bottom of the terminal, with the log above it."""

from __future__ import annotations

import atexit
import copy
import logging
import sys
from collections import deque
from contextlib import ExitStack
from types import TracebackType
from typing import Self

from rich.console import Console, RenderableType
from rich.live import Live
from rich.text import Text

LINES_KEPT = 500  # log lines that wait for the next picture
SHOW_CURSOR = "\x1b[?25h"


def can_show(console: Console) -> bool:
    """Return whether pictures can be drawn: on a terminal that moves its cursor."""
    return console.is_terminal and not console.is_dumb_terminal


class Stage:
    """
    The terminal, for as long as the block runs.

    Only the thread that calls `show` writes to it. What others log meanwhile is
    kept and comes out above the next picture; at the end it goes where it went
    before. Logs that go into a file are left alone.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        log_is_here = sys.stderr is not None and sys.stderr.isatty()
        self._live = Live(
            console=console,
            auto_refresh=False,
            redirect_stdout=True,
            redirect_stderr=log_is_here,
        )
        self._lines = _Lines() if log_is_here else None
        self._exit = ExitStack()

    def __enter__(self) -> Self:
        # The second ctrl-c ends the process at once: the cursor comes back anyway.
        atexit.register(self._show_cursor)
        self._exit.callback(atexit.unregister, self._show_cursor)
        if self._lines is not None:
            self._exit.callback(self._lines.give_back)
            self._lines.take_over()
        self._exit.enter_context(self._live)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._exit.close()

    def show(self, picture: RenderableType) -> None:
        """Print what was logged, and draw *picture* below it."""
        for line in self._lines.taken() if self._lines is not None else ():
            self._console.print(Text.from_ansi(line), soft_wrap=True)
        self._live.update(picture, refresh=True)

    def _show_cursor(self) -> None:
        self._console.file.write(SHOW_CURSOR)
        self._console.file.flush()


class _Lines(logging.Handler):
    """
    Stands in for the handlers of the root logger, and keeps what they would show.

    Tracebacks are left out while there is a picture, unless debug records are
    shown: the message says what was raised. (`2> log` keeps them whole.)
    """

    def __init__(self) -> None:
        super().__init__()
        self._before: list[logging.Handler] = []
        self._kept: deque[tuple[logging.LogRecord, str]] = deque(maxlen=LINES_KEPT)

    def take_over(self) -> None:
        """Be the only handler."""
        root = logging.getLogger()
        self._before = root.handlers[:]
        if self._before:
            self.setFormatter(self._before[0].formatter)
        root.handlers[:] = [self]

    def give_back(self) -> None:
        """Let the others show what is still kept, and all that follows."""
        logging.getLogger().handlers[:] = self._before
        with self.lock or ExitStack():
            while self._kept:
                record = self._kept.popleft()[0]
                for handler in self._before:
                    handler.handle(record)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep *record*; on the thread that logs, so it does nothing slow."""
        short = record
        if record.exc_info and not logging.getLogger().isEnabledFor(logging.DEBUG):
            short = copy.copy(record)
            short.exc_info = short.exc_text = None
        self._kept.append((record, self.format(short)))

    def taken(self) -> list[str]:
        """Return the lines kept since the last time."""
        return [self._kept.popleft()[1] for _ in range(len(self._kept))]
