"""A runtime inside another program: start, stop, join, and what they leave behind."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest

from kinesis import (
    Component,
    Container,
    Message,
    Ref,
    Runtime,
    Stage,
    handles,
    private,
)
from kinesis.concurrency import SystemThreads
from kinesis.errors import (
    ActivationError,
    ComponentStoppedError,
    ContainerStoppingError,
    DeclarationError,
    StageError,
    WaitTimeoutError,
    WouldDeadlockError,
)
from tests.runtime.parts import (
    PATIENCE,
    Brief,
    Hang,
    Loop,
    kinesis_threads,
    stubborn,
)

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)


def handlers() -> list[Any]:
    """Return the handlers of the signals that a runtime may want."""
    return [signal.getsignal(number) for number in SIGNALS]


def on_thread(function: Callable[[], object]) -> object:
    """Return what *function* returns on a thread that is not the main one."""
    result: list[object] = []
    thread = threading.Thread(target=lambda: result.append(function()))
    thread.start()
    thread.join(PATIENCE)
    assert result, "it did not return"
    return result[0]


def refused(*_: object) -> None:
    """Fail a hook."""
    raise OSError("no such device")


# -- start, stop, join --------------------------------------------------------------


def test_a_with_block_starts_and_stops_everything() -> None:
    """
    Inside all is STARTED; after it nothing of the runtime's is left.
    """
    nested = Container(name="box", components=[Loop(name="inner")])
    with Runtime(name="app", components=[Loop(name="first"), nested]) as runtime:
        refs = [*runtime.root.walk()]
        inside = [str(ref.stage) for ref in refs]

    assert [ref.path for ref in refs] == ["/app/first", "/app/box", "/app/box/inner"]
    assert inside == ["STARTED"] * 3
    assert [ref.stage for ref in refs] == [Stage.TORN_DOWN] * 3
    assert kinesis_threads() == []
    assert runtime.exit_code == 0


def test_start_stop_and_join_are_idempotent() -> None:
    """
    Each may be called again, by any thread, and says the same.
    """
    runtime = Runtime(name="app", components=[Loop(name="loop")])

    assert runtime.start() is runtime.start()
    told = runtime.stop()
    assert told == runtime.stop()
    assert [path for path, _ in told.stopped] == ["/app/loop", "/app"]
    assert runtime.join() == runtime.join(0) == on_thread(runtime.join) == 0


def test_join_waits_for_the_stop_of_somebody_else() -> None:
    """
    It returns the exit code; before that, only a timeout ends it.
    """
    runtime = Runtime(name="app", components=[Loop(name="loop")]).start()
    with pytest.raises(WaitTimeoutError, match="the end of '/app'"):
        runtime.join(0.01)
    stopper = threading.Thread(target=runtime.stop)
    stopper.start()

    assert runtime.join(PATIENCE) == 0
    stopper.join(PATIENCE)
    assert not stopper.is_alive()


def test_threads_are_joined_in_the_order_of_activation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    What came up first is joined first, containers' supervisors included.
    """
    joined: list[str] = []
    join = threading.Thread.join

    def note(thread: threading.Thread, timeout: float | None = None) -> None:
        joined.append(thread.name)
        join(thread, timeout)

    box = Container(name="box", components=[Loop(name="one"), Loop(name="two")])
    runtime = Runtime(name="app", components=[Loop(name="z"), box, Loop(name="a")])
    runtime.start()
    monkeypatch.setattr(threading.Thread, "join", note)
    runtime.stop()
    monkeypatch.undo()
    paths = [name.removeprefix("kinesis:") for name in joined if ":/app" in name]

    expected = ["/app/z", "/app/box/one", "/app/box/two", "/app/box", "/app/a", "/app"]
    assert expected == paths


def test_a_second_stop_waits_for_the_end_of_the_first() -> None:
    """
    Both return the same report.
    """
    told: list[object] = []
    with Hang() as hang:
        runtime = Runtime(name="app", components=[stubborn("stop", hang)]).start()
        stoppers = [
            threading.Thread(target=lambda: told.append(runtime.stop()))
            for _ in range(2)
        ]
        stoppers[0].start()
        hang.wait_entered()
        stoppers[1].start()
        runtime._conductor.stop("once more")
    for stopper in stoppers:
        stopper.join(PATIENCE)

    assert len(told) == 2
    assert told[0] is told[1]


