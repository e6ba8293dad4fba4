"""Which thread runs what, and what happens when the system has none to give."""

from __future__ import annotations

import gc
import logging
import sys
import threading
from collections.abc import Callable
from functools import partial
from typing import ClassVar, Literal

import pytest

from kinesis import Component, Container, Restart, Runtime, Stage, handles
from kinesis.cells import Cell
from kinesis.concurrency import SystemThreads, Thread
from kinesis.errors import KinesisError
from kinesis.restarts import Backoff
from kinesis.testing import SimulatedThreads, Simulation, keep_carriers, simulate
from kinesis.testing.simulation import untraced
from tests.hooks import HOOKS
from tests.lifecycle.parts import PATIENCE, Traced, raising, traced, waits

NOW = Backoff(first=0, most=0)
OFTEN = Restart(backoff=NOW, limit=10**9, window=0)  # no window, no books

# ----------------------------------------------------------- the design's table


@pytest.mark.seeds(20)
def test_all_runs_on_the_dedicated_thread_once_start_has_returned(
    simulation: Simulation,
) -> None:
    """
    Hooks, messages, `stop` and `tear_down`, on one thread, called by the path.
    """
    part = traced()
    with simulation.runtime() as runtime:
        runtime.add(part).send("hello")

    assert [*HOOKS[:5], "handle", *HOOKS[5:]] == part.hooks
    assert {"kinesis:/app/part"} == {thread for _, thread in part.ran}


@pytest.mark.seeds(20)
def test_messages_have_a_second_thread_while_start_blocks(
    simulation: Simulation,
) -> None:
    """
    Messages and `stop` run there; all other hooks on the first.
    """
    part = traced(start=waits)
    with simulation.runtime() as runtime:
        runtime.add(part).send("hello")
    second = [hook for hook, thread in part.ran if "(messages)" in thread]

    assert second == ["handle", "stop"]
    assert {"kinesis:/app/part", "kinesis:/app/part (messages)"} == {
        thread for _, thread in part.ran
    }


def test_the_second_thread_is_made_at_the_first_message(
    simulation: Simulation,
) -> None:
    """
    A component that gets none does without, up to the end.
    """

    def names() -> set[str]:
        return set(simulation.threads.names().values())

    with simulation.runtime() as runtime:
        ref = runtime.add(traced(start=waits))
        runtime.add(SilentLoop(name="silent"))
        simulation.settle()

        assert "kinesis:/app/part" in names()
        assert "kinesis:/app/part (messages)" not in names()
        ref.send("now")
        assert "kinesis:/app/part (messages)" in names()
    ran = {name for name, _ in simulation.trace}
    assert "kinesis:/app/silent" in ran
    assert "kinesis:/app/silent (messages)" not in ran


class SilentLoop(Component):
    """Blocks, and needs no `stop`."""

    def start(self) -> None:
        self.stopping.wait()


@pytest.mark.seeds(20)
def test_the_second_thread_goes_on_when_start_returns_after_all(
    simulation: Simulation,
) -> None:
    """
    Messages keep the thread that they had; it ends with the run.
    """
    go = simulation.threads.event()

    def wait_for_go(part: Traced) -> None:
        part.ready()
        go.wait()

    part = traced(start=wait_for_go)
    with simulation.runtime() as runtime:
        ref = runtime.add(part)
        ref.send("one")
        go.set()
        simulation.settle()
        ref.send("two")
        ref.restart()
        simulation.settle()  # its `start` returns at once now
        ref.send("three")
    handled = [thread for hook, thread in part.ran if hook == "handle"]

    assert handled.count("kinesis:/app/part (messages)") == 2
    assert len(handled) == 3


@pytest.mark.seeds(20)
def test_each_run_with_a_blocking_start_has_a_second_thread_of_its_own(
    simulation: Simulation,
) -> None:
    """
    It ends with the run: no thread is left over by restarts.
    """
    part = traced(start=waits)
    with simulation.runtime() as runtime:
        ref = runtime.add(part)
        for number in range(4):
            ref.send(number)
            ref.restart()
        simulation.settle()  # the thread of the last run may end behind it
        alive = [t for t in runtime["part"]._cell.threads() if t.is_alive()]

        assert len(alive) == 1


