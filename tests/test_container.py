"""Containers: in what order, under which names, whatever the threads do."""

from __future__ import annotations

import contextlib
import random
import threading
from collections.abc import Callable
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kinesis import Component, Container, Ref, Restart, Runtime, Stage, handles
from kinesis.component import NAME_CHARACTERS
from kinesis.concurrency import Event
from kinesis.container import ContainerRef
from kinesis.errors import (
    ActivationError,
    ComponentNotFoundError,
    ContainerStoppingError,
    DeclarationError,
    DuplicateNameError,
    InvalidNameError,
    KinesisError,
    StageError,
    WaitTimeoutError,
)
from kinesis.futures import Future, OutsideFuture
from kinesis.testing import Simulation
from tests.lifecycle.parts import Traced, raising, traced, waits


class Idle(Component):
    """Handles messages, and does nothing else."""

    def default_handler(self, message: object) -> object:
        return message


def idle(*names: str) -> list[Component]:
    """Return a component of each name."""
    return [Idle(name=name) for name in names]


def names(container: ContainerRef[Container] | Runtime) -> list[str]:
    """Return the names of the children, in activation order."""
    return [ref.name for ref in container]


# ------------------------------------------------------------ one after another


@pytest.mark.seeds(60, step_seconds=0.001)
def test_components_come_up_one_after_another_whoever_adds_them(
    simulation: Simulation,
) -> None:
    """
    Never two at a time, and in the order in which they were added.
    """
    coming: list[str] = []
    came: list[str] = []

    def begin(part: Traced) -> None:
        assert coming == []
        coming.append(part.name)

    def end(part: Traced) -> None:
        simulation.sleep(0.003)
        came.append(coming.pop())

    with simulation.runtime() as runtime:

        def add(prefix: str) -> None:
            for number in range(3):
                part = traced(f"{prefix}{number}", pre_init=begin, start=end)
                assert runtime.add(part).stage is Stage.STARTED

        adders = [simulation.threads.start(partial(add, name), name) for name in "abcd"]
        for adder in adders:
            adder.join()

        assert names(runtime) == came
        for prefix in "abcd":
            own = [name for name in came if name[0] == prefix]
            assert own == [f"{prefix}{number}" for number in range(3)]


@pytest.mark.seeds(30)
def test_adds_that_do_not_wait_keep_their_order(simulation: Simulation) -> None:
    """
    The futures are done in the order in which they were asked for.
    """
    before: list[tuple[bool, ...]] = []
    with simulation.runtime() as runtime:
        futures: list[Future[Ref[Component]]] = [
            runtime.add_nowait(part) for part in idle("c", "a", "b")
        ]
        for number, future in enumerate(futures):
            earlier = futures[:number]
            future.add_done_callback(
                lambda _, earlier=earlier: before.append(
                    tuple(each.done() for each in earlier)
                )
            )
        for future in futures:
            future.result(10)
        simulation.settle()

        assert sorted(before) == [(), (True,), (True, True)]
        assert names(runtime) == ["c", "a", "b"]


@pytest.mark.seeds(20)
def test_a_callback_of_an_add_that_blocks_holds_nobody_up(
    simulation: Simulation,
) -> None:
    """
    It runs on a thread that has nothing else to do.
    """
    begin, go = simulation.threads.event(), simulation.threads.event()
    called: list[str] = []

    def block(done: Future[Ref[Traced]]) -> None:
        called.append(done.result(0).path)
        go.wait()

    with simulation.runtime() as runtime:
        future = runtime.add_nowait(traced("one", init=lambda _: begin.wait()))
        future.add_done_callback(block)
        begin.set()
        other = runtime.add(Idle(name="other"))
        other.restart(timeout=1.0)
        simulation.settle()
        go.set()

    assert called == ["/app/one"]


