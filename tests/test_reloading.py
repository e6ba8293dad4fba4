"""A running program is made as its file says, and nothing else is touched."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kinesis import Component, Container, Runtime, private
from kinesis.config import ComponentPlan, Plan, difference
from kinesis.errors import (
    ComponentNotFoundError,
    ComponentStoppedError,
    ConfigError,
    WaitTimeoutError,
)
from kinesis.reloading import Reloader, placed, runtime_from_file, without
from kinesis.stages import Stage
from tests.programs import PATIENCE, running

PARTS = '''\
"""Parts for the programs of these tests."""

from kinesis import Component, field


class Part(Component):
    """Counts its starts; some sizes are too much for it."""

    size: int = field(default=0)
    starts: int = field(default=0)

    def __attrs_post_init__(self):
        if self.size == 13:
            raise ValueError("13 is no size")

    def init(self):
        if self.size == 14:
            raise OSError("14 is too much")

    def start(self):
        with self.edit():
            self.starts += 1
        self.stopping.wait()
'''

FILE = """\
name: app
components:
  - {name: first, type: 'reloadable:Part'}
  - name: box
    components:
      - {name: one, type: 'reloadable:Part'}
      - {name: two, type: 'reloadable:Part', config: {size: 2}}
  - {name: last, type: 'reloadable:Part'}
"""


class Running:
    """A runtime of a file, and the reloader that is to be tested."""

    def __init__(self, file: Path) -> None:
        self.file = file
        made: list[Any] = []

        def make(name: str, components: list[Component], **options: Any) -> Runtime:
            made.append(options["reload"])
            return Runtime(name, components, **options)

        self.runtime = runtime_from_file(make, file)
        self.reloader: Reloader = made[0]

    def reload(self, *replacements: tuple[str, str]) -> None:
        """Change the file, and have it read again."""
        text = self.file.read_text()
        for old, new in replacements:
            assert old in text
            text = text.replace(old, new)
        self.file.write_text(text)
        self.reloader(self.runtime.root)

    def runs(self) -> dict[str, int]:
        """Return how often each component that is there has been started, by path."""
        return {ref.path: ref.report().run for ref in self.runtime.root.walk()}


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write a program; its module is imported once for all tests."""
    directory = tmp_path / "program"
    directory.mkdir()
    (directory / "reloadable.py").write_text(PARTS)
    monkeypatch.syspath_prepend(directory)
    path = directory / "app.yaml"
    path.write_text(FILE)
    return path


@pytest.fixture
def program(file: Path, caplog: pytest.LogCaptureFixture) -> Iterator[Running]:
    """Run the program."""
    running = Running(file)
    with running.runtime:
        caplog.set_level(logging.INFO, "kinesis")
        caplog.clear()
        yield running


def said(caplog: pytest.LogCaptureFixture, level: int) -> list[tuple[str, str]]:
    """Return the path and text of what was logged from *level* up."""
    return [
        (vars(record).get("path", ""), record.getMessage())
        for record in caplog.records
        if record.levelno >= level
    ]


# -- made from a file ---------------------------------------------------------------


def test_the_file_says_how_the_runtime_is_made(file: Path) -> None:
    """
    Name, components, strategy and deadline are the file's.
    """
    file.write_text(f"shutdown_deadline: 7\nstrategy: one-for-all\n{FILE}")
    runtime = Runtime.from_file(file)

    assert [ref.path for ref in runtime] == ["/app/first", "/app/box", "/app/last"]
    assert runtime.shutdown_deadline == 7


def test_arguments_go_before_the_file(file: Path) -> None:
    """
    Who embeds a program may say some things otherwise.
    """
    file.write_text(f"shutdown_deadline: 7\n{FILE}")

    assert Runtime.from_file(file, shutdown_deadline=3.0).shutdown_deadline == 3.0


# -- what is different, and only that -----------------------------------------------