def test_a_containers_own_code_has_a_thread_beside_its_supervisors(
    simulation: Simulation,
) -> None:
    """
    `kinesis:/app/shop` decides about the children; the hooks have their own name.
    """
    ran: list[tuple[str, str]] = []

    class Shop(Container):
        def init(self) -> None:
            ran.append(("init", threading.current_thread().name))

        @handles(int)
        def count(self, number: int) -> int:
            ran.append(("handle", threading.current_thread().name))
            return number

    with simulation.runtime() as runtime:
        shop = runtime.add(Shop(name="shop", components=[traced()]))
        shop.send(1)

        names = set(simulation.threads.names().values())
    assert {"kinesis:/app", "kinesis:/app/shop", "kinesis:/app/shop/part"} < names
    assert ran[:1] == [("init", "kinesis:/app/shop (hooks)")]
    assert ran[1:] == [("handle", "kinesis:/app/shop (hooks)")]


@pytest.mark.seeds(20)
def test_a_plain_container_answers_messages_though_it_has_no_handler(
    simulation: Simulation,
) -> None:
    """
    It needs no thread until one comes; then the answer says what it handles.
    """
    with simulation.runtime() as runtime:
        shop = runtime.add(Container(name="shop"))
        names = set(simulation.threads.names().values())
        with pytest.raises(KinesisError, match="no handler for str"):
            shop.send("hello")

        assert "kinesis:/app/shop (hooks)" not in names


def test_what_a_thread_of_ours_raises_is_logged_and_counted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """
    Never silent, never on stderr alone.
    """
    runtime = Runtime(name="app")
    with runtime:
        runtime._threads.start(partial(exec, "raise SystemExit(4)"), "stray").join(
            PATIENCE
        )

        assert runtime._services.crashes == 1
    (record,) = [r for r in caplog.records if r.levelname == "CRITICAL"]
    assert record.__dict__["path"] == "stray"
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], SystemExit)


@pytest.mark.seeds(5)
@pytest.mark.parametrize("blocks", [True, False])
def test_a_message_loop_that_breaks_goes_on_afresh(
    simulation: Simulation,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    blocks: bool,
) -> None:
    """
    That would be a mistake of ours: logged, counted, and later messages are handled.
    """
    caplog.clear()
    part = traced(**({"start": waits} if blocks else {}))
    with simulation.runtime() as runtime:
        ref = runtime.add(part)
        assert ref.send("before") == "before"
        with monkeypatch.context() as patch:
            patch.setattr(Cell, "recovered", raising(ValueError("ours")))
            ref._cell.stalled = "so the loop says that it has recovered"
            ref.post("breaks it")
            simulation.settle()
        ref._cell.stalled = None
        assert ref.send("after") == "after"

    (record,) = [r for r in caplog.records if r.levelname == "CRITICAL"]
    assert record.__dict__["path"] == "/app/part"
    assert runtime._services.crashes == 1


@pytest.mark.seeds(20)
@pytest.mark.parametrize("blocks", [True, False])
def test_a_message_loop_that_breaks_at_the_end_holds_nobody_up(
    simulation: Simulation,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    blocks: bool,
) -> None:
    """
    The end of the run waits for the loop, not for how it ends.
    """
    caplog.clear()
    go = simulation.threads.event()

    class Plain(Component):
        def default_handler(self, message: object) -> None:
            go.wait()

    class Blocks(Plain):
        def start(self) -> None:
            self.stopping.wait()

    part = Blocks(name="part") if blocks else Plain(name="part")
    with simulation.runtime() as runtime:
        ref = runtime.add(part)
        monkeypatch.setattr(Cell, "recovered", raising(ValueError("ours")))
        ref.post("breaks it")
        simulation.settle()
        ref._cell.stalled = "so the loop says that it has recovered"
        stopper = simulation.threads.start(ref.stop, "stopper")
        simulation.settle()
        go.set()
        stopper.join(1.0)

        assert ref.stage is Stage.STOPPED
        assert ref.report().hung is None
    assert runtime._services.crashes == 1


