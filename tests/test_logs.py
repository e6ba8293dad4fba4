"""Log records are shown to people and machines, and never stop a program."""

from __future__ import annotations

import io
import json
import logging
import os
import re
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, TextIO

import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st

from kinesis.logs import configured, formatter
from kinesis.safe_handler import PATIENCE, SafeHandler

MOMENT = 1_772_368_201.402  # seconds since the epoch: 2026-03-01T12:30:01.402Z


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def record(message: str = "connected", *args: object, **extra: Any) -> Any:
    """Return a record of the library's own, as the core makes them."""
    given = {
        "name": "kinesis",
        "levelno": logging.INFO,
        "levelname": "INFO",
        "created": MOMENT,
        "threadName": "MainThread",
        "msg": message,
        "args": args,
    }
    return logging.makeLogRecord({**given, **extra})


def as_text(of: logging.LogRecord) -> str:
    """Return *of* as a person sees it, without colours."""
    return formatter("text", io.StringIO()).format(of)


def as_json(of: logging.LogRecord) -> dict[str, Any]:
    """Return *of* as a machine reads it."""
    line = formatter("json", io.StringIO()).format(of)
    assert "\n" not in line
    found: dict[str, Any] = json.loads(line)
    return found


@contextmanager
def pipe() -> Iterator[tuple[int, TextIO]]:
    """Yield the reading end's descriptor and the writing end's stream."""
    reader, writer = os.pipe()
    with ExitStack() as stack:
        stack.callback(os.close, reader)
        yield reader, stack.enter_context(os.fdopen(writer, "w", encoding="utf-8"))


def fill(stream: TextIO) -> int:
    """Fill the pipe behind *stream* to the last byte; return how many it took."""
    number, total = stream.fileno(), 0
    os.set_blocking(number, False)
    try:
        while True:
            total += os.write(number, b"." * 65_536)
    except BlockingIOError:
        os.set_blocking(number, True)
        return total


def drain(reader: int, size: int) -> None:
    """Read *size* bytes from the pipe."""
    while size:
        size -= len(os.read(reader, size))


# -- for people ----------------------------------------------------------------------


def test_a_line_for_people_has_time_level_path_and_message() -> None:
    """
    The columns stand under one another as long as paths are short.
    """
    line = as_text(record(path="/app/db"))

    assert re.fullmatch(r"\d\d:\d\d:01\.402 info     /app/db {22}connected", line)


def test_a_component_that_came_up_is_shown_with_its_time() -> None:
    """
    The core gives the seconds; people see them after the message.
    """
    line = as_text(record("started", path="/app/db", seconds=0.01234))

    assert line.endswith("started 0.012 s")


def test_a_message_cannot_steer_the_terminal() -> None:
    """
    Escape sequences from outside are shown, not obeyed, wherever they stand.
    """
    error = ValueError("\x1b[2J")
    line = as_text(
        record("\x1b[2J", note="\x9b2J", exc_info=(ValueError, error, None), path="/a")
    )

    assert "\x1b" not in line
    assert "\x9b" not in line
    assert line.count(r"\x1b[2J") == 2


def test_the_lines_of_a_long_message_stand_below_its_first() -> None:
    """
    What follows the first line is indented, so that each record can be told apart.
    """
    line = as_text(record("stuck at:\n  File a.py\n", path="/app/db"))

    assert line.endswith("stuck at:\n      File a.py")


def test_an_exception_is_shown_below_its_line() -> None:
    """
    A traceback ends with the exception, as Python prints it.
    """
    error = ValueError("no such port")
    line = as_text(record("failed", path="/app", exc_info=(ValueError, error, None)))

    assert line.splitlines()[-1] == "ValueError: no such port"