def test_what_is_not_named_goes_on_undisturbed(program: Running) -> None:
    """
    The same object on the same run, its state as it was.
    """
    first = program.runtime["/app/first"]
    first.update({"starts": 99})

    program.reload(("size: 2", "size: 3"), ("name: last", "name: other"))

    assert first.snapshot().starts == 99
    assert program.runs()["/app/first"] == 1
    assert program.runtime["/app/first"] == first


def test_components_are_added_removed_and_replaced_where_they_are(
    program: Running, caplog: pytest.LogCaptureFixture
) -> None:
    """
    Deep in the tree as well; what is new runs with what the file says now.
    """
    program.reload(
        ("      - {name: one,", "      - {name: three,"),
        ("size: 2", "size: 3"),
        ("name: last", "name: other"),
    )

    assert program.runs() == {
        "/app/first": 1,
        "/app/box": 1,
        "/app/box/three": 1,
        "/app/box/two": 1,
        "/app/other": 1,
    }
    assert program.runtime["/app/box/two"].snapshot().size == 3
    assert said(caplog, logging.INFO)[-1] == (
        "/app",
        f"reloaded {program.file}: 2 removed, 1 changed, 2 added",
    )


def test_a_ref_is_of_the_one_before_and_its_path_of_the_one_that_is_there(
    program: Running,
) -> None:
    """
    Whoever kept one is told what to do.
    """
    before = program.runtime["/app/box/two"]

    program.reload(("size: 2", "size: 3"))

    with pytest.raises(ComponentStoppedError, match="find what is at its path now"):
        before.send(object())
    assert before.stage is Stage.TORN_DOWN
    assert program.runtime[before.path].snapshot().size == 3


def test_a_container_that_is_different_is_replaced_with_all_in_it(
    program: Running,
) -> None:
    """
    Its strategy is its own: it cannot be changed while it runs.
    """
    box = program.runtime["/app/box"]

    program.reload(("  - name: box", "  - name: box\n    strategy: one-for-all"))

    assert program.runtime["/app/box"] != box
    assert set(program.runs()) > {"/app/box/one", "/app/box/two"}


def test_the_first_of_the_file_comes_up_first_and_the_last_goes_first(
    program: Running, caplog: pytest.LogCaptureFixture
) -> None:
    """
    Added and changed ones take turns as the file has them.
    """
    program.reload(
        ("- {name: first,", "- {name: zero, type: 'reloadable:Part'}\n  - {name: a,"),
        ("size: 2", "size: 3"),
        ("name: last", "name: z"),
    )
    lines = said(caplog, logging.INFO)
    stopped = [path for path, text in lines if text == "stopped"]
    started = [path for path, text in lines if text == "started"]

    assert stopped == ["/app/last", "/app/first", "/app/box/two"]
    assert started == ["/app/zero", "/app/a", "/app/box/two", "/app/z"]


def test_a_file_that_says_the_same_changes_nothing(
    program: Running, caplog: pytest.LogCaptureFixture
) -> None:
    """
    Comments and the order of siblings are no difference.
    """
    program.reload(("name: app", "# as before\nname: app"))

    assert set(program.runs().values()) == {1}
    assert said(caplog, logging.INFO) == [
        ("/app", f"reloaded {program.file}: no component is different")
    ]


def test_what_is_gone_already_need_not_be_removed(program: Running) -> None:
    """
    Somebody was faster: the program is as the file wants it.
    """
    program.runtime.remove("last")

    program.reload(("  - {name: last, type: 'reloadable:Part'}\n", ""))

    assert "last" not in program.runtime


def test_keys_of_the_program_wait_for_the_next_start(
    program: Running, caplog: pytest.LogCaptureFixture
) -> None:
    """
    They are named at every reload until then; components are applied meanwhile.
    """
    program.reload(("name: app", "name: shop\nshutdown_deadline: 3"))
    program.reload(("size: 2", "size: 3"))
    text = f"reload: what {program.file} says now of 'name', 'shutdown_deadline' "

    assert said(caplog, logging.WARNING) == 2 * [
        ("/app", f"{text}holds from the next start on")
    ]
    assert program.runtime["/app/box/two"].snapshot().size == 3