# ------------------------------------------------------------------ transitions


class Counting(SystemThreads):
    """Real threads; notes each that is started, and each transition."""

    def __init__(self) -> None:
        super().__init__()
        self.started: list[str] = []
        self.movers: list[tuple[int, bool]] = []

    def start(
        self, target: Callable[[], object], name: str, *, background: bool = False
    ) -> threading.Thread:
        self.started.append(name)
        return super().start(target, name, background=background)

    def fresh(self, job: Callable[[], object], *, new: bool = False) -> None:
        def noted() -> None:
            self.movers.append((threading.get_ident(), new))
            job()

        super().fresh(noted, new=new)

    @property
    def transitions(self) -> int:
        """How many threads were made for transitions."""
        return sum(name.startswith("kinesis:transition") for name in self.started)


@pytest.mark.parametrize("how", ["parked", "new"])
def test_every_transition_may_have_a_thread_made_for_it(how: str) -> None:
    """
    With ``transitions="new"`` none runs on a thread that has run another.
    """
    threads = Counting()
    options = {"transitions": how, "threads": threads}
    with Runtime(name="app", **options) as runtime:  # type: ignore[arg-type]  # by name
        ref = runtime.add(traced(start=waits))
        for _ in range(20):
            ref.restart()
        moves = len(threads.movers)

        if how == "new":
            assert moves == threads.transitions > 40
        else:
            assert threads.transitions < 10


def test_threads_made_for_one_transition_do_not_pile_up() -> None:
    """
    They end, but for a few that park.
    """
    with Runtime(name="app", transitions="new") as runtime:
        ref = runtime.add(traced(start=waits))
        for _ in range(100):
            ref.restart()
        parked = [t.name for t in threading.enumerate() if "transition" in t.name]

        assert len(parked) < 20


def test_after_a_hook_that_raised_the_transition_has_a_new_thread() -> None:
    """
    Whatever it did to its thread, the machine moves on one that nobody has used.
    """
    threads = Counting()
    part = traced(init=raising(ValueError()))
    with Runtime(name="app", threads=threads) as runtime:
        runtime.add(traced("good"))  # leaves a parked thread
        before = threads.transitions, len(threads.movers)
        with pytest.raises(KinesisError):
            runtime.add(part)

        raised = [new for _, new in threads.movers[before[1] :]]
        assert 1 == raised.count(True) <= threads.transitions - before[0]


