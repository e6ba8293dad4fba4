"""
How the command shows log records: to people on a terminal, as JSON elsewhere.

The library only writes standard records, each with its component's path; what
becomes of them is the program's affair, and here it is the command that decides.
An embedded runtime leaves logging as its host has set it up.

On a terminal::

    12:30:01.402 info     /app/db                      connected to shop.sqlite

Elsewhere, one object a line::

    {"time": "2026-03-01T11:30:01.402Z", "level": "info", "path": "/app/db", ...}

A log that cannot be written never stops the program: see `kinesis.safe_handler`.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import textwrap
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, TextIO

import attrs

from kinesis.safe_handler import ESCAPED, SafeHandler, shown
from kinesis.traces import TRACE

if TYPE_CHECKING:  # structlog takes 0.1 s to import: only `run` pays for it
    from structlog.dev import ConsoleRenderer

Form = Literal["auto", "text", "json"]
Fields = MutableMapping[str, Any]

THREAD_PREFIX = "kinesis:"  # of the threads that run components

RESET = "\x1b[0m"
DIM = "\x1b[2m"
CYAN = "\x1b[36m"
LEVEL_COLOURS = {
    "debug": "\x1b[2m",
    "info": "\x1b[32m",
    "warning": "\x1b[33m",
    "error": "\x1b[31m",
    "critical": "\x1b[1;31m",
}


@contextlib.contextmanager
def configured(level: str, form: Form, stream: TextIO | None) -> Iterator[None]:
    """
    Show every log record from *level* up on *stream* for the block.

    Records of other libraries and Python's warnings are shown the same way, and
    `structlog.get_logger()` works in components too. What was set up before is
    put back afterwards.

    Args:
        level: ``debug``, ``info``, ``warning``, ``error`` or ``critical``.
        form: ``auto`` means text on a terminal and JSON elsewhere.
        stream: None, as standard error is when it is closed, shows nothing.
    """
    import structlog

    root = logging.getLogger()
    before = (root.level, root.handlers[:])
    handler = SafeHandler(stream)
    handler.setFormatter(formatter(form, stream))
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    logging.captureWarnings(True)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.processors.StackInfoRenderer(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
    )
    try:
        yield
    finally:
        structlog.reset_defaults()
        logging.captureWarnings(False)
        root.setLevel(before[0])
        root.handlers[:] = before[1]


def formatter(form: Form, stream: TextIO | None) -> logging.Formatter:
    """Return what turns a record into text: *form*, as far as *stream* can show it."""
    import structlog

    terminal = _is_terminal(stream)
    if form == "text" or (form == "auto" and terminal):
        last: list[Any] = [_for_people, _console(colours=terminal and _wants_colours())]
    else:
        last = [_json]
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[_keep_message, structlog.stdlib.ExtraAdder()],
        processors=[_ordered, structlog.processors.format_exc_info, *last],
    )


def _is_terminal(stream: TextIO | None) -> bool:
    """Return whether *stream* is a terminal; False for one that is closed."""
    try:
        return stream is not None and stream.isatty()
    except ValueError:
        return False


def _wants_colours() -> bool:
    """Return whether the user has not asked for none (https://no-color.org)."""
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


# -- processors: (logger, method, fields) -> fields ---------------------------------


def _keep_message(_logger: object, _method: str, fields: Fields) -> Fields:
    """Name the text as no ``extra`` can be named; one may be called ``event``."""
    return {"message": fields.pop("event"), **fields}


def _ordered(_logger: object, _method: str, fields: Fields) -> Fields:
    """Put what every line has in front: time, level, path, logger, message."""
    record: logging.LogRecord = fields.pop("_record")
    fields.pop("_from_structlog")
    message = fields.pop("message") if "message" in fields else fields.pop("event", "")
    ordered: Fields = {
        "time": record.created,
        "level": record.levelname.lower(),
        "path": _path(record, fields.pop("path", None)),
        "logger": record.name,
        "message": message if isinstance(message, str) else shown(message),
    }
    if "trace" not in fields and (trace := TRACE.get()) is not None:
        fields["trace"] = trace.id  # of other libraries: ours have it already
    if "stack_info" in fields:
        fields["stack"] = fields.pop("stack_info")
    for key, value in fields.items():
        ordered[f"{key}_" if key in ordered else key] = value
    return ordered


def _path(record: logging.LogRecord, path: object) -> str | None:
    """Return the component's path: the record's own, or that of its thread."""
    if isinstance(path, str):
        return path
    name = record.threadName or ""
    if name.startswith(f"{THREAD_PREFIX}/"):
        return name.removeprefix(THREAD_PREFIX)
    return None


def _json(_logger: object, _method: str, fields: Fields) -> str:
    """Return one line of JSON, whatever the fields are made of."""
    moment = datetime.fromtimestamp(fields["time"], UTC)
    time = moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    line = {**fields, "time": time}
    try:
        return json.dumps(line, ensure_ascii=False, allow_nan=False, default=shown)
    except (TypeError, ValueError, RecursionError):  # keys, NaN, a circle
        plain = {str(key): _plain(value) for key, value in line.items()}
        return json.dumps(plain, ensure_ascii=False)


def _plain(value: object) -> object:
    """Return *value* if JSON can have it as it is, else how it is shown."""
    return value if isinstance(value, str | int | None) else shown(value)


def _for_people(_logger: object, _method: str, fields: Fields) -> Fields:
    """Make the fields short, and harmless for a terminal."""
    logger = fields.pop("logger")
    fields["path"] = fields["path"] or logger
    moment = datetime.fromtimestamp(fields["time"])
    fields["time"] = f"{moment:%H:%M:%S}.{moment.microsecond // 1000:03}"
    text = str(fields["message"]).rstrip("\n").translate(ESCAPED)
    fields["message"] = textwrap.indent(text, "    ").removeprefix("    ")
    for name in ("exception", "stack"):  # both quote what others have written
        if name in fields:
            fields[name] = str(fields[name]).translate(ESCAPED)
    return fields


def _console(*, colours: bool) -> ConsoleRenderer:
    """Return structlog's renderer with our columns."""
    from structlog.dev import Column, ConsoleRenderer, plain_traceback

    return ConsoleRenderer(
        columns=[
            Column("", _Cell(colours, DIM, show=_short, named=True)),
            Column("time", _Cell(colours, DIM)),
            Column("level", _Cell(colours, LEVEL_COLOURS, width=8)),
            Column("path", _Cell(colours, CYAN, width=28)),
            Column("message", _Cell(colours)),
            Column("seconds", _Cell(colours, DIM, show=_seconds)),
        ],
        exception_formatter=plain_traceback,
        sort_keys=False,
    )


@attrs.frozen
class _Cell:
    """
    How one field is shown.

    Attributes:
        colours: Whether the terminal has any.
        colour: An escape sequence, or one for each value; empty for the usual one.
        width: Characters that it has at least.
        show: What makes text of a value.
        named: Whether the field's name stands in front; then the name has the colour.
    """

    colours: bool
    colour: str | Mapping[str, str] = ""
    width: int = 0
    show: Callable[[object], str] = str
    named: bool = False

    def __call__(self, key: str, value: object) -> str:
        """Return the field as it is shown."""
        text = f"{self.show(value):<{self.width}}"
        if self.named:
            return self._painted(f"{key}=", key) + text
        return self._painted(text, str(value))

    def _painted(self, text: str, value: str) -> str:
        """Return *text* in the colour that *value* has."""
        colour = self.colour
        if not isinstance(colour, str):
            colour = colour.get(value, "")
        return f"{colour}{text}{RESET}" if self.colours and colour else text


def _seconds(value: object) -> str:
    """Return ``0.012 s``."""
    return f"{value:.3f} s" if isinstance(value, int | float) else f"{value} s"


def _short(value: object) -> str:
    """Return the text of a field that the program has added."""
    return (value if isinstance(value, str) else shown(value)).translate(ESCAPED)