# -- what goes wrong ----------------------------------------------------------------


def test_a_file_with_faults_changes_nothing_and_all_are_logged(
    program: Running, caplog: pytest.LogCaptureFixture
) -> None:
    """
    One log line names every fault with its line and column.
    """
    program.reload(("size: 2", "sise: 2"), ("- {name: last, type", "- {name: '', tipe"))
    ((path, text),) = said(caplog, logging.WARNING)

    assert set(program.runs().values()) == {1}
    assert "/app/last" in program.runs()
    assert path == "/app"
    assert text.startswith("not reloaded, and nothing is changed")
    assert all(part in text for part in (":7:", ":8:", "'size'", "'type'"))


def test_a_constructor_that_raises_changes_nothing(
    program: Running, caplog: pytest.LogCaptureFixture
) -> None:
    """
    Everything is built before the first component is stopped.
    """
    program.reload(("size: 2", "size: 13"), ("name: last", "name: other"))
    ((_, text),) = said(caplog, logging.WARNING)

    assert "/app/last" in program.runs()
    assert "7:9: expected Part to take its arguments" in text
    assert "13 is no size" in text


def test_a_file_that_is_gone_changes_nothing(
    program: Running, caplog: pytest.LogCaptureFixture
) -> None:
    """
    An editor may be in the middle of writing it.
    """
    program.file.unlink()

    program.reloader(program.runtime.root)
    ((_, text),) = said(caplog, logging.WARNING)

    assert set(program.runs().values()) == {1}
    assert "expected a file to read" in text


def test_one_that_does_not_start_keeps_no_other_from_it(
    program: Running, caplog: pytest.LogCaptureFixture
) -> None:
    """
    It is logged with its path; the rest is applied.
    """
    new = "name: other, config: {size: 14}"
    program.reload(("name: first", new), ("name: last", "name: more"))
    lines = said(caplog, logging.ERROR)

    assert set(program.runs()) >= {"/app/more", "/app/box/one"}
    assert "/app/other" in {path for path, text in lines if "cannot add" in text}
    assert lines[-1][1].endswith("2 removed, 1 added, 1 failed")


def test_where_the_new_one_does_not_start_the_old_one_comes_back(
    program: Running, caplog: pytest.LogCaptureFixture
) -> None:
    """
    And the next reload tries again what the file says.
    """
    program.reload(("size: 2", "size: 14"))
    back = program.runtime["/app/box/two"].snapshot().size
    program.reload()
    again = [text for _, text in said(caplog, logging.ERROR) if "cannot add" in text]
    program.reload(("size: 14", "size: 15"))

    assert back == 2
    assert len(again) == 2
    assert program.runtime["/app/box/two"].snapshot().size == 15


def test_one_that_did_not_come_up_is_tried_again(program: Running) -> None:
    """
    The books only take in what was done.
    """
    program.reload(("name: last", "name: other, config: {size: 14}"))
    with pytest.raises(ComponentNotFoundError):
        program.runtime["/app/last"]

    program.reload(("size: 14", "size: 1"))

    assert program.runtime["/app/other"].snapshot().size == 1