def test_whatever_goes_wrong_at_the_end_there_is_an_end(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """
    A mistake of the library's own is logged, and nobody waits for ever.
    """
    runtime = Runtime(name="app", components=[Loop(name="loop")]).start()
    monkeypatch.setattr("kinesis.reports.late_ones", refused)
    runtime.stop(PATIENCE)

    assert runtime.exit_code == 1
    assert "unhandled in a thread of kinesis" in caplog.messages


def test_one_that_has_been_stopped_does_not_start_again() -> None:
    """
    The error says what to do; the same after a stop before any start.
    """
    ended = Runtime(name="app").start()
    ended.stop()
    never = Runtime(name="app", components=[Loop(name="loop")])
    told = never.stop()

    assert told.stopped == told.late == ()
    for runtime in (ended, never):
        for begin in (runtime.start, runtime.run):
            with pytest.raises(StageError, match="Make a new Runtime"):
                begin()
        with pytest.raises(ContainerStoppingError):
            runtime.add(Loop(name="more"))
        assert runtime.join() == 0
    assert kinesis_threads() == []


def test_who_waits_for_what_never_began_is_told_so() -> None:
    """
    A stop before the start is an end, too: nobody waits for ever.
    """
    runtime = Runtime(name="app")
    ref = runtime.add(Loop(name="loop"))
    waiting = threading.Thread(target=runtime.stop)
    waiting.start()
    with pytest.raises(ComponentStoppedError, match="/app/loop"):
        ref.wait_for(Stage.STARTED, PATIENCE)
    waiting.join(PATIENCE)


def test_who_waits_for_what_never_began_is_told_at_the_end() -> None:
    """
    Also in a container that never began, when one before it did not start.
    """
    later = Container(name="later", components=[Loop(name="inner")])
    with Hang() as hang:

        def fail() -> None:
            hang()
            raise OSError("no such device")

        runtime = Runtime(components=[stubborn("init", fail), later])
        refs = [runtime["later"], runtime["later/inner"]]
        told: list[str] = []

        def wait(ref: Ref[Any]) -> None:
            with pytest.raises(ComponentStoppedError):
                ref.wait_for(Stage.STARTED, PATIENCE)
            told.append(ref.path)

        waiting = [threading.Thread(target=wait, args=(ref,)) for ref in refs]
        starting = threading.Thread(target=runtime.run)
        for thread in (*waiting, starting):
            thread.start()
        hang.wait_entered()
    for thread in (*waiting, starting):
        thread.join(PATIENCE)

    assert sorted(told) == ["/app/later", "/app/later/inner"]
    for ref in refs:
        with pytest.raises(ComponentStoppedError):
            ref.wait_for(Stage.STARTED, 0)


@pytest.mark.parametrize("seconds", [None, "30", float("nan"), -5, 10**400])
def test_a_deadline_that_is_none_is_refused_before_anything_runs(seconds: Any) -> None:
    """
    Not at the stop, which it would cut short. The components are free still.
    """
    loop = Loop(name="loop")
    with pytest.raises(DeclarationError, match="shutdown_deadline=.*number of sec"):
        Runtime(components=[loop], shutdown_deadline=seconds)
    with pytest.raises(DeclarationError, match="one of 'parked', 'new'"):
        Runtime(components=[loop], transitions=seconds)

    with Runtime(components=[loop], shutdown_deadline=float("inf")) as runtime:
        assert runtime["loop"].stage is Stage.STARTED


def test_a_start_that_fails_leaves_nothing_behind() -> None:
    """
    The hook's exception is the cause; all have stopped, every thread is joined.
    """
    ran: list[str] = []
    first = stubborn("tear_down", lambda: ran.append("first"), "first")
    runtime = Runtime(
        name="app",
        components=[first, stubborn("init", refused, "broken"), Loop(name="last")],
    )
    with pytest.raises(ActivationError, match=r"/app/broken.*init") as caught:
        runtime.start()

    assert isinstance(caught.value.__cause__, OSError)
    assert kinesis_threads() == []
    assert ran == ["first"]
    assert runtime["first"].stage is runtime["broken"].stage is Stage.TORN_DOWN
    assert runtime.join(0) == runtime.exit_code == 1
    with pytest.raises(ActivationError):  # `with` says the same, and needs no exit
        with Runtime(name="app", components=[stubborn("start", refused)]):
            pytest.fail("the block must not run")
    assert kinesis_threads() == []


def test_a_start_that_takes_too_long_goes_on() -> None:
    """
    The timeout is the caller's; the runtime comes up all the same.
    """
    with Hang() as hang:
        runtime = Runtime(name="app", components=[stubborn("init", hang)])
        with pytest.raises(WaitTimeoutError, match="the start of '/app'"):
            runtime.start(0.01)
        hang.over.set()
        runtime.start(PATIENCE)

        assert runtime["stubborn"].stage is Stage.STARTED
        runtime.stop()


def test_ctrl_c_in_a_with_statement_stops_what_has_begun(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    The block never runs, so its end cannot stop anything: the beginning does.
    """
    with Hang() as hang:
        runtime = Runtime(name="app", components=[stubborn("init", hang)])
        result = runtime._conductor.started.result

        def interrupted(timeout: float | None = None) -> None:
            hang.wait_entered()
            hang.over.set()
            monkeypatch.undo()
            assert result is not None
            raise KeyboardInterrupt

        started = type(runtime._conductor.started)
        monkeypatch.setattr(started, "result", lambda *_: interrupted())
        with pytest.raises(KeyboardInterrupt):
            runtime.__enter__()

    assert kinesis_threads() == []
    assert runtime.join(0) == 0


@pytest.mark.seeds(60)
def test_start_and_stop_at_once_agree(simulation: Any) -> None:
    """
    Either it never began, or it begins and is stopped: in any case it has ended.
    """
    runtime = Runtime(
        name="app", components=[Loop(name="loop")], threads=simulation.threads
    )
    outcomes: list[object] = []

    def begin() -> None:
        try:
            outcomes.append(runtime.start())
        except (StageError, ComponentStoppedError) as error:
            outcomes.append(error)

    starter = simulation.threads.start(begin, "starter")
    told = runtime.stop()
    starter.join()
    ran = isinstance(outcomes[0], Runtime)

    assert told.late == ()
    assert not ran or runtime["loop"].stage is Stage.TORN_DOWN
    assert runtime.join(0) == 0


def test_without_a_control_thread_it_does_not_start() -> None:
    """
    The system's refusal reaches who starts it; nothing has begun.
    """

    class Refusing(SystemThreads):
        def start(self, *_: object, **__: object) -> threading.Thread:
            raise RuntimeError("can't start new thread")

    runtime = Runtime(name="app", threads=Refusing())
    with pytest.raises(RuntimeError, match="can't start new thread"):
        runtime.start()
    assert runtime.stop().stopped == ()


def test_without_any_other_thread_it_fails_to_start() -> None:
    """
    The cause is named, and nobody waits for ever.
    """

    class Refusing(SystemThreads):
        def start(
            self, target: Callable[[], object], name: str, *, background: bool = False
        ) -> threading.Thread:
            if name.endswith(":control"):
                return super().start(target, name, background=background)
            raise RuntimeError("can't start new thread")

    runtime = Runtime(name="app", components=[Loop(name="loop")], threads=Refusing())
    with pytest.raises(ActivationError, match="can't start new thread"):
        runtime.start(PATIENCE)
    assert runtime.join(PATIENCE) == 1


# -- from inside --------------------------------------------------------------------


class Stop(Message[None]):
    """Stop the program."""


class Stopper(Component):
    """Stops its runtime when told to, and notes what came back."""

    runtime: Runtime = private()
    told: list[object] = private(factory=list)

    @handles(Stop)
    def stop_all(self, message: Stop) -> None:
        """Stop the program."""
        for wait in (self.runtime.join, self.runtime.start):
            try:
                self.told.append(wait())
            except WouldDeadlockError as error:
                self.told.append(error)
        self.told.append(self.runtime.stop())


def stopper(runtime: Runtime) -> Stopper:
    """Return a component that may stop *runtime*."""
    made = Stopper(name="stopper")
    made.runtime = runtime
    return made


def test_a_component_may_stop_its_runtime() -> None:
    """
    It does not wait for itself; the end comes, and the code is 0.
    """
    runtime = Runtime(name="app", components=[Loop(name="loop")]).start()
    inside = stopper(runtime)
    runtime.add(inside).post(Stop())

    assert runtime.join(PATIENCE) == 0
    refusal, again, told = inside.told
    assert isinstance(refusal, WouldDeadlockError)
    assert refusal.chain == ("/app/stopper", "/app")
    assert again is runtime
    assert runtime.stop().late == ()
    assert kinesis_threads() == []


def test_a_component_cannot_wait_for_its_runtime_to_start() -> None:
    """
    The start waits for the component: it is refused, and not after a deadline.
    """
    runtime = Runtime(name="app")
    runtime.add(stubborn("init", runtime.start))
    with pytest.raises(ActivationError, match="cannot wait for its own runtime"):
        runtime.start(PATIENCE)


def ways_to_wait(me: Component) -> list[Callable[[], object]]:
    """Return waits for what comes later, for oneself and for what one is in."""
    # Not `me.ref.start`: whoever asks for a run of its own does not wait for it.
    later = me.find("/app/later")
    inner, box = me.find("/app/later/inner"), me.find("/app/box")
    return [
        *(partial(ref.wait_for, Stage.STARTED) for ref in (later, inner, box, me.ref)),
        *(ref.start for ref in (later, inner)),
    ]


def test_a_hook_cannot_wait_for_what_comes_up_after_it() -> None:
    """
    It is refused at once, with the chain, and not after the start deadline.
    """
    chains: list[tuple[str, ...]] = []

    def wait(me: Component) -> None:
        for way in ways_to_wait(me):
            with pytest.raises(WouldDeadlockError, match="after ready") as refused:
                way()
            chains.append(refused.value.chain)

    first = stubborn("init", lambda: wait(first), "first")
    later = Container(name="later", components=[Loop(name="inner")])
    with Runtime(components=[Container(name="box", components=[first]), later]):
        pass

    assert chains[0] == ("/app/box/first", "/app/later", "/app/box", "/app/box/first")
    assert {(chain[0], chain[-1]) for chain in chains} == {("/app/box/first",) * 2}
    assert len(chains) == 6


def test_a_hook_may_ask_for_a_run_of_its_own_component() -> None:
    """
    It does not wait for that, so there is nothing to refuse.
    """

    def ask() -> None:
        first.ref.start()
        first.ref.restart()

    first = stubborn("init", ask, "first")
    with Runtime(components=[first]) as runtime:
        runtime["first"].wait_for(Stage.STARTED, PATIENCE)


def test_a_start_that_is_ready_may_wait_for_what_comes_up_after_it() -> None:
    """
    Then that has its turn.
    """

    def wait() -> None:
        first.ready()
        first.ref.wait_for(Stage.STARTED, PATIENCE)
        first.find("later").wait_for(Stage.STARTED, PATIENCE)

    first = stubborn("start", wait, "first")
    with Runtime(components=[first, Loop(name="later")]) as runtime:
        assert runtime["later"].stage is Stage.STARTED


def test_a_component_may_stop_its_runtime_while_that_starts() -> None:
    """
    What has come up is stopped again; the rest never begins.
    """
    runtime = Runtime(name="app", components=[Loop(name="first")])
    part = stubborn("init", lambda: (runtime.stop(), part.stopping.wait()))
    runtime.add(part)
    last = runtime.add(Loop(name="last"))
    with pytest.raises(ComponentStoppedError, match="before it had started"):
        runtime.start(PATIENCE)

    assert last.stage is Stage.SUBMITTED
    assert runtime["first"].stage is Stage.TORN_DOWN
    assert runtime.join(0) == 0


# -- several ------------------------------------------------------------------------


def test_runtimes_one_after_another_and_side_by_side() -> None:
    """
    The end of one leaves the other alone, whatever they are called.
    """
    for _ in range(2):
        with Runtime(name="app", components=[Loop(name="loop")]):
            pass
    first = Runtime(name="app", components=[Loop(name="loop")]).start()
    with Runtime(name="app", components=[Loop(name="loop")]) as second:
        first.stop()

        assert first["loop"].stage is Stage.TORN_DOWN
        assert second["loop"].stage is Stage.STARTED
        assert first["loop"] != second["loop"]


def test_a_component_may_carry_a_runtime_of_its_own() -> None:
    """
    To that one it is somebody outside: it waits for its end, and may send to it.
    """
    seen: list[object] = []

    class Answering(Component):
        def default_handler(self, message: object) -> object:
            return message

    class Carrier(Component):
        def init(self) -> None:
            with Runtime(name="app", components=[Answering(name="carrier")]) as inner:
                seen.append(inner["carrier"].send("hello", PATIENCE))
                seen.append(inner.add(Loop(name="more")).path)
            seen.append([ref.stage for ref in inner.root.walk()])

    with Runtime(name="app", components=[Carrier(name="carrier")]):
        pass

    assert seen == ["hello", "/app/more", [Stage.TORN_DOWN, Stage.TORN_DOWN]]


def test_a_hundred_runtimes_on_another_thread_leave_no_trace() -> None:
    """
    The host's signal handlers are as before, and no thread is left.
    """
    before, threads = handlers(), threading.active_count()

    def hundred() -> int:
        for _ in range(100):
            with Runtime(name="app", components=[Loop(name="a"), Brief(name="b")]):
                pass
        return 100

    assert on_thread(hundred) == 100
    assert before == handlers()
    assert threads == threading.active_count()


# -- run ----------------------------------------------------------------------------


@contextmanager
def levels(caplog: pytest.LogCaptureFixture) -> Iterator[list[str]]:
    """Yield the messages of the library, debug and up."""
    messages: list[str] = []
    with caplog.at_level(logging.DEBUG, "kinesis"):
        yield messages
        messages += [record.getMessage() for record in caplog.records]


def test_run_puts_the_old_handlers_back() -> None:
    """
    Also those that were not the usual ones.
    """
    usual = handlers()
    mine = [lambda *_: None, lambda *_: None, signal.SIG_IGN, signal.SIG_DFL]
    try:
        for number, handler in zip(SIGNALS, mine, strict=True):
            signal.signal(number, handler)
        seen: list[Any] = []
        part = stubborn("init", lambda: seen.append(handlers()))
        runtime = Runtime(name="app", components=[part])
        stopping = threading.Thread(target=lambda: _stop_once_started(runtime))
        stopping.start()
        code = runtime.run()
        stopping.join(PATIENCE)
        after = handlers()
    finally:
        for number, handler in zip(SIGNALS, usual, strict=True):
            signal.signal(number, handler)

    assert code == 0
    assert after == mine
    assert len({id(handler) for handler in seen[0]} & {id(each) for each in mine}) == 0


def _stop_once_started(runtime: Runtime) -> None:
    """Stop *runtime* from outside, once it is up."""
    runtime.root.wait_for(Stage.STARTED, PATIENCE)
    runtime.stop()


def test_elsewhere_than_in_the_main_thread_no_handler_is_installed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """
    Neither by run() nor by start(), and both say so at debug level.
    """
    before = handlers()
    seen: list[Any] = []
    with levels(caplog) as messages:
        with Runtime(
            name="host", components=[stubborn("init", lambda: seen.append(handlers()))]
        ):
            pass
        finished = Runtime(name="app", components=[Brief(name="brief")])

        assert on_thread(finished.run) == 0
    assert [before] == seen
    assert before == handlers()
    assert "embedded: no signal handlers" in messages
    assert "not the main thread: no signals" in messages


def test_run_ends_once_all_have_finished_by_themselves() -> None:
    """
    However deep they are, and those added later; the code is 0.
    """

    class Adds(Component):
        def start(self) -> None:
            self.container.add(Container(name="late", components=[Brief(name="c")]))

    box = Container(name="box", components=[Brief(name="a"), Brief(name="b")])
    deep = Container(name="deep", components=[box, Brief(name="d")])
    runtime = Runtime(name="app", components=[Brief(name="first"), deep])
    runtime.add(Adds(name="adds"))

    assert runtime.run() == 0
    assert runtime["late/c"].stage is Stage.TORN_DOWN


@pytest.mark.seeds(60)
def test_run_ends_whenever_the_last_one_finishes(simulation: Any) -> None:
    """
    A child may finish before its container is known to be up.
    """
    box = Container(name="box", components=[Brief(name="a")])
    outer = Container(name="outer", components=[box])
    runtime = Runtime(name="app", components=[outer], threads=simulation.threads)

    assert runtime.run() == 0


def test_a_runtime_that_was_started_may_be_run() -> None:
    """
    To see first that it comes up; what finished before counts.
    """
    runtime = Runtime(name="app", components=[Brief(name="brief")])
    ref = runtime.start()["brief"]
    ref.wait_stopped(PATIENCE)

    assert runtime.run() == 0


def test_a_started_runtime_does_not_end_when_all_have_finished() -> None:
    """
    Its host decides: it may add more.
    """
    with Runtime(name="app", components=[Brief(name="brief")]) as runtime:
        runtime["brief"].wait_stopped(PATIENCE)
        added = runtime.add(Loop(name="loop"))

        assert added.stage is Stage.STARTED