class Watch(logging.Handler):
    """Notes each step of the machine that a thread with a used stack has made."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.used: set[threading.Thread] = set()  # idents are used again
        self.steps = 0
        self.wrong: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if " -> " in record.getMessage():
            self.steps += 1
            if threading.current_thread() in self.used:
                self.wrong.append(record.getMessage())

    def use(self, _: object) -> None:
        """Note that the calling thread runs code of users."""
        self.used.add(threading.current_thread())


class OneHandler(Component):
    """Has a handler, and no hook that could run at its end."""

    watch: ClassVar[Watch]

    def default_handler(self, message: object) -> None:
        self.watch.use(self)


class OneHook(OneHandler):
    """The same, and one at its beginning."""

    def init(self) -> None:
        self.watch.use(self)


@pytest.mark.parametrize("how", ["parked", "new"])
def test_no_thread_that_has_run_a_hook_moves_the_machine(
    caplog: pytest.LogCaptureFixture, how: Literal["parked", "new"]
) -> None:
    """
    Whatever a hook did to its thread, the next step is made on another.
    """
    caplog.set_level(logging.DEBUG, "kinesis")
    watch = Watch()
    log = logging.getLogger("kinesis")
    log.addHandler(watch)
    OneHandler.watch = watch
    all_hooks = traced(**dict.fromkeys(HOOKS, watch.use), handle=watch.use)
    try:
        with Runtime(name="app", transitions=how) as runtime:
            for part in (all_hooks, OneHook(name="one"), OneHandler(name="another")):
                ref = runtime.add(part)
                ref.send(1)
                ref.restart()
                ref.stop()
    finally:
        log.removeHandler(watch)

    assert watch.wrong == []
    assert watch.steps > 40


# ------------------------------------------------- ten thousand times the same


def deepness() -> int:
    """Return how many calls are on the stack of this thread."""
    frame, depth = sys._getframe(), 0
    while frame.f_back is not None:
        frame, depth = frame.f_back, depth + 1
    return depth


class Crashing(Component):
    """Starts, and fails at once, until it has done so often enough."""

    restart = OFTEN

    def start(self) -> None:
        note_run(self)
        self.ready()
        if len(DEPTHS) < RUNS[0]:
            raise ValueError("again")
        self.stopping.wait()


class Returning(Component):
    """Starts, and has finished at once, until it has done so often enough."""

    restart = Restart(when="always", backoff=NOW, limit=10**9, window=0)

    def start(self) -> None:
        note_run(self)
        if len(DEPTHS) >= RUNS[0]:
            self.stopping.wait()


RUNS = [0]
DEPTHS: list[int] = []
BLOCKS: list[int] = []


def note_run(component: Component) -> None:
    """Note how deep the stack is, and now and then how much memory is in use."""
    DEPTHS.append(deepness())
    if len(DEPTHS) % 1000 == 0:
        gc.collect()  # what nobody refers to any more is nothing that was kept
        BLOCKS.append(sys.getallocatedblocks())


def run_often(kind: type[Component], runs: int, threads: SystemThreads) -> int:
    """Have it run so often; return how many depths of the stack there were."""
    DEPTHS.clear()
    BLOCKS.clear()
    RUNS[0] = runs
    with Runtime(name="app", threads=threads) as runtime:
        ref = runtime.add(kind(name="again"))
        deadline = threads.monotonic() + 60
        while len(DEPTHS) < runs or ref.stage is not Stage.STARTED:
            assert threads.monotonic() < deadline, f"{len(DEPTHS)} runs only"
            threading.Event().wait(0.01)

        assert ref.report().restarts == runs - 1
    return len(set(DEPTHS))


class NoneFresh(SystemThreads):
    """A system that has no thread for any transition."""

    def fresh(self, job: Callable[[], object], *, new: bool = False) -> None:
        raise RuntimeError("can't start new thread")


@pytest.mark.parametrize("kind", [Crashing, Returning])
def test_moving_in_place_takes_no_deeper_stack_each_time(
    kind: type[Component], caplog: pytest.LogCaptureFixture
) -> None:
    """
    It only queues what is next, however often.
    """
    caplog.set_level("CRITICAL", "kinesis")
    assert run_often(kind, 1000, NoneFresh()) == 1


@pytest.mark.parametrize("kind", [Crashing, Returning])
def test_ten_thousand_restarts_take_no_deeper_stack_and_no_more_memory(
    kind: type[Component], caplog: pytest.LogCaptureFixture
) -> None:
    """
    The machine never recurses, and keeps nothing of a run that is over.
    """
    caplog.set_level("CRITICAL", "kinesis")  # caplog would keep every line

    with untraced():
        assert run_often(kind, 10_000, SystemThreads()) == 1
    per_run = (BLOCKS[9] - BLOCKS[2]) / 7000
    assert per_run < 0.5, BLOCKS


# ------------------------------------------------- a system that is out of threads


class Story(Component):
    """A day's work: a loop, messages, and a failure now and then."""

    restart = OFTEN
    stop_deadline = 1.0
    start_deadline = 2.0
    torn_down = 0
    begun = 0

    def init(self) -> None:
        type(self).begun += 1

    def start(self) -> None:
        self.stopping.wait()

    def stop(self) -> None:
        return

    def tear_down(self) -> None:
        type(self).torn_down += 1

    def default_handler(self, message: object) -> object:
        return message