def test_a_terminal_has_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    They are there on a terminal only, and not when the user wants none.
    """
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    coloured = formatter("auto", Terminal()).format(record(path="/app"))
    monkeypatch.setenv("NO_COLOR", "1")
    plain = formatter("auto", Terminal()).format(record(path="/app"))

    assert "\x1b[32minfo" in coloured
    assert "\x1b" not in plain
    assert "\x1b" not in as_text(record(path="/app"))


@given(
    st.text(), st.dictionaries(st.sampled_from(["note", "event", "level"]), st.text())
)
def test_nothing_in_a_record_moves_the_cursor(
    message: str, extra: dict[str, str]
) -> None:
    """
    Of control characters only the newline and the tab ever reach a terminal.
    """
    line = as_text(record("%s", message, path="/app", **extra))

    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", line)


# -- for machines --------------------------------------------------------------------


def test_a_line_for_machines_is_one_object() -> None:
    """
    Time in UTC, level, path, logger and message come first, then what was added.
    """
    found = as_json(record("connected to %s", "shop", path="/app/db", port=5432))

    assert found == {
        "time": "2026-03-01T12:30:01.402Z",
        "level": "info",
        "path": "/app/db",
        "logger": "kinesis",
        "message": "connected to shop",
        "port": 5432,
    }


def test_a_record_without_a_path_has_that_of_its_thread() -> None:
    """
    A library that a component calls logs under the component's path.
    """
    found = as_json(record(name="urllib3", threadName="kinesis:/app/poller"))

    assert (found["path"], found["logger"]) == ("/app/poller", "urllib3")


def test_a_record_of_no_component_says_so() -> None:
    """
    Its path is null, and people see the logger's name in its place.
    """
    assert as_json(record(name="urllib3"))["path"] is None
    assert " urllib3 " in as_text(record(name="urllib3"))


def test_what_a_record_adds_hides_nothing() -> None:
    """
    An extra called like one of our fields gets another name.
    """
    found = as_json(record(path="/app", level="mine", time=3, event="yours"))

    assert (found["level"], found["level_"]) == ("info", "mine")
    assert (found["message"], found["event"]) == ("connected", "yours")
    assert found["time_"] == 3


def test_an_exception_and_a_stack_are_fields() -> None:
    """
    A traceback is text in the same line.
    """
    error = ValueError("no such port")
    found = as_json(
        record(path="/app", exc_info=(ValueError, error, None), stack_info="Stack:")
    )

    assert found["exception"] == "ValueError: no such port"
    assert found["stack"] == "Stack:"


class Shy:
    """An object that cannot be shown."""

    def __repr__(self) -> str:
        raise ValueError("never")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ({1, 2}, "{1, 2}"),
        (float("nan"), "nan"),
        ({(1, 2): 3}, "{(1, 2): 3}"),
        (Shy(), "<Shy: ValueError: never>"),
    ],
    ids=["a set", "not a number", "a key that is no text", "no repr"],
)
def test_what_json_does_not_know_is_shown_as_text(value: object, shown: str) -> None:
    """
    Every line can be parsed, whatever was logged.
    """
    assert as_json(record(path="/app", value=value))["value"] == shown


def test_what_refers_to_itself_is_shown_as_text() -> None:
    """
    A circle ends in an ellipsis.
    """
    circle: list[object] = []
    circle.append(circle)

    assert as_json(record(path="/app", value=circle))["value"] == "[[...]]"


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner),
    max_leaves=10,
)


@settings(max_examples=40)  # of a size that 100 would take seconds
@given(st.dictionaries(st.text().map("x_{}".format), VALUES), st.text())
def test_every_record_is_one_line_of_json(extra: dict[str, Any], message: str) -> None:
    """
    Whatever is logged, a machine can read it back.
    """
    handler = SafeHandler(stream := io.StringIO())
    handler.setFormatter(formatter("json", stream))
    handler.emit(record("%s", message, path="/app", **extra))

    assert json.loads(stream.getvalue())["message"] == message.rstrip("\n")


# -- setting up ----------------------------------------------------------------------


def test_everything_that_logs_is_shown_and_all_is_put_back() -> None:
    """
    The library, others, warnings and structlog's own loggers; only for the block.
    """
    root = logging.getLogger()
    before = (root.level, root.handlers[:])
    stream = io.StringIO()
    with configured("info", "json", stream), warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.getLogger("kinesis").info("ours", extra={"path": "/app"})
        logging.getLogger("other").debug("not shown")
        structlog.get_logger("theirs").info("native", answer=42)
        warnings.warn("soon gone", DeprecationWarning, stacklevel=1)
    logging.getLogger("kinesis").info("not shown")
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]

    assert [line["logger"] for line in lines] == ["kinesis", "theirs", "py.warnings"]
    assert lines[1]["message"] == "native"
    assert lines[1]["answer"] == 42
    assert "DeprecationWarning: soon gone" in lines[2]["message"]
    assert (root.level, root.handlers[:]) == before


@pytest.mark.parametrize(
    ("form", "stream", "is_json"),
    [
        ("auto", Terminal(), False),
        ("auto", io.StringIO(), True),
        ("json", Terminal(), True),
        ("text", io.StringIO(), False),
        ("auto", None, True),
    ],
    ids=["terminal", "elsewhere", "json asked for", "text asked for", "closed"],
)
def test_the_form_follows_the_stream_unless_asked_otherwise(
    form: Any, stream: TextIO | None, is_json: bool
) -> None:
    """
    People's text on a terminal, JSON elsewhere.
    """
    line = formatter(form, stream).format(record(path="/app"))

    assert line.startswith("{") is is_json


# -- a log that cannot be written ----------------------------------------------------


def handler_on(stream: TextIO | None) -> SafeHandler:
    """Return a handler that writes just the messages to *stream*."""
    return SafeHandler(stream)


def test_a_record_that_cannot_be_formatted_is_shown_raw() -> None:
    """
    Its message, its path and what was wrong are there; nothing is raised.
    """
    handler = handler_on(stream := io.StringIO())
    handler.setFormatter(formatter("json", stream))
    handler.handle(record("%d items", "x", path="/app/db"))
    found = json.loads(stream.getvalue())

    assert found["path"] == "/app/db"
    assert found["message"].startswith("'%d items' (not formatted: TypeError: ")


def test_a_formatter_that_always_fails_loses_the_line_and_nothing_else() -> None:
    """
    When not even the raw message can be made, the line counts as lost.
    """

    class Broken(logging.Formatter):
        def format(self, record: logging.LogRecord) -> str:
            raise MemoryError

    handler = handler_on(stream := io.StringIO())
    handler.setFormatter(Broken())
    handler.handle(record())

    assert (stream.getvalue(), handler.lost) == ("", 1)


@pytest.mark.parametrize("kind", ["none", "closed", "closed pipe", "broken pipe"])
def test_a_log_without_a_reader_breaks_nothing(kind: str) -> None:
    """
    A closed standard error and a broken pipe lose lines, and that is all.
    """
    with ExitStack() as stack:
        if kind == "none":
            handler = handler_on(None)
        elif kind == "closed":
            stream = io.StringIO()
            stream.close()
            handler = handler_on(stream)
        else:
            reader, writer = os.pipe()
            handler = handler_on(end := stack.enter_context(os.fdopen(writer, "w")))
            os.close(reader)
            if kind == "closed pipe":
                end.close()
        handler.handle(record())
        handler.handle(record())
        handler.flush()

    assert handler.lost == 2


def test_a_reader_who_has_paused_holds_nobody_up() -> None:
    """
    A full pipe costs one line its patience; those after it do not wait at all.
    """
    with pipe() as (_, stream):
        fill(stream)
        handler = handler_on(stream)
        began = time.monotonic()
        handler.handle(record())
        first = time.monotonic() - began
        for _ in range(100):
            handler.handle(record())
        rest = time.monotonic() - began - first

    assert PATIENCE * 0.9 <= first < PATIENCE + 1
    assert rest < PATIENCE
    assert handler.lost == 101


def test_a_reader_who_comes_back_is_told_how_much_is_missing() -> None:
    """
    The next line after a gap says how wide it is.
    """
    with pipe() as (reader, stream):
        size = fill(stream)
        handler = handler_on(stream)
        for number in range(3):
            handler.handle(record(f"lost {number}"))
        drain(reader, size)
        handler.handle(record("seen"))
        text = os.read(reader, 65_536).decode()

    assert text == "3 lines are missing here: the log could not be written\nseen\n"
    assert handler.lost == 0


def test_a_line_that_was_cut_ends_before_the_next() -> None:
    """
    Half a line is never glued to what follows.
    """
    with pipe() as (reader, stream):
        size = fill(stream)
        drain(reader, 8_192)
        handler = handler_on(stream)
        handler.handle(record("x" * 100_000))
        drain(reader, size - 8_192)
        handler.handle(record("seen"))
        text = os.read(reader, 65_536).decode()

    assert text.splitlines() == [
        "x" * 8_192,
        "1 line is missing here: the log could not be written",
        "seen",
    ]


def test_a_character_that_the_stream_cannot_write_is_escaped() -> None:
    """
    Neither a stream's encoding nor half a surrogate pair can break a line.
    """
    reader, writer = os.pipe()
    with os.fdopen(writer, "w", encoding="ascii") as stream:
        handler_on(stream).handle(record("grün \udc80"))
    with os.fdopen(reader, "rb") as end:
        text = end.read()

    assert text == b"gr\\xfcn \\udc80\n"


@pytest.mark.skipif(sys.platform != "linux", reason="pauses a terminal as Linux does")
def test_a_terminal_that_is_paused_holds_nobody_up() -> None:
    """
    After ctrl-s nothing is shown, and the program goes on.
    """
    import termios

    master, slave = os.openpty()
    with os.fdopen(slave, "w") as stream:
        termios.tcflow(stream.fileno(), termios.TCOOFF)
        handler = handler_on(stream)
        began = time.monotonic()
        for _ in range(10):
            handler.handle(record())
        taken = time.monotonic() - began
        termios.tcflow(stream.fileno(), termios.TCOON)
    os.close(master)

    assert taken < PATIENCE + 1
