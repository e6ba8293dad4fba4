"""Control messages: they steer a component, past its mailbox."""

from __future__ import annotations

import logging

import pytest

from kinesis import Component, Container, Message, Runtime, Stage, control, handles
from kinesis.errors import (
    ComponentStoppedError,
    InternalError,
    PeerMessagingDisabledError,
    StageError,
    UnhandledMessageError,
)
from kinesis.mailbox import Envelope
from kinesis.testing import Simulation, simulate
from tests.messages.parts import (
    Add,
    Adder,
    Call,
    Get,
    Hold,
    Looping,
    counts,
    in_thread,
    serving_of,
    wait_until,
)

SECONDS = 5.0


def test_restart_ends_the_run_and_begins_another() -> None:
    """
    It returns at once; the state stays.
    """
    with Runtime() as runtime:
        adder = runtime.add(Adder(name="adder"))
        adder.send(Add(2))
        assert adder.send(control.Restart()) is None
        wait_until(lambda: adder.report().run == 2)

        assert adder.send(Get()) == 2


def test_shutdown_stops_the_component_where_it_is() -> None:
    """
    It can be started again.
    """
    with Runtime() as runtime:
        adder = runtime.add(Adder(name="adder"))
        adder.post(control.Shutdown())
        adder.wait_stopped(SECONDS)

        assert adder.stage is Stage.STOPPED
        adder.start()
        assert adder.send(Add(1)) == 1


def test_control_messages_pass_what_waits_in_the_mailbox() -> None:
    """
    They do not queue up behind messages, nor behind a handler that runs.
    """
    with Runtime() as runtime:
        adder = runtime.add(Adder(name="adder", on_stop="refuse"))
        hold = Hold()
        adder.post(hold)
        hold.wait_entered()
        waiting = in_thread(lambda: adder.send(Add(), timeout=None))
        wait_until(lambda: counts(adder).depth == 1)
        adder.send(control.Shutdown())
        wait_until(lambda: adder.stage is Stage.STOPPING)
        hold.go.set()
        with pytest.raises(ComponentStoppedError):
            waiting.result()


def runs(simulation: Simulation, *messages: Message[None]) -> list[tuple[int, str]]:
    """Send control *messages* to a component; return its stage, second by second."""
    with simulation.runtime() as runtime:
        adder = runtime.add(Adder(name="adder"))
        for message in messages:
            adder.send(message)
        seen = []
        for second in range(12):
            simulation.advance(1.0)
            seen.append((second, f"{adder.stage} {adder.report().run}"))
        return seen


@pytest.mark.parametrize(
    ("messages", "at"),
    [
        ([control.RestartAfter(3.5)], {3: "STARTED 2"}),
        ([control.ShutdownAfter(3.5)], {3: "STOPPED 1"}),
        ([control.RestartAfter(3.5), control.Cancel()], {}),
        ([control.ShutdownAfter(3.5), control.Cancel()], {}),
        ([control.RestartAfter(3.5), control.CancelAfter(2.5)], {}),
        ([control.RestartAfter(3.5), control.CancelAfter(4.5)], {3: "STARTED 2"}),
        ([control.Cancel(), control.RestartAfter(3.5)], {3: "STARTED 2"}),
        (
            [control.RestartAfter(3.5), control.RestartAfter(5.5)],
            {3: "STARTED 2", 5: "STARTED 3"},
        ),
        (
            [control.ShutdownAfter(3.5), control.RestartAfter(5.5)],
            {3: "STOPPED 1", 5: "STARTED 2"},
        ),
        (  # a stop by hand is to last
            [control.RestartAfter(3.5), control.Shutdown()],
            {0: "STOPPED 1"},
        ),
    ],
)
def test_what_is_to_come_comes_in_its_time_unless_it_is_cancelled(
    messages: list[Message[None]], at: dict[int, str]
) -> None:
    """
    In virtual time, to the second.
    """
    with simulate() as simulation:
        seen = runs(simulation, *messages)
    expected, now = [], "STARTED 1"
    for second in range(12):
        now = at.get(second, now)
        expected.append((second, now))

    assert seen == expected


def test_a_stop_by_hand_clears_what_is_scheduled() -> None:
    """
    The stop is to last, until somebody starts the component.
    """
    with simulate() as simulation, simulation.runtime() as runtime:
        adder = runtime.add(Adder(name="adder"))
        adder.send(control.RestartAfter(3.0))
        adder.stop()
        simulation.advance(10.0)

        assert adder.stage is Stage.STOPPED


def test_the_root_cannot_be_restarted_now_or_later() -> None:
    """
    Whoever asks learns it at once, also where it would be later.
    """
    with Runtime() as runtime:
        for message in (
            control.Restart(),
            control.Shutdown(),
            control.RestartAfter(1.0),
            control.ShutdownAfter(1.0),
        ):
            with pytest.raises(StageError, match="root"):
                runtime.root.send(message)