def test_a_callback_is_called_in_place_if_the_system_has_no_thread_for_it(
    simulation: Simulation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Late is better than never.
    """
    future: OutsideFuture[int] = OutsideFuture(simulation.threads)
    called: list[int] = []
    future.add_done_callback(lambda done: called.append(done.result(0)))

    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(simulation.threads, "fresh", refuse)
    future.set_result(7)

    assert called == [7]


def test_a_failed_add_is_no_childs_affair_but_its_own(simulation: Simulation) -> None:
    """
    Who adds it learns why; the next one comes up; its name is free again.
    """
    with simulation.runtime() as runtime:
        failing = runtime.add_nowait(traced("part", init=raising(ValueError("no"))))
        other = runtime.add_nowait(traced("other"))

        with pytest.raises(ActivationError, match="init failed in INITIALIZING"):
            failing.result(10)
        assert other.result(10).stage is Stage.STARTED
        assert names(runtime) == ["other"]
        assert runtime.add(traced("part")).stage is Stage.STARTED


def test_an_add_whose_own_thread_is_refused_asks_for_another(
    simulation: Simulation,
) -> None:
    """
    The first thread would have brought it up itself; the second one is made for it.
    """
    with simulation.runtime() as runtime:
        simulation.threads.refuse(1)

        assert runtime.add(traced()).stage is Stage.STARTED


@pytest.mark.seeds(100)
def test_of_those_who_add_at_once_nobody_leaves_a_thread_without_a_component(
    simulation: Simulation,
) -> None:
    """
    Each brings a thread along; those of the refused, and of whom another one was
    faster, end at once.
    """
    threads = simulation.threads
    outcomes: list[str] = []

    def add(name: str) -> None:
        try:
            runtime.add(Idle(name=name))
        except DuplicateNameError:
            outcomes.append("taken")
        else:
            outcomes.append("started")

    with simulation.runtime() as runtime:
        adders = [
            threads.start(partial(add, name), "adder") for name in ("a", "b", "b", "c")
        ]
        for adder in adders:
            adder.join()
        threads.settle()
        own = sorted(name for name in threads.names().values() if "/app/" in name)

    assert sorted(outcomes) == ["started", "started", "started", "taken"]
    assert own == ["kinesis:/app/a", "kinesis:/app/b", "kinesis:/app/c"]


@pytest.mark.seeds(400)
def test_an_add_in_the_last_moments_makes_nobody_late(simulation: Simulation) -> None:
    """
    The thread that it brought along has run no code, and ends by itself.
    """
    runtime = simulation.runtime().start()

    def add() -> None:
        with contextlib.suppress(KinesisError):
            runtime.add(Idle(name="part"))

    adder = simulation.threads.start(add, "adder")
    assert runtime.stop(timeout=60).late == ()
    adder.join()


def test_an_add_that_takes_too_long_goes_on(simulation: Simulation) -> None:
    """
    The timeout is that of the wait.
    """
    with simulation.runtime() as runtime:
        with pytest.raises(WaitTimeoutError, match="'/app/part' did not come within"):
            runtime.add(traced(init=lambda _: simulation.sleep(5)), timeout=1)
        simulation.sleep(5)

        assert runtime["part"].stage is Stage.STARTED


# ------------------------------------------------- adds from inside, no deadlock


@pytest.mark.seeds(40)
@pytest.mark.parametrize(
    "hook", ["pre_init", "init", "post_init", "pre_start", "start"]
)
def test_a_component_may_add_siblings_while_it_comes_up(
    simulation: Simulation, hook: str
) -> None:
    """
    They come up inside its own activation, so before it, and outlive it.
    """

    def add_two(part: Traced) -> None:
        for name in ("one", "two"):
            assert part.container.add(Idle(name=name)).stage is Stage.STARTED

    with simulation.runtime() as runtime:
        later = runtime.add_nowait(traced("first"))
        adder = runtime.add_nowait(traced("adder", **{hook: add_two}))
        last = runtime.add_nowait(Idle(name="last"))
        for future in (later, adder, last):
            future.result(60)

        assert names(runtime) == ["first", "one", "two", "adder", "last"]
        runtime.remove("adder")
        assert names(runtime) == ["first", "one", "two", "last"]


@pytest.mark.seeds(20)
def test_what_a_failing_component_added_stays(simulation: Simulation) -> None:
    """
    A sibling is nobody's child but the container's.
    """

    def add_and_fail(part: Traced) -> None:
        part.container.add(Idle(name="kept"))
        raise ValueError

    with simulation.runtime() as runtime:
        with pytest.raises(ActivationError):
            runtime.add(traced(init=add_and_fail))

        assert names(runtime) == ["kept"]


@pytest.mark.seeds(20)
def test_adds_may_nest_as_deep_as_they_like(simulation: Simulation) -> None:
    """
    Each adds the next from its own `init`; the innermost is up first.
    """

    def add_next(number: int, part: Traced) -> None:
        if number:
            part.container.add(
                traced(f"n{number - 1}", init=partial(add_next, number - 1))
            )

    with simulation.runtime() as runtime:
        runtime.add(traced("n12", init=partial(add_next, 12)))

        assert names(runtime) == [f"n{number}" for number in range(13)]


@pytest.mark.seeds(40)
def test_a_component_may_add_siblings_from_a_handler_or_its_loop(
    simulation: Simulation,
) -> None:
    """
    Also while another one, which waits for that handler, comes up.
    """

    def add_one(part: Traced) -> None:
        part.container.add(Idle(name=f"by-{part.name}"))

    def ask(part: Traced) -> None:
        part.find("handler").send("add one", timeout=50)

    def loop(part: Traced) -> None:
        part.ready()
        add_one(part)
        part.stopping.wait()

    with simulation.runtime() as runtime:
        runtime.add(traced("handler", handle=add_one))
        runtime.add(traced("asker", init=ask))
        runtime.add(traced("looper", start=loop))
        simulation.settle()

        assert sorted(names(runtime)) == [
            "asker",
            "by-handler",
            "by-looper",
            "handler",
            "looper",
        ]


@pytest.mark.seeds(100)
@pytest.mark.parametrize("hook", ["init", "start"])
def test_adds_that_cross_between_two_containers_do_not_deadlock(
    simulation: Simulation, hook: str
) -> None:
    """
    Two that come up at once, each adding to where the other one comes up.
    """

    def add_to(there: str, part: Traced) -> None:
        part.find(there).add(Idle(name=f"by-{part.name}"))

    boxes = [Container(name="left"), Container(name="right")]
    with simulation.runtime(components=boxes) as runtime:
        adds = [
            runtime[here].add_nowait(
                traced(f"from-{here}", **{hook: partial(add_to, f"/app/{there}")})
            )
            for here, there in (("left", "right"), ("right", "left"))
        ]
        for add in adds:
            add.result(100)

        assert sorted(ref.path for ref in runtime.root.walk()) == [
            "/app/left",
            "/app/left/by-from-right",
            "/app/left/from-left",
            "/app/right",
            "/app/right/by-from-left",
            "/app/right/from-right",
        ]


class Adders:
    """Makes components that add others, by chance, from their hooks and handlers."""

    boxes = ("/app", "/app/left", "/app/right")

    def __init__(self, runtime: Runtime, seed: int) -> None:
        self.runtime = runtime
        self.chance = random.Random(seed)
        self.made = 0

    def part(self, depth: int) -> Traced:
        """Return a component that adds others, which add others, so many deep."""
        self.made += 1
        at: dict[str, Callable[[Traced], object]] = {}
        for hook in ("init", "pre_start", "start", "handle"):
            if depth and self.chance.random() < 0.4:
                where = self.chance.choice(self.boxes)
                at[hook] = partial(self.add_one, depth - 1, where)
        part = traced(f"p{self.made}", **at)
        part.restart = Restart(limit=0)
        return part

    def add_one(self, depth: int, where: str, _: Traced) -> None:
        """Add one, waiting for it or not; perhaps have it add another one."""
        container = self.runtime[where]
        part = self.part(depth)
        if self.chance.random() < 0.2:
            container.add_nowait(part)
            return
        ref = container.add(part, timeout=1000)
        if self.chance.random() < 0.5:
            ref.post("add another")

    def add_from_outside(self) -> None:
        """Add two, one after the other, and perhaps restart them."""
        for _ in range(2):
            container = self.runtime[self.chance.choice(self.boxes)]
            ref = container.add(self.part(3), timeout=1000)
            if self.chance.random() < 0.3:
                ref.restart(timeout=1000)


@pytest.mark.seeds(30)
def test_adds_from_anywhere_to_anywhere_all_come_to_an_end(
    simulation: Simulation,
) -> None:
    """
    Components that add to any container from any hook, and restart meanwhile.
    """
    parts = [Container(name="left"), Container(name="right")]
    with simulation.runtime(components=parts) as runtime:
        adders = Adders(runtime, simulation.seed)
        threads = [
            simulation.threads.start(adders.add_from_outside, f"outside {number}")
            for number in range(3)
        ]
        for thread in threads:
            thread.join()
        simulation.settle()

        refs = list(runtime.root.walk())
        assert {ref.stage for ref in refs} == {Stage.STARTED}
        assert len(refs) == adders.made + 2
        assert simulation.now < 100
        assert len(runtime._services.waits) == 0


@pytest.mark.seeds(30)
@pytest.mark.parametrize("hook", ["init", "start"])
def test_adds_that_do_not_wait_never_nest(simulation: Simulation, hook: str) -> None:
    """
    They queue, and come up after the one that asked.
    """

    def ask(part: Traced) -> None:
        part.container.add_nowait(Idle(name="later"))
        simulation.sleep(1)

    with simulation.runtime() as runtime:
        runtime.add(traced("asker", **{hook: ask}))
        runtime["later"].wait_for(Stage.STARTED, 10)

        assert names(runtime) == ["asker", "later"]


# --------------------------------------------------------------- in its stop


@pytest.mark.seeds(40)
def test_a_container_that_was_stopped_by_hand_takes_nothing_until_it_is_started(
    simulation: Simulation,
) -> None:
    """
    Nor do its children start by themselves; whoever asks is told, and does not wait.
    """
    box = Container(name="box", components=idle("inner"))
    with simulation.runtime(components=[box]) as runtime:
        inner = runtime["box/inner"]
        late = Idle(name="late")

        def add() -> None:  # it comes in time, or is refused: it never waits for ever
            with contextlib.suppress(ContainerStoppingError, ActivationError):
                runtime["box"].add(late)

        adder = simulation.threads.start(add, "adder")
        runtime["box"].stop()
        adder.join()
        for ask in (
            inner.start,
            inner.restart,
            lambda: runtime["box"].add(Idle(name="new")),
        ):
            with pytest.raises(ContainerStoppingError, match="once this one runs"):
                ask()

        runtime["box"].start()

        assert inner.stage is Stage.STARTED
        assert runtime["box"].add(Idle(name="new")).stage is Stage.STARTED


@pytest.mark.seeds(40)
@pytest.mark.parametrize("hook", ["stop", "tear_down"])
def test_adds_during_a_stop_are_refused(simulation: Simulation, hook: str) -> None:
    """
    Whoever asks, waiting or not; the component may go elsewhere.
    """
    refused: list[Component] = []

    def add(part: Traced) -> None:
        for nowait in (True, False):
            late = Container(name="late", components=idle("inner"))
            with pytest.raises(ContainerStoppingError, match="starts nothing more"):
                if nowait:
                    part.container.add_nowait(late).result(10)
                else:
                    part.container.add(late)
            refused.append(late)

    with simulation.runtime() as runtime:
        runtime.add(traced(**{hook: add}))
    with pytest.raises(ContainerStoppingError):
        runtime.add(Idle(name="after"))

    with simulation.runtime("other") as other:
        for late in refused:
            assert other.add(late).stage is Stage.STARTED
            other.remove("late")


@pytest.mark.seeds(60, step_seconds=0.001)
def test_each_add_that_races_with_a_stop_is_answered(simulation: Simulation) -> None:
    """
    With its Ref or an error; what came up is torn down.
    """
    parts = [traced(f"p{number}") for number in range(6)]
    outcomes: list[str] = []
    runtime = simulation.runtime()
    runtime.start()

    def add() -> None:
        for part in parts:
            try:
                outcomes.append(runtime.add(part, timeout=100).name)
            except (ContainerStoppingError, ActivationError) as error:
                outcomes.append(type(error).__name__)

    adder = simulation.threads.start(add, "adder")
    simulation.sleep(0.002 * (simulation.seed % 20))
    runtime.stop()
    adder.join(200)

    assert len(outcomes) == 6
    for part in parts:
        assert part.hooks.count("tear_down") == bool(part.hooks)


@pytest.mark.seeds(20)
def test_children_are_stopped_last_in_first_out(simulation: Simulation) -> None:
    """
    In the reverse of the order in which they reached STARTED, at any depth.
    """
    ended: list[str] = []

    def part(name: str, **at: Callable[[Traced], object]) -> Traced:
        return traced(name, tear_down=lambda part: ended.append(part.name), **at)

    def add_first(adder: Traced) -> None:
        adder.container.add(part("inside"))

    box = Container(name="box", components=[part("x"), part("y")])
    with simulation.runtime(components=[part("a"), box]) as runtime:
        runtime.add(part("b", init=add_first))
        runtime.add(part("c"))

        assert names(runtime) == ["a", "box", "inside", "b", "c"]
    assert ended == ["c", "b", "inside", "y", "x", "a"]


@pytest.mark.seeds(10)
@pytest.mark.parametrize("hook", ["stop", "tear_down"])
def test_a_stop_that_fails_never_stops_the_rest(
    simulation: Simulation, hook: str
) -> None:
    """
    All are torn down, and the exit code says that it went as asked.
    """
    parts = [
        traced(name, start=waits, **{hook: raising(SystemExit(9))}) for name in "abc"
    ]
    with simulation.runtime(components=parts) as runtime:
        assert len(runtime) == 3

    assert [part.hooks[-2:] for part in parts] == [["stop", "tear_down"]] * 3
    assert runtime.exit_code == 0


@pytest.mark.seeds(20)
def test_a_start_that_fails_takes_down_those_that_came_before(
    simulation: Simulation,
) -> None:
    """
    Those that come later are never begun.
    """
    parts = [traced("a"), traced("b", start=raising(ValueError("b"))), traced("c")]
    runtime = simulation.runtime(components=parts)
    with pytest.raises(ActivationError, match="'/app/b' did not start: start failed"):
        runtime.start()

    assert runtime.join(60) == 1
    assert parts[0].hooks[-2:] == ["stop", "tear_down"]
    assert parts[1].hooks[-1] == "tear_down"
    assert parts[2].hooks == []


# ------------------------------------------------------------------ names


@given(st.text(min_size=1, max_size=30))
def test_a_name_is_taken_or_refused_by_its_characters(name: str) -> None:
    """
    Letters, digits and ``. _ ~ -``; an error says what is allowed.
    """
    runtime = Runtime(name="app")
    right = set(name) <= NAME_CHARACTERS and name not in {".", "..", "-"}
    if right:
        assert runtime.add(Idle(name=name)).path == f"/app/{name}"
        assert name in runtime
    else:
        with pytest.raises(InvalidNameError) as caught:
            runtime.add(Idle(name=name))
        assert caught.value.name == name
        assert len(runtime) == 0
    runtime.stop()


@pytest.mark.parametrize("name", ["", "a/b", " ", "naïve", "a b", 7, None, "..", "-"])
def test_a_wrong_name_is_refused_for_components_and_runtimes(name: str) -> None:
    """
    Before anything begins.
    """
    with pytest.raises(InvalidNameError, match="cannot be a component's name"):
        Runtime(name=name)
    with pytest.raises(InvalidNameError):
        Runtime(name="app", components=[Idle(name=name)])


@pytest.mark.seeds(20)
def test_a_name_is_taken_once(simulation: Simulation) -> None:
    """
    Until its component is removed; the error names it and the container.
    """
    with simulation.runtime(components=idle("a")) as runtime:
        with pytest.raises(DuplicateNameError, match="has a component 'a' already"):
            runtime.add(Idle(name="a"))
        with pytest.raises(DuplicateNameError):
            runtime.add_nowait(Idle(name="a")).result(10)
        runtime.remove("a")

        assert runtime.add(Idle(name="a")).stage is Stage.STARTED


@pytest.mark.seeds(20)
@pytest.mark.parametrize("starting", [True, False])
def test_a_name_is_taken_also_where_its_component_waits_for_the_adder(
    simulation: Simulation, starting: bool
) -> None:
    """
    Two of one path are not one in the graph of who waits for whom.
    """
    seen: list[BaseException] = []

    def add_double(part: Traced) -> None:
        with pytest.raises(DuplicateNameError) as caught:
            part.container.add(Idle(name="asker"))
        seen.append(caught.value)

    def ask(part: Traced) -> None:
        part.find("adder").send("add one like me", timeout=50)

    with simulation.runtime(components=[traced("adder", handle=add_double)]) as runtime:
        at = {"init": ask} if starting else {"handle": ask}
        ref = runtime.add(traced("asker", **at))
        if not starting:
            ref.send("ask", timeout=50)

        assert len(seen) == 1
        assert names(runtime) == ["adder", "asker"]
        assert len(runtime._services.waits) == 0


@pytest.mark.seeds(50)
def test_a_name_is_free_again_when_its_component_has_finished(
    simulation: Simulation,
) -> None:
    """
    What finished by itself is only shown; a new one takes its place, from the very
    moment that the first is TORN_DOWN.
    """
    with simulation.runtime() as runtime:
        runtime.add(traced("stays"))
        first = runtime.add(Component(name="once"))
        first.wait_for(Stage.TORN_DOWN, 10)
        second = runtime.add(Component(name="once"))

        assert runtime["once"] == second != first


@pytest.mark.parametrize("begun", [True, False])
def test_the_same_name_twice_among_those_given_is_refused(
    simulation: Simulation, begun: bool
) -> None:
    """
    At once, also in a container that has not begun; nothing of it stays taken.
    """
    parts = idle("a", "b", "a")
    runtime = simulation.runtime()
    if begun:
        runtime.start()
    box = Container(name="box", components=parts)
    with pytest.raises(DuplicateNameError, match="given two components called 'a'"):
        runtime.add(box)
    assert "box" not in runtime
    runtime.add(parts[0])
    with pytest.raises(DuplicateNameError):
        runtime.add(parts[2])

    assert names(runtime) == ["a"]
    runtime.stop()


def test_a_component_has_one_place(simulation: Simulation) -> None:
    """
    Not two at a time, and not another one after the first.
    """
    part = Idle(name="part")
    with simulation.runtime() as runtime:
        runtime.add(part)
        with pytest.raises(StageError, match="has one place"):
            runtime.add(part)
        runtime.remove("part")
        with pytest.raises(StageError, match="is, or was, in a runtime already"):
            runtime.add(part)
        with pytest.raises(StageError):
            runtime.add(Container(name="box", components=[Idle(name="x"), part]))
    twice = Idle(name="twice")
    with pytest.raises(StageError):
        Runtime(components=[twice, Container(name="box", components=[twice])])
    Runtime(components=[twice]).stop()


@pytest.mark.parametrize("wrong", [None, "part", Idle, object()])
def test_only_components_are_added(simulation: Simulation, wrong: Component) -> None:
    """
    The error says what one is.
    """
    with simulation.runtime() as runtime:
        with pytest.raises(DeclarationError, match="is no component"):
            runtime.add(wrong)


def test_one_whose_own_constructor_forgets_the_fields_is_refused(
    simulation: Simulation,
) -> None:
    """
    With what to call; the runtime goes on.
    """

    class Forgetful(Component):
        def __init__(self) -> None:
            self.opened = True

    with simulation.runtime() as runtime:
        with pytest.raises(DeclarationError, match=r"__attrs_init__\(\.\.\.\)"):
            runtime.add(Forgetful())
        assert len(runtime) == 0


# ----------------------------------------------------------------- removing


@pytest.mark.seeds(20)
def test_a_removed_component_is_gone(simulation: Simulation) -> None:
    """
    Torn down, not to be found, not started again; its Ref still answers.
    """
    with simulation.runtime(components=idle("a", "b")) as runtime:
        ref = runtime["a"]
        runtime.remove("a")

        assert ref.stage is Stage.TORN_DOWN
        assert names(runtime) == ["b"]
        with pytest.raises(ComponentNotFoundError, match="Children: b"):
            runtime.remove("a")
        with pytest.raises(KinesisError):
            ref.start()
        assert repr(ref) == "<Ref /app/a Idle [TORN_DOWN]>"


@pytest.mark.seeds(20)
def test_a_container_is_removed_with_all_in_it(simulation: Simulation) -> None:
    """
    Last in, first out.
    """
    inner = traced("inner")
    box = Container(name="box", components=[inner])
    with simulation.runtime(components=[box]) as runtime:
        runtime.remove("box")

        assert inner.hooks[-1] == "tear_down"
        assert len(runtime) == 0


@pytest.mark.seeds(20)
def test_a_component_may_remove_itself(simulation: Simulation) -> None:
    """
    It does not wait for its own end.
    """
    with simulation.runtime() as runtime:
        ref = runtime.add(traced(handle=lambda part: part.container.remove("part")))
        ref.post("remove yourself")
        ref.wait_for(Stage.TORN_DOWN, 10)
        simulation.settle()

        assert "part" not in runtime


# ---------------------------------------------------------------- looking up


def test_children_are_found_by_name_and_by_path(simulation: Simulation) -> None:
    """
    From the container itself, or from the root.
    """
    shop = Container(name="shop", components=idle("stock", "till"))
    with simulation.runtime(components=[shop]) as runtime:
        stock = runtime["/app/shop/stock"]

        assert stock == runtime["shop/stock"] == runtime["shop"]["stock"]
        assert stock == runtime["shop"]["/app/shop/stock"]
        assert runtime["/app"] == runtime.root
        assert [ref.path for ref in runtime["shop"]] == [
            "/app/shop/stock",
            "/app/shop/till",
        ]
        assert len(runtime["shop"]) == 2
        assert "stock" in runtime["shop"]
        assert "/app/shop" in runtime
        assert "/app" in runtime
        assert "nothing" not in runtime
        assert 7 not in runtime
        assert bool(runtime.add(Container(name="empty")))
        assert hash(stock) == hash(runtime["shop/stock"])
        assert [ref.name for ref in runtime.root.walk()] == [
            "shop",
            "stock",
            "till",
            "empty",
        ]


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("stok", "no component '/app/shop/stok' in '/app/shop'. Did you mean 'stock'?"),
        ("/app/shp/stock", "no component '/app/shp' in '/app'. Did you mean 'shop'?"),
        ("/ap/shop", "no component '/ap' in '/'. Did you mean 'app'?"),
        ("/", "no component '/' in '/'. Children: app."),
        ("", "no component '/app/shop/' in '/app/shop'. Children: stock, till."),
        ("stock/x", "no component '/app/shop/stock/x' in '/app/shop/stock'."),
        ("zebra", "Children: stock, till."),
    ],
)
def test_a_lookup_that_fails_suggests_the_nearest(path: str, says: str) -> None:
    """
    By name, and lists what there is.
    """
    shop = Container(name="shop", components=idle("stock", "till"))
    runtime = Runtime(name="app", components=[shop])
    with pytest.raises(ComponentNotFoundError) as caught:
        runtime["shop"][path]

    assert says in str(caught.value)
    assert path not in runtime["shop"]


def test_iteration_goes_on_over_what_changes_meanwhile(simulation: Simulation) -> None:
    """
    It is over those that were there when it began.
    """
    with simulation.runtime(components=idle("a", "b", "c")) as runtime:
        seen = []
        for ref in runtime:
            seen.append(ref.name)
            runtime.remove(ref.name)

        assert seen == ["a", "b", "c"]


# ------------------------------------------------------------------- nesting


@pytest.mark.seeds(5)
def test_containers_nest_to_any_depth(simulation: Simulation) -> None:
    """
    Twenty deep: found, stopped from the inside, restarted as a whole.
    """
    innermost = traced("leaf")
    part: Component = innermost
    for number in reversed(range(20)):
        part = Container(name=f"c{number}", components=[part])
    with simulation.runtime(components=[part]) as runtime:
        path = "/".join(["/app", *(f"c{number}" for number in range(20)), "leaf"])
        leaf = runtime[path]

        assert leaf.path == path
        assert leaf.send("hello") == "hello"
        runtime["c0"].restart()
        assert runtime[path].stage is Stage.STARTED
    assert innermost.hooks.count("init") == innermost.hooks.count("tear_down") == 2


@pytest.mark.seeds(20)
def test_a_restarted_container_brings_its_children_up_again(
    simulation: Simulation,
) -> None:
    """
    Also those added later and those that had finished; not those stopped by hand.
    """
    box = Container(name="box", components=[traced("a"), traced("b")])
    with simulation.runtime(components=[box]) as runtime:
        ref = runtime["box"]
        ref.add(traced("c"))
        ref.add(Component(name="once")).wait_for(Stage.TORN_DOWN, 10)
        ref["b"].stop()
        ref.restart()

        assert {child.name: child.stage for child in ref if child.name != "once"} == {
            "a": Stage.STARTED,
            "b": Stage.TORN_DOWN,
            "c": Stage.STARTED,
        }
        ref["b"].start()
        assert ref["b"].stage is Stage.STARTED
        assert ref["once"].report().run == 2
        assert ref.report().restarts == 1


class Shop(Container):
    """A container with code of its own."""

    def init(self) -> None:
        LOG.append(f"{self.name} init")

    def start(self) -> None:
        LOG.append(f"{self.name} start")

    def stop(self) -> None:
        LOG.append(f"{self.name} stop")

    def tear_down(self) -> None:
        LOG.append(f"{self.name} tear_down")

    @handles(str)
    def answer(self, message: str) -> str:
        return f"{message} from {self.path}"


class Stock(Component):
    """Notes when it comes and goes."""

    def init(self) -> None:
        LOG.append(f"{self.name} init")

    def tear_down(self) -> None:
        LOG.append(f"{self.name} tear_down")

    def default_handler(self, message: object) -> object:
        return message


LOG: list[str] = []


@pytest.mark.seeds(20)
def test_a_containers_own_hooks_come_first_on_the_way_up_and_last_on_the_way_down(
    simulation: Simulation,
) -> None:
    """
    Children may use what it opened; it answers messages as any component.
    """
    LOG.clear()
    with simulation.runtime(
        components=[Shop(name="shop", components=[Stock(name="stock")])]
    ) as runtime:
        assert runtime["shop"].send("hello") == "hello from /app/shop"

    assert LOG == [
        "shop init",
        "shop start",
        "stock init",
        "stock tear_down",
        "shop stop",
        "shop tear_down",
    ]


@pytest.mark.seeds(20)
def test_a_containers_children_may_be_added_by_its_own_hooks(
    simulation: Simulation,
) -> None:
    """
    They come up with it: an add from its `init` does not wait for itself.
    """

    class Maker(Container):
        def init(self) -> None:
            for name in ("one", "two"):
                self.add(Idle(name=name))

    with simulation.runtime() as runtime:
        maker = runtime.add(Maker(name="maker"))

        assert [(ref.name, ref.stage) for ref in maker] == [
            ("one", Stage.STARTED),
            ("two", Stage.STARTED),
        ]


@pytest.mark.seeds(20)
def test_a_container_that_blocks_has_its_children_while_it_does(
    simulation: Simulation,
) -> None:
    """
    They come up once its `start` says that it works.
    """

    class Loop(Container):
        def start(self) -> None:
            LOG.append("begins")
            self.stopping.wait()
            LOG.append("ends")

    LOG.clear()
    with simulation.runtime() as runtime:
        runtime.add(Loop(name="loop", components=[Stock(name="stock")]))

        assert LOG == ["begins", "stock init"]
    assert LOG == ["begins", "stock init", "stock tear_down", "ends"]


# ------------------------------------------------------------- before it runs


def test_components_may_be_added_before_anything_runs(simulation: Simulation) -> None:
    """
    To a container, and to a runtime; they are found at once, and come up in order.
    """
    box = Container(name="box", components=idle("a"))
    box.add(Idle(name="b"))
    runtime = simulation.runtime()
    ref = runtime.add(box)
    runtime["box"].add(Idle(name="c"))
    later = runtime.add_nowait(Idle(name="later"))

    assert ref.stage is Stage.SUBMITTED
    assert names(runtime) == ["box", "later"]
    assert names(runtime["box"]) == ["a", "b", "c"]
    assert not later.done()
    with runtime:
        assert later.result(0).stage is Stage.STARTED
        assert names(runtime["box"]) == ["a", "b", "c"]


def test_a_running_container_hands_adds_of_its_own_on(simulation: Simulation) -> None:
    """
    `add` of the object is that of its Ref once it runs.
    """
    box = Container(name="box")
    with simulation.runtime(components=[box]) as runtime:
        box.add(Idle(name="a"))

        assert runtime["box/a"].stage is Stage.STARTED


def test_a_runtime_that_is_stopped_before_it_began_answers_all(
    simulation: Simulation,
) -> None:
    """
    What would have come up with it does not; later ones are refused.
    """
    runtime = simulation.runtime()
    waiting = runtime.add_nowait(Idle(name="a"))
    runtime.stop()

    with pytest.raises(ContainerStoppingError):
        waiting.result(0)
    with pytest.raises(ContainerStoppingError):
        runtime.add(Idle(name="b"))


@pytest.mark.seeds(60, step_seconds=0.001)
def test_an_add_that_races_with_the_start_is_in_it_or_after_it(
    simulation: Simulation,
) -> None:
    """
    It comes up either way.
    """
    runtime = simulation.runtime(components=idle("first"))
    go: Event = simulation.threads.event()

    def add() -> None:
        go.wait()
        runtime.add(Idle(name="racer"), timeout=100)

    adder = simulation.threads.start(add, "adder")
    go.set()
    with runtime:
        adder.join()
        runtime["racer"].wait_for(Stage.STARTED, 100)

        assert names(runtime) == ["first", "racer"]


# ---------------------------------------------------------- reads like a log line


def test_a_container_reads_like_a_log_line(simulation: Simulation) -> None:
    """
    With what its children do.
    """
    box = Container(name="box", components=idle("a", "b"))
    runtime = simulation.runtime(components=[box])

    assert repr(runtime) == "<Runtime app <Container /app [SUBMITTED | 1 submitted]>>"
    with runtime:
        runtime["box/a"].stop()

        assert repr(runtime["box"]) == (
            "<Container /app/box [STARTED | 1 stopped, 1 started]>"
        )
        assert repr(runtime) == "<Runtime app <Container /app [STARTED | 1 started]>>"
        assert repr(runtime.add(Container(name="e"))) == (
            "<Container /app/e [STARTED | empty]>"
        )
        assert repr(runtime["box"]._supervisor.books) == "<Books running 2 children>"


# ------------------------------------------------------------------ real threads


@pytest.mark.stress
def test_real_threads_add_remove_and_restart_without_end() -> None:
    """
    Eight at once, on the system's own threads, switched all the time.
    """
    errors: list[BaseException] = []

    def work(runtime: Runtime, prefix: str) -> None:
        try:
            for number in range(40):
                ref = runtime.add(Idle(name=f"{prefix}{number}"), timeout=60)
                assert ref.send(number, timeout=60) == number
                ref.restart(60)
                assert ref.send(number, timeout=60) == number
                if number % 2:
                    runtime.remove(f"{prefix}{number}", 60)
        except BaseException as error:
            errors.append(error)

    with Runtime(name="app") as runtime:
        workers = [
            threading.Thread(target=work, args=(runtime, prefix))
            for prefix in "abcdefgh"
        ]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(300)
            assert not worker.is_alive()

        assert errors == []
        assert len(runtime) == 8 * 20
        assert runtime._services.crashes == 0