class Refusing:
    """Lets some of the starts of simulated threads fail."""

    def __init__(
        self, threads: SimulatedThreads, refused: Callable[[int, str], bool]
    ) -> None:
        self._start = threads.start
        self._refused = refused
        self.count = 0
        self.refusals: list[str] = []

    def __call__(
        self, target: Callable[[], object], name: str, *, background: bool = False
    ) -> Thread:
        number, self.count = self.count, self.count + 1
        if self._refused(number, name):
            self.refusals.append(name)
            raise RuntimeError("can't start new thread")
        return self._start(target, name, background=background)


def live(
    simulation: Simulation,
    monkeypatch: pytest.MonkeyPatch,
    how: str,
    refused: Callable[[int, str], bool],
) -> Refusing:
    """Live a whole life while some threads are refused; all of it must end."""
    Story.begun = Story.torn_down = 0
    refusing = Refusing(simulation.threads, refused)
    with monkeypatch.context() as patch:
        patch.setattr(simulation.threads, "start", refusing)
        runtime = simulation.runtime(shutdown_deadline=20, transitions=how)
        steps: list[Callable[[], object]] = [
            runtime.start,
            lambda: runtime.add(Story(name="story")),
            lambda: runtime["story"].send("hello", timeout=3),
            lambda: runtime["story"].restart(timeout=20),
            lambda: runtime["story"].post("more"),
            lambda: runtime.add(
                Container(name="box", components=[Story(name="inner")])
            ),
            lambda: runtime["box/inner"].send(1, timeout=3),
            lambda: runtime["story"].stop(timeout=20),
            lambda: runtime["story"].start(timeout=20),
            lambda: runtime.remove("story", timeout=20),
            lambda: runtime.add(traced(init=raising(ValueError()))),
        ]
        for step in steps:
            try:
                step()
            except (KinesisError, RuntimeError):
                continue  # that it failed is right; that it never ends would not be
        report = runtime.stop(timeout=40)

    assert report.late == ()
    assert Story.begun == Story.torn_down
    assert runtime._services.crashes == 0 or "timers" in str(refusing.refusals)
    return refusing


def is_number(wanted: int, number: int, name: str) -> bool:
    """Whether it is the start with that number."""
    return number == wanted


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("how", ["parked", "new"])
def test_no_thread_that_is_refused_keeps_the_machine_from_moving(
    monkeypatch: pytest.MonkeyPatch, seed: int, how: str
) -> None:
    """
    Each start of a thread in a life fails once: dedicated, second, transition, all.
    """
    with untraced(), keep_carriers():
        with simulate(seed) as simulation:
            total = live(simulation, monkeypatch, how, lambda number, name: False).count

        assert total > 10
        for refused in range(total):
            with simulate(seed) as simulation:
                live(simulation, monkeypatch, how, partial(is_number, refused))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("first", range(0, 24, 3))
@pytest.mark.parametrize("count", [3, 1000])
def test_a_system_without_threads_for_long_keeps_nothing_from_ending(
    monkeypatch: pytest.MonkeyPatch, seed: int, first: int, count: int
) -> None:
    """
    From some moment on, for a while or for ever, no thread is to be had.
    """
    with simulate(seed) as simulation:
        live(
            simulation,
            monkeypatch,
            "parked",
            lambda number, _: first <= number < first + count,
        )


@pytest.mark.parametrize("seed", range(3))
def test_without_any_thread_for_transitions_the_machine_moves_in_place(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, seed: int
) -> None:
    """
    Nothing is lost or nested: it moves on the thread that it would have left.
    """
    with simulate(seed) as simulation:
        live(simulation, monkeypatch, "new", lambda _, name: "transition" in name)

    assert any("ran in place" in record.getMessage() for record in caplog.records)