@pytest.mark.parametrize("seconds", [float("nan")])
def test_a_time_that_is_none_is_refused_at_once(seconds: float) -> None:
    """
    And harms no timer of others.
    """
    with Runtime() as runtime:
        adder = runtime.add(Adder(name="adder"))
        with pytest.raises(ValueError, match="no time"):
            adder.send(control.RestartAfter(seconds))
        adder.send(control.ShutdownAfter(0.01))
        adder.wait_stopped(SECONDS)


# -- the mailbox -----------------------------------------------------------------------


@pytest.mark.parametrize("component", [Adder, Looping])
def test_a_mailbox_that_is_renewed_loses_nothing(component: type[Adder]) -> None:
    """
    What waits is handled afterwards, in order; the component does not restart.
    """
    with Runtime() as runtime:
        adder = runtime.add(component(name="adder"))
        hold = Hold()
        adder.post(hold)
        hold.wait_entered()
        for number in range(1, 6):
            adder.post(Add(number))
        adder.send(control.RestartMailbox())
        hold.go.set()

        assert adder.send(Add(6)) == 21
        assert adder.snapshot().seen == [1, 2, 3, 4, 5, 6]
        assert adder.report().run == 1
        assert any("begins afresh" in line for line in adder.why())


@pytest.mark.seeds(50)
def test_a_mailbox_may_be_renewed_while_its_component_restarts(
    simulation: Simulation,
) -> None:
    """
    Whatever comes first: the next run takes messages.
    """
    with simulation.runtime() as runtime:
        adder = runtime.add(Adder(name="adder"))
        renewing = simulation.threads.start(
            lambda: adder.send(control.RestartMailbox()), "renewing"
        )
        adder.restart()
        renewing.join()
        adder.restart()

        assert adder.send(Add(1)) == 1


@pytest.mark.seeds(50)
def test_a_mailbox_that_is_renewed_while_it_drains_still_drains(
    simulation: Simulation,
) -> None:
    """
    Messages accepted before the stop are handled all the same.
    """
    with simulation.runtime() as runtime:
        adder = runtime.add(Adder(name="adder"))
        for number in range(4):
            adder.post(Add(number))
        adder.send(control.RestartMailbox())
        adder.send(control.RestartMailbox())
        adder.stop()

        assert adder.snapshot().seen == [0, 1, 2, 3]


def test_a_mailbox_that_is_renewed_in_the_middle_of_draining_drains_on() -> None:
    """
    The order to drain is not lost with the loop that had it.
    """
    with Runtime() as runtime:
        adder = runtime.add(Adder(name="adder"))
        hold = Hold()
        adder.post(hold)
        hold.wait_entered()
        adder.post(Call(lambda me: me.ref.send(control.RestartMailbox())))
        adder.post(Add(1))
        stopping = in_thread(adder.stop)
        wait_until(lambda: adder.stage is Stage.STOPPING)
        hold.go.set()
        stopping.result()

        assert adder.snapshot().sum == 1
        assert adder.report().hung is None


