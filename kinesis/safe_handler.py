"""
A logging handler that never raises and never blocks for long.

A component that logs must not fail, or hang, because of who reads the log:

============================  =====================================================
a closed stream, a broken     the line is lost
pipe, a full disk
a pipe or terminal whose      a line waits at most `PATIENCE`; after that lines are
reader has paused             lost at once until there is room again
a record that cannot be       its raw message is written, and what was wrong
formatted
============================  =====================================================

Once lines can be written again, one says how many are missing.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
from typing import TextIO

from kinesis.errors import describe

PATIENCE = 0.25  # seconds that a line may wait for a reader who has paused

# Bytes that a pipe which is ready takes without blocking (POSIX promises 512).
CHUNK = getattr(select, "PIPE_BUF", 512)

# What would move a terminal's cursor or colour, were it in a message.
ESCAPED = {
    code: f"\\x{code:02x}"
    for code in (*range(32), *range(127, 160))
    if chr(code) not in "\n\t"
}


class SafeHandler(logging.Handler):
    """
    Write lines to *stream*, as far as it takes them.

    A stream with a file descriptor is written to directly, in pieces that a pipe
    takes whole: a lock inside the stream, held by a thread that hangs in `print`,
    is none of ours.
    """

    def __init__(self, stream: TextIO | None) -> None:
        super().__init__()
        self._stream = stream
        self._torn = False  # the last line that was lost had been begun
        self.lost = 0  # lines that nobody will see, since one was last written

    def emit(self, record: logging.LogRecord) -> None:
        """Write *record* as a line, or count it as lost."""
        try:
            written = self._caught_up() and self._write(self._line(record))
        except Exception:  # not even the raw line can be made: no memory, no stack
            written = False
        if not written:
            self.lost += 1

    def _caught_up(self) -> bool:
        """Write how many lines are missing, if any; return whether that worked."""
        return not self.lost or self._write(self._missing())

    def _missing(self) -> str:
        """Return a line that says how many are missing."""
        text = "1 line is" if self.lost == 1 else f"{self.lost} lines are"
        record = logging.makeLogRecord(
            {
                "name": "kinesis",
                "levelno": logging.WARNING,
                "levelname": "WARNING",
                "msg": f"{text} missing here: the log could not be written",
            }
        )
        return ("\n" if self._torn else "") + self._line(record)

    def _line(self, record: logging.LogRecord) -> str:
        """Return the line for *record*, however it is made."""
        try:
            return self.format(record) + "\n"
        except Exception as error:
            return self._raw_line(record, describe(error))

    def _raw_line(self, record: logging.LogRecord, why: str) -> str:
        """Return a line for a *record* that cannot be formatted, and *why*."""
        given = {
            "name": record.name,
            "levelno": record.levelno,
            "levelname": record.levelname,
            "threadName": record.threadName,
            "path": getattr(record, "path", None),
            "msg": f"{shown(record.msg)} (not formatted: {why})",
        }
        return self.format(logging.makeLogRecord(given)) + "\n"

    def _write(self, text: str) -> bool:
        """Write *text*; return whether all of it was."""
        if self._stream is None:
            return False
        try:
            number = self._stream.fileno()
        except (OSError, ValueError, AttributeError):  # it is in memory, or closed
            return self._write_text(text)
        encoding = getattr(self._stream, "encoding", None) or "utf-8"
        written = self._write_bytes(number, text.encode(encoding, "backslashreplace"))
        if written:
            self.lost, self._torn = 0, False
        return written

    def _write_text(self, text: str) -> bool:
        """Write to a stream that has no descriptor."""
        assert self._stream is not None
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError):
            return False
        self.lost = 0
        return True

    def _write_bytes(self, number: int, data: bytes) -> bool:
        """Write to the descriptor, never more at once than it has room for."""
        rest = memoryview(data)
        poll = select.poll()
        with contextlib.suppress(OSError):  # the rest is lost, as if nobody read it
            poll.register(number, select.POLLOUT)
            while rest and poll.poll(0 if self.lost else PATIENCE * 1000):
                with contextlib.suppress(BlockingIOError):
                    rest = rest[os.write(number, rest[:CHUNK]) :]
        self._torn = self._torn or 0 < len(rest) < len(data)
        return not rest

    def flush(self) -> None:
        """Do nothing: every line is written at once."""

    def handleError(self, record: logging.LogRecord) -> None:
        """Do nothing: `emit` does not raise, and a report would meet the same end."""


def shown(value: object) -> str:
    """Return the `repr` of *value*, or that it has none."""
    try:
        return repr(value)
    except Exception as error:
        return f"<{type(value).__name__}: {describe(error)}>"
