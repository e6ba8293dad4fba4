"""Sending from coroutines."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from kinesis import Ref, Runtime, control
from kinesis.errors import (
    ComponentStoppedError,
    MailboxFullError,
    ReplyTimeoutError,
    WouldDeadlockError,
)
from tests.messages.parts import (
    LONG,
    PATIENCE,
    Add,
    Adder,
    Call,
    Get,
    Hold,
    Looping,
    Raise,
    counts,
    in_thread,
    serving_of,
    wait_until,
)


def test_a_coroutine_awaits_the_answer() -> None:
    """
    Values and errors, as with send.
    """

    async def main() -> list[int]:
        with pytest.raises(LookupError, match="odd"):
            await adder.asend(Raise(LookupError("odd")))
        await adder.asend(control.Persist())
        return [await adder.asend(Add(number)) for number in (1, 2)]

    with Runtime() as runtime:
        adder = runtime.add(Adder(name="adder"))

        assert asyncio.run(main()) == [1, 3]


def test_the_loop_runs_on_while_a_handler_takes_its_time() -> None:
    """
    Other tasks of the loop come and go meanwhile.
    """

    async def main() -> str:
        hold = Hold()
        sending = asyncio.ensure_future(adder.asend(hold, timeout=LONG))
        for _ in range(200):  # other work of the loop
            await asyncio.sleep(0.001)
            if hold.entered.is_set():
                break
        assert not sending.done()
        hold.go.set()
        return await sending

    with Runtime() as runtime:
        adder = runtime.add(Adder(name="adder"))

        assert asyncio.run(main()) == "held"


def test_many_coroutines_of_several_loops_send_at_once() -> None:
    """
    Each loop in a thread of its own; every message is answered.
    """

    async def main() -> list[int]:
        return await asyncio.gather(*(adder.asend(Add(1)) for _ in range(50)))

    with Runtime() as runtime:
        adder = runtime.add(Adder(name="adder"))
        loops = [in_thread(lambda: asyncio.run(main())) for _ in range(3)]
        replies = sorted(reply for loop in loops for reply in loop.result())

    assert replies == list(range(1, 151))


@pytest.mark.parametrize("timeout", [0.02, 0.0])
def test_a_message_that_is_late_is_taken_out(timeout: float) -> None:
    """
    It never runs; the error is the one of send.
    """

    async def main() -> None:
        with pytest.raises(ReplyTimeoutError) as late:
            async with asyncio.timeout(PATIENCE / 2):  # while the handler holds on
                await adder.asend(Add(5), timeout=timeout)
        assert late.value.began is False

    with Runtime() as runtime:
        adder = runtime.add(Adder(name="adder"))
        hold = Hold()
        adder.post(hold)
        hold.wait_entered()
        asyncio.run(main())
        hold.go.set()

        assert adder.send(Get()) == 0


def test_a_coroutine_that_is_cancelled_takes_its_message_out() -> None:
    """
    The handler never runs.
    """

    async def main() -> None:
        sending = asyncio.ensure_future(adder.asend(Add(5), timeout=LONG))
        while counts(adder).depth == 0:
            await asyncio.sleep(0.001)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending

    with Runtime() as runtime:
        adder = runtime.add(Adder(name="adder"))
        hold = Hold()
        adder.post(hold)
        hold.wait_entered()
        asyncio.run(main())
        hold.go.set()

        assert adder.send(Get()) == 0
        assert counts(adder).expired == 1


def test_a_coroutine_that_is_cancelled_while_its_handler_runs_lets_it_run() -> None:
    """
    What it answers is thrown away, and nothing complains.
    """

    async def main() -> None:
        sending = asyncio.ensure_future(adder.asend(hold, timeout=LONG))
        while not hold.entered.is_set():
            await asyncio.sleep(0.001)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending

    hold = Hold()
    with Runtime() as runtime:
        adder = runtime.add(Adder(name="adder"))
        asyncio.run(main())
        hold.go.set()

        assert adder.send(Get()) == 0
        assert counts(adder).late == 1


def test_an_answer_at_the_last_moment_is_the_answer() -> None:
    """
    The worker has taken the right to answer, and has not answered yet.
    """

    async def main() -> int:
        return await adder.asend(Add(5), timeout=0.05)

    with Runtime() as runtime:
        adder = runtime.add(Adder(name="adder"))
        mailbox = serving_of(adder).mailbox

        def put(item: Any) -> None:
            item.claim.clear()  # as a worker does that is about to deliver
            timer = threading.Timer(0.2, lambda: item.deliver(5, None))
            timer.start()

        mailbox.put = put
        reply = asyncio.run(main())
        mailbox.put = mailbox._lanes.put

    assert reply == 5


def test_a_stopped_component_refuses_coroutines_too() -> None:
    """
    And those that wait are answered when it stops.
    """

    async def late() -> None:
        with pytest.raises(ComponentStoppedError):
            await adder.asend(Add())

    async def waiting() -> None:
        with pytest.raises(ComponentStoppedError, match="which never ran"):
            await adder.asend(Add(), timeout=None)

    with Runtime() as runtime:
        adder = runtime.add(Adder(name="adder", on_stop="refuse"))
        hold = Hold()
        adder.post(hold)
        hold.wait_entered()
        loop = in_thread(lambda: asyncio.run(waiting()))
        wait_until(lambda: counts(adder).depth == 1)
        stopping = in_thread(adder.stop)
        wait_until(lambda: str(adder.stage) == "STOPPING")
        hold.go.set()
        loop.result()
        stopping.result()
        asyncio.run(late())


def full(runtime: Runtime, overflow: Any) -> tuple[Ref[Adder], Hold]:
    """Return a component whose mailbox is full, and what keeps it so."""
    adder = runtime.add(Adder(name="adder", mailbox_bound=1, overflow=overflow))
    hold = Hold()
    adder.post(hold)
    hold.wait_entered()
    adder.post(Add(1))
    return adder, hold


def test_a_full_mailbox_refuses_a_coroutine_at_once() -> None:
    """
    As it refuses threads.
    """

    async def main() -> None:
        with pytest.raises(MailboxFullError):
            await adder.asend(Add(2), timeout=LONG)

    with Runtime() as runtime:
        adder, hold = full(runtime, "refuse")
        asyncio.run(main())
        hold.go.set()


def test_coroutines_wait_for_room_where_threads_would() -> None:
    """
    Until there is some, or their time is over; refused is counted once.
    """

    async def main() -> list[int]:
        with pytest.raises(MailboxFullError):
            await adder.asend(Add(100), timeout=0.02)
        waiting = asyncio.gather(*(adder.asend(Add(1), timeout=LONG) for _ in range(9)))
        cancelled = asyncio.ensure_future(adder.asend(Add(100), timeout=LONG))
        await asyncio.sleep(0.01)
        cancelled.cancel()
        hold.go.set()
        return await waiting

    with Runtime() as runtime:
        adder, hold = full(runtime, "wait")

        assert sorted(asyncio.run(main())) == list(range(2, 11))
        assert counts(adder).refused == 1
        assert serving_of(adder).mailbox._lanes._doorstep == []


def test_a_coroutine_that_was_let_in_has_its_place() -> None:
    """
    Though somebody else has filled the mailbox before its loop came to it.
    """

    async def main() -> int:
        sending = asyncio.ensure_future(adder.asend(Add(5), timeout=LONG))
        while len(doorstep) == 0:
            await asyncio.sleep(0.001)
        hold.go.set()
        wait_until(lambda: len(doorstep) == 0)  # it was let in; its loop waits here
        wait_until(lambda: counts(adder).depth == 0)
        adder.post(again)
        again.wait_entered()
        adder.post(Add(1))
        for _ in range(20):
            await asyncio.sleep(0.001)
        again.go.set()
        return await sending

    with Runtime() as runtime:
        adder, hold = full(runtime, "wait")
        again = Hold()
        doorstep = serving_of(adder).mailbox._lanes._doorstep

        assert asyncio.run(main()) == 7


def test_coroutines_that_wait_for_room_learn_that_the_component_stops() -> None:
    """
    At once, not at the end of their time.
    """

    async def main() -> None:
        with pytest.raises(ComponentStoppedError):
            async with asyncio.timeout(2.0):  # the handler holds for longer
                await adder.asend(Add(100), timeout=None)

    with Runtime() as runtime:
        adder, hold = full(runtime, "wait")
        loop = in_thread(lambda: asyncio.run(main()))
        wait_until(lambda: len(serving_of(adder).mailbox._lanes._doorstep) == 1)
        stopping = in_thread(adder.stop)
        loop.result()
        hold.go.set()
        stopping.result()


def run_inside(name: str, message: object) -> Call:
    """Return what makes a handler send *message* from a loop of its own."""

    def run(me: Adder) -> object:
        async def main() -> object:
            return await me.find(name).asend(message, timeout=LONG)

        return asyncio.run(main())

    return Call(run)


def test_a_handler_that_runs_a_loop_knows_deadlocks_and_deadlines() -> None:
    """
    It waits for its coroutines, so what they wait for, it waits for.
    """
    with Runtime() as runtime:
        a, b = (runtime.add(Adder(name=name)) for name in "ab")
        with pytest.raises(WouldDeadlockError) as itself:
            a.send(run_inside("a", Get()))
        with pytest.raises(WouldDeadlockError) as other:
            a.send(run_inside("b", run_inside("a", Get())))
        left = a.send(run_inside("b", Call(lambda me: me.time_left)), timeout=2.0)

        assert itself.value.chain == ("/app/a", "/app/a")
        assert other.value.chain == ("/app/b", "/app/a", "/app/b")
        assert 0.0 < left <= 2.0
        assert b.send(Get()) == 0
        assert len(a._cell.services.waits) == 0


def test_a_blocking_start_may_be_a_loop_that_sends_to_its_own_component() -> None:
    """
    Messages are handled beside it.
    """
    replies: list[int] = []

    class Serves(Looping):
        def start(self) -> None:
            asyncio.run(self.main())

        async def main(self) -> None:
            self.ready()
            replies.append(await self.ref.asend(Add(3), timeout=LONG))
            while not self.stopping.is_set():
                await asyncio.sleep(0.001)

    with Runtime() as runtime:
        runtime.add(Serves(name="serves"))
        wait_until(lambda: replies == [3])


def test_a_loop_that_is_closed_before_the_answer_harms_nobody(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """
    The worker answers into the void, and goes on in silence.
    """
    hold = Hold()
    with Runtime() as runtime:
        adder = runtime.add(Adder(name="adder"))
        loop = asyncio.new_event_loop()
        task = loop.create_task(adder.asend(hold, timeout=LONG))
        loop.run_until_complete(asyncio.sleep(0.01))
        hold.wait_entered()
        loop.close()
        hold.go.set()

        assert adder.send(Get(), timeout=PATIENCE) == 0
        task.get_coro().close()
        task._log_destroy_pending = False  # type: ignore[attr-defined]  # ours, on purpose
    assert caplog.records == [each for each in caplog.records if each.levelno < 30]