def test_a_loop_that_breaks_leaves_no_order_for_the_next(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """
    A mistake of ours in the middle of a restart: the next run takes messages.
    """
    with Runtime() as runtime:
        adder = runtime.add(Adder(name="adder"))
        serving = serving_of(adder)

        def broken(envelope: Envelope) -> None:
            del serving._handle  # once
            adder.send(control.Restart())
            wait_until(lambda: adder.stage is Stage.RESTARTING)
            wait_until(lambda: serving.mailbox._lanes._control)
            raise InternalError("not to happen")

        serving._handle = broken  # type: ignore[method-assign]  # on purpose
        adder.post(Add(1))
        wait_until(lambda: adder.report().run == 2)

        assert adder.send(Add(2), timeout=SECONDS) == 2
    assert any("unhandled in a thread" in each.message for each in caplog.records)


def test_a_stopped_component_has_no_mailbox_to_renew() -> None:
    """
    It says so.
    """
    with Runtime() as runtime:
        adder = runtime.add(Adder(name="adder"))
        adder.stop()
        with pytest.raises(ComponentStoppedError, match="handles no messages"):
            adder.send(control.RestartMailbox())


# -- peers -----------------------------------------------------------------------------


def send_to(name: str, message: object) -> Call:
    """Return a message that makes its receiver send *message* to a sibling."""
    return Call(lambda me: me.find(name).send(message))


def test_a_component_that_disables_peer_messaging_hears_no_siblings() -> None:
    """
    By whichever way they send; itself, outsiders and control messages pass.
    """

    async def asend(me: Adder) -> object:
        return await me.find("deaf").asend(Add())

    def by_asyncio(me: Adder) -> object:
        import asyncio

        return asyncio.run(asend(me))

    ways = (
        send_to("deaf", Add()),
        Call(lambda me: me.find("deaf").post(Add())),
        Call(lambda me: me.find("deaf").send_all([Add()])),
        Call(lambda me: me.find("deaf").update({"sum": 7})),
        Call(by_asyncio),
    )
    with Runtime() as runtime:
        deaf, peer = (runtime.add(Adder(name=name)) for name in ("deaf", "peer"))
        deaf.send(control.DisablePeerMessaging())
        for way in ways:
            with pytest.raises(PeerMessagingDisabledError, match="'/app/peer' is one"):
                peer.send(way)
        results = peer.send(Call(lambda me: me.container.broadcast(Get())))

        assert isinstance(results["/app/deaf"].error, PeerMessagingDisabledError)
        assert deaf.send(Add(1)) == 1
        assert deaf.send(Call(lambda me: me.ref.post(Add(1)))) is None
        assert deaf.send(Get()) == 2
        peer.send(send_to("deaf", control.EnablePeerMessaging()))
        assert peer.send(send_to("deaf", Add(1))) == 3


@pytest.mark.parametrize("dispatch", ["mailbox", "caller"])
def test_only_siblings_are_peers(dispatch: str) -> None:
    """
    What is above, below or in another container may send.
    """
    with Runtime() as runtime:
        adders = [Adder(name=name, dispatch=dispatch) for name in ("one", "two")]  # type: ignore[arg-type]  # one of the two
        box = runtime.add(Container(name="box", components=adders))
        outside = runtime.add(Adder(name="outside"))
        runtime["box/one"].send(control.DisablePeerMessaging())
        outside.send(Call(lambda me: me.find("/app/box/one").send(Add(1))))
        with pytest.raises(PeerMessagingDisabledError):
            runtime["box/two"].send(send_to("one", Add(1)))

        assert box["one"].send(Get()) == 1


def test_peer_messaging_stays_off_over_a_restart() -> None:
    """
    Until somebody enables it.
    """
    with Runtime() as runtime:
        deaf, peer = (runtime.add(Adder(name=name)) for name in ("deaf", "peer"))
        deaf.send(control.DisablePeerMessaging())
        deaf.restart()
        with pytest.raises(PeerMessagingDisabledError):
            peer.send(send_to("deaf", Add()))


def test_notify_peers_posts_to_the_siblings_that_listen_and_handle_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """
    Not to itself, nor to those that would only fail with it.
    """

    class Poller(Component):
        def start(self) -> None:
            self.stopping.wait()

    class Other(Component):
        @handles(str)
        def on(self, message: str) -> None:
            """Handle something else."""

    with Runtime() as runtime:
        for component in (
            Poller(name="poller"),
            Other(name="other"),
            Adder(name="deaf"),
            Adder(name="one"),
            Adder(name="two"),
            Adder(name="stopped"),
        ):
            runtime.add(component)
        runtime["deaf"].send(control.DisablePeerMessaging())
        runtime["stopped"].stop()
        runtime["one"].send(control.NotifyPeers(Add(4)))
        sums = {
            name: runtime[name].send(Get(), timeout=SECONDS)
            for name in ("deaf", "one", "two")
        }
    told = [each for each in caplog.records if each.levelno >= logging.WARNING]

    assert sums == {"deaf": 0, "one": 0, "two": 4}
    assert [each.message[:13] for each in told] == ["not notified:"]


def test_a_timer_may_bring_a_control_message() -> None:
    """
    It is obeyed, as one that is sent.
    """
    with simulate() as simulation, simulation.runtime() as runtime:
        adder = runtime.add(Adder(name="adder"))
        adder.send(Call(lambda me: me.after(3.0, control.Restart()) and None))
        simulation.advance(5.0)

        assert adder.report().run == 2


def test_notify_peers_may_bring_a_control_message() -> None:
    """
    Each sibling that listens obeys it.
    """
    with Runtime() as runtime:
        refs = [runtime.add(Adder(name=name)) for name in ("one", "two", "deaf")]
        refs[2].send(control.DisablePeerMessaging())
        refs[0].send(control.NotifyPeers(control.Shutdown()))
        refs[1].wait_stopped(SECONDS)

        assert [ref.stage for ref in refs] == [
            Stage.STARTED,
            Stage.STOPPED,
            Stage.STARTED,
        ]


def test_a_control_message_cannot_be_part_of_a_transaction() -> None:
    """
    What it does could not be undone.
    """
    with Runtime() as runtime:
        adder = runtime.add(Adder(name="adder"))
        with pytest.raises(UnhandledMessageError, match="Send it by itself"):
            adder.send_all([Add(1), control.Restart()])

        assert adder.send(Get()) == 0
        assert adder.report().run == 1


def test_persist_is_noted_where_there_is_no_store() -> None:
    """
    A hook for one that has a store.
    """
    with Runtime() as runtime:
        adder = runtime.add(Adder(name="adder"))
        adder.send(control.Persist())

        assert any("persist" in line for line in adder.why())