def test_a_program_that_has_stopped_is_left_alone(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """
    A reload that comes too late says so, and raises nothing.
    """
    caplog.set_level(logging.INFO, "kinesis")
    running = Running(file)
    with running.runtime:
        pass

    running.reload(("size: 2", "size: 3"))

    assert said(caplog, logging.INFO)[-1] == (
        "/app",
        "not reloaded: the program stops",
    )


class FakeRoot:
    """Stands for a root that runs; what it is asked to do fails."""

    path = "/app"

    def __init__(self, error: Exception | None, stage: Stage = Stage.STARTED) -> None:
        self.error = error
        self.stage = stage
        self.asked: list[str] = []

    def wait_for(self, _: Stage) -> None:
        """Return at once."""

    def __getitem__(self, path: str) -> FakeRoot:
        return self

    def remove(self, name: str) -> None:
        """Fail, if it should."""
        self.asked.append(f"remove {name}")
        if self.error is not None:
            raise self.error

    def add(self, component: Component) -> None:
        """Fail, if it should."""
        self.asked.append(f"add {component.name}")
        if self.error is not None:
            raise self.error


def test_what_does_not_stop_is_not_replaced(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """
    It hangs, and keeps its name; the next reload tries again.
    """
    program = Running(file)
    root: Any = FakeRoot(WaitTimeoutError("'/app/box/two' did not stop"))
    file.write_text(FILE.replace("size: 2", "size: 3"))

    program.reloader(root)
    program.reloader(root)

    assert root.asked == ["remove two", "remove two"]
    assert ("/app", f"reloaded {file}: 1 failed") in said(caplog, logging.ERROR)


def test_an_error_nobody_thought_of_is_logged_with_its_traceback(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """
    One step that ends so is like any other that fails.
    """
    program = Running(file)
    root: Any = FakeRoot(ZeroDivisionError("nobody thought of it"))
    file.write_text(FILE + "  - {name: new, type: 'reloadable:Part'}\n")

    program.reloader(root)
    first = caplog.records[0]

    assert vars(first)["path"] == "/app/new"
    assert first.exc_info is not None
    assert first.exc_info[1] is root.error


def test_the_steps_end_when_the_program_stops(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """
    A stop in the middle of a reload: no line for each step that is left.
    """
    caplog.set_level(logging.INFO, "kinesis")
    program = Running(file)
    root: Any = FakeRoot(None, Stage.STOPPING)
    file.write_text(FILE.replace("name: last", "name: other"))

    program.reloader(root)

    assert root.asked == []
    assert said(caplog, logging.INFO) == [
        ("/app", "reload cut short: the program stops")
    ]


def test_a_reload_that_breaks_raises_nothing(
    file: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    It runs on a thread of its own: nobody could catch what it raises.
    """

    def load(_: object) -> Plan:
        raise MemoryError("no room")

    program = Running(file)
    monkeypatch.setattr("kinesis.reloading.load", load)

    program.reloader(FakeRoot(None))  # type: ignore[arg-type]  # a fake

    assert said(caplog, logging.ERROR) == [
        ("/app", "not reloaded, and nothing is changed")
    ]


def test_where_the_old_one_cannot_be_built_again_it_stays_away(
    program: Running, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Its constructor worked once; now it does not, and that is logged.
    """
    build = ComponentPlan.build

    def no_more(plan: ComponentPlan) -> Component:
        if plan.config.get("size") == 2:
            raise ConfigError("no more of these", faults=())
        return build(plan)

    monkeypatch.setattr(ComponentPlan, "build", no_more)

    program.reload(("size: 2", "size: 14"))

    assert "two" not in program.runtime["/app/box"]
    assert (
        "/app/box/two",
        "reload: cannot bring it back: ConfigError: no more of these",
    ) in said(caplog, logging.ERROR)


# -- the books ----------------------------------------------------------------------

NAMES = st.sampled_from("abc")
LEAVES = st.builds(
    lambda name, size: ComponentPlan(name, Component, {"size": size}),
    NAMES,
    st.integers(0, 1),
)


def _unique(plans: list[ComponentPlan]) -> tuple[ComponentPlan, ...]:
    """Return *plans* without those whose name is taken."""
    return tuple({plan.name: plan for plan in plans}.values())


TREES = st.recursive(
    st.lists(LEAVES, max_size=3).map(_unique),
    lambda below: st.lists(
        LEAVES
        | st.builds(
            lambda name, inside: ComponentPlan(name, Container, components=inside),
            NAMES,
            below,
        ),
        max_size=3,
    ).map(_unique),
    max_leaves=8,
)


@given(TREES, TREES)
def test_the_books_after_all_steps_are_as_the_file(
    old: tuple[ComponentPlan, ...], new: tuple[ComponentPlan, ...]
) -> None:
    """
    Whatever the two files say, at whatever depth.
    """
    books, wanted = Plan("app", old), Plan("app", new)
    steps = difference(books, wanted)
    for path in (*steps.removed, *steps.changed):
        books = without(books, path)
    for path, plan in (*steps.changed.items(), *steps.added.items()):
        books = placed(books, path, plan)

    assert not difference(books, wanted)


# -- signals ------------------------------------------------------------------------


class Idle(Component):
    """Waits; says when it does."""

    waits: threading.Event = private(factory=threading.Event)

    def start(self) -> None:
        self.waits.set()
        self.stopping.wait()


def test_reloads_never_run_beside_each_other_and_no_wish_is_lost() -> None:
    """
    A signal during a reload makes one more after it.
    """
    entered, released = threading.Semaphore(0), threading.Event()
    inside: list[int] = []

    def reload(_: object) -> None:
        inside.append(1)
        entered.release()
        released.wait(PATIENCE)
        assert inside.pop() == 1
        assert not inside

    idle = Idle(name="idle")
    runtime = Runtime(components=[idle], reload=reload)

    def signals() -> list[bool]:
        assert idle.waits.wait(PATIENCE)
        os.kill(os.getpid(), signal.SIGHUP)
        seen = [entered.acquire(timeout=PATIENCE)]
        os.kill(os.getpid(), signal.SIGHUP)
        released.set()
        seen.append(entered.acquire(timeout=PATIENCE))
        os.kill(os.getpid(), signal.SIGTERM)
        return seen

    assert _run_with(runtime, signals) == [True, True]


def test_without_a_file_a_reload_says_so(caplog: pytest.LogCaptureFixture) -> None:
    """
    A program of objects cannot be read again.
    """
    idle = Idle(name="idle")
    runtime = Runtime(components=[idle])
    told = threading.Event()

    class Listening(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.getMessage() == "nothing to reload: no file":
                told.set()

    def signals() -> bool:
        assert idle.waits.wait(PATIENCE)
        os.kill(os.getpid(), signal.SIGHUP)
        heard = told.wait(PATIENCE)
        os.kill(os.getpid(), signal.SIGTERM)
        return heard

    logger, handler = logging.getLogger("kinesis"), Listening()
    logger.addHandler(handler)
    try:
        assert _run_with(runtime, signals)
    finally:
        logger.removeHandler(handler)


def _run_with(runtime: Runtime, signals: Callable[[], Any]) -> Any:
    """Run *runtime* in this, the main thread; return what *signals* returns."""
    results: list[Any] = []

    def beside() -> None:
        try:
            results.append(signals())
        finally:
            if not results:
                runtime.stop()

    helper = threading.Thread(target=beside)
    helper.start()
    code = runtime.run()
    helper.join(PATIENCE)

    assert code == 0
    return results[0]


def test_sighup_reads_the_file_again(file: Path) -> None:
    """
    In a real process: a change, then a fault, then the way back; it ends with 0.
    """
    with running(file) as program:
        program.wait_for_message("started", "/app")
        file.write_text(FILE.replace("size: 2", "size: 3"))
        program.send(signal.SIGHUP)
        program.wait_for_message("reloaded", "/app")
        changed = program.paths_of("started")
        file.write_text(FILE.replace("size: 2", "sise: 3"))
        program.send(signal.SIGHUP)
        fault = program.wait_for_message("not reloaded", "/app")
        file.write_text(FILE)
        program.send(signal.SIGHUP)
        program.wait_for_message("reloaded", "/app")
        code = program.end()

    assert changed[-1] == "/app/box/two"
    assert changed.count("/app/first") == 1
    assert f"{file}:7:55: expected a field of Part; got 'sise'." in fault["message"]
    assert program.paths_of("started").count("/app/box/two") == 3
    assert code == 0
