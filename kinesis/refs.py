"""
What everybody outside of a component holds of it.

A `Ref` stands for a place in the tree. It stays good over restarts, and after
the end it still answers what can be answered. Nothing in it assumes that the
component lives in this process.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar, cast, overload

from kinesis.cells import Cell
from kinesis.component import Component
from kinesis.control import Control
from kinesis.direct import NOT_HERE
from kinesis.handlers import Update
from kinesis.life import CURRENT
from kinesis.mailbox import Asked
from kinesis.messages import Message
from kinesis.sending import asend, post, send, send_all
from kinesis.snapshots import Snapshot, check, codec_of
from kinesis.stages import Stage, State
from kinesis.standing import Report, report_on
from kinesis.steering import ask, check_wait, obey
from kinesis.supervision import Wish

if TYPE_CHECKING:
    from kinesis.changes import Callback, Change, Subscription

    Kinds = Collection[type[Change]] | None

C = TypeVar("C", bound=Component, covariant=True)
R = TypeVar("R")

SEND_TIMEOUT = 5.0  # seconds
STAGE_TIMEOUT = 60.0  # seconds that stop(), start() and restart() wait

_inside = CURRENT.get  # looked up once: that took a sixth of a post
_ENDED = (Stage.STOPPED, Stage.TORN_DOWN)


class Ref(Generic[C]):
    """
    A component, seen from outside: ``Ref[Account]``.

    Thread safety: any thread may call any method.
    """

    __slots__ = ("_cell",)

    def __init__(self, cell: Cell) -> None:
        self._cell = cell

    # -- who and how ----------------------------------------------------------------

    @property
    def path(self) -> str:
        """Where it is in the tree: ``/app/shop/stock``."""
        return self._cell.path

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self._cell.name

    @property
    def type(self) -> type[C]:
        """The component's class."""
        return type(self._cell.component)  # type: ignore[return-value]  # made with it

    @property
    def stage(self) -> Stage:
        """The stage it is in; it may have moved on by now."""
        return self._cell.stage

    @property
    def state(self) -> State:
        """ACTIVE from INITIALIZED to STARTED, else INACTIVE."""
        return self._cell.stage.state

    @property
    def status(self) -> str:
        """The stage and what is special about it, for people."""
        return self._cell.status()

    def report(self) -> Report:
        """Return what became of it so far."""
        return report_on(self._cell)

    def why(self) -> tuple[str, ...]:
        """
        Return what brought it where it is, a line each, the newest last.

        What its hooks raised, each restart with its delay, the limit reached, who
        stopped it. The newest 200 lines are kept.
        """
        return tuple(note.text for note in self._cell.notes())

    # -- waiting, and moving it ---------------------------------------------------

    def wait_for(self, stage: Stage, timeout: float | None = None) -> None:
        """
        Wait until it is in *stage*.

        Args:
            timeout: Seconds; None waits for ever.

        Raises:
            WaitTimeoutError: Not within *timeout*.
            ComponentStoppedError: It was torn down instead.
            WouldDeadlockError: Its start waits for the hook that calls this.
        """
        if self._cell.stage is not stage and stage is Stage.STARTED:
            check_wait(self._cell)
        self._cell.wait_for((stage,), timeout)

    def wait_stopped(self, timeout: float | None = None) -> None:
        """Wait until it is STOPPED or TORN_DOWN; see `wait_for`."""
        self._cell.wait_for(_ENDED, timeout)

    def stop(self, timeout: float | None = STAGE_TIMEOUT) -> None:
        """
        Stop it and wait for that; it stays in its container, STOPPED.

        It stays so, whatever its restart policy and whatever is scheduled, until
        `start`. Idempotent. Called by the component itself, it does not wait.

        Raises:
            WaitTimeoutError: Not within *timeout* seconds; the stop goes on.
        """
        self._cell.cancel_scheduled()
        self._ask(Wish.STOP, timeout)

    def start(self, timeout: float | None = STAGE_TIMEOUT) -> None:
        """
        Start it again after a stop, with a fresh restart budget, and wait for that.

        Does nothing if it is STARTED.

        Raises:
            ActivationError: It did not start.
            ContainerStoppingError: Its container stops.
            WouldDeadlockError: Its start waits for the hook that calls this.
            WaitTimeoutError: Not within *timeout* seconds; the start goes on.
        """
        self._ask(Wish.START, timeout)

    def restart(self, timeout: float | None = STAGE_TIMEOUT) -> None:
        """
        End its run, begin another one, and wait for that.

        The container's strategy may name siblings to be restarted with it. It does
        not count against the restart limit. One that restarts with it, and asks from
        inside a hook or handler, does not wait. Errors as in `start`.
        """
        self._ask(Wish.RESTART, timeout)

    def _ask(self, wish: Wish, timeout: float | None) -> None:
        """Have the container do it; wait, unless that would end who asks."""
        inside = self._cell.services.inside()
        ends_us = inside is not None and self._ends(inside.path, wish)
        if wish is not Wish.STOP and not ends_us:
            check_wait(self._cell)
        answer = ask(self._cell, wish)
        if not ends_us:  # else it would wait for itself
            answer.future.result(timeout)

    def _ends(self, path: str, wish: Wish) -> bool:
        """Whether the run of the component at *path* ends when *wish* is obeyed."""
        supervisor = self._cell.supervised_by
        ending = [self._cell]
        if wish is Wish.RESTART and supervisor is not None:
            ending = supervisor.ends_too(self._cell)
        return any(_is_at_or_below(path, cell.path) for cell in ending)

    # -- messages ----------------------------------------------------------------------

    @overload
    def send(self, message: Message[R], timeout: float | None = ...) -> R: ...
    @overload
    def send(self, message: object, timeout: float | None = ...) -> Any: ...
    def send(self, message: object, timeout: float | None = SEND_TIMEOUT) -> Any:
        """
        Send *message*, wait for its handler, and return what that returned.

        Messages of one sender are handled in the order sent. Inside of a handler
        whose own sender waits, the time it has left is the most there is.

        Args:
            message: Immutable: it is shared with the component, not copied.
            timeout: Seconds; None waits for ever.

        Raises:
            BaseException: What the handler raised: that same object.
            ComponentStoppedError: It has stopped, or stopped before handling it.
            MailboxFullError: There is no room, or it was dropped to make some.
            PeerMessagingDisabledError: A sibling sends, and is not listened to.
            ReplyTimeoutError: No answer in time; *began* says whether the handler
                was running. If not, it never will.
            UnhandledMessageError: It has no handler for that type of message.
            WouldDeadlockError: It waits for the sender already.
        """
        cell = self._cell
        if isinstance(message, Control):
            return obey(cell, message)
        serving = cell.serving
        if _inside() is not None or cell.services.forked or serving is None:
            return send(cell, message, timeout)
        if serving.direct:
            value = serving.handle_here(message, timeout)
            if value is not NOT_HERE:
                return value
        return serving.mailbox.ask(Asked(), message, timeout)

    def post(self, message: object, timeout: float | None = SEND_TIMEOUT) -> None:
        """
        Let *message* in and do not wait for its handler.

        What the handler raises is logged and counted. *timeout* only counts where
        the mailbox is full and its overflow is ``wait``. Errors as in `send`, but
        for those of the answer.
        """
        cell = self._cell
        serving = cell.serving
        if isinstance(message, Control):
            obey(cell, message)
            return
        if _inside() is not None or cell.services.forked or serving is None:
            post(cell, message, timeout)
            return
        # As Mailbox.put_bare, a call that would be an eighth of a post.
        mailbox = serving.mailbox
        if mailbox.length() >= mailbox.bare_limit:
            mailbox.post(message, timeout=timeout)
            return
        mailbox.put(message)
        if mailbox.again:
            mailbox.look_again()

    def send_all(
        self, messages: Iterable[object], timeout: float | None = SEND_TIMEOUT
    ) -> list[Any]:
        """
        Send *messages* as one transaction and return the replies, in order.

        They are handled one after another with nothing in between. If one fails,
        the state is what it was before the first: equal content and types, not
        the same objects; private attributes are not restored. Nothing of a failed
        transaction is announced. Errors as in `send`.
        """
        return cast("list[Any]", send_all(self._cell, messages, timeout))

    @overload
    async def asend(self, message: Message[R], timeout: float | None = ...) -> R: ...
    @overload
    async def asend(self, message: object, timeout: float | None = ...) -> Any: ...
    async def asend(self, message: object, timeout: float | None = SEND_TIMEOUT) -> Any:
        """
        Send *message* from a coroutine, without blocking its event loop.

        As `send`, for any asyncio event loop. A coroutine that is cancelled takes
        its message out, unless its handler has begun.
        """
        if isinstance(message, Control):
            return obey(self._cell, message)
        return await asend(self._cell, message, timeout)

    # -- state -----------------------------------------------------------------------

    def snapshot(self, timeout: float | None = SEND_TIMEOUT) -> Snapshot:
        """
        Return the state of now, detached: nothing changes it.

        Taken between messages. While a handler runs it is the state from before
        it, and a sender that got its answer sees at least what that did. Only the
        first look at a component may wait for a running handler.

        Raises:
            InvalidStateError: A value of the state cannot be encoded.
            WaitTimeoutError: It was the first look, and a handler ran for longer
                than *timeout* seconds.
        """
        self._cell.services.check_process()
        serving = self._cell.serving
        if serving is not None:
            return serving.snapshot(timeout)
        cell = self._cell  # not begun: nobody changes it
        codec = codec_of(type(cell.component))
        return Snapshot(codec, cell.path, cell.stage, codec.encode(cell.component))

    def update(
        self,
        fields: Mapping[str, Any] | Snapshot,
        etag: str | None = None,
        timeout: float | None = SEND_TIMEOUT,
    ) -> Snapshot:
        """
        Set *fields*, if the state is still the one that *etag* is of.

        Goes through the mailbox, so no handler runs meanwhile. The values are
        checked first, against the fields' types.

        Args:
            fields: Values by name; of a snapshot, all of its fields.
            etag: The ETag the state must have; None: whatever it has.

        Returns:
            The state after it, with its ETag.

        Raises:
            ETagMismatchError: The state has changed since; nothing was changed.
            InvalidStateError: Every value that does not fit, named.
        """
        values = fields.fields() if isinstance(fields, Snapshot) else fields
        checked = check(self.type, values, partial=True, path=self.path)
        return cast("Snapshot", self.send(Update(checked, etag), timeout))

    # -- changes ---------------------------------------------------------------------

    def callback(
        self,
        function: Callable[[Any], object],
        first: bool = False,
        deadline: float = 4.0,
        kinds: Kinds = None,
    ) -> Callback:
        """
        Have *function* called with each change, here and below.

        See `kinesis.changes.Changes.callback`; ``close()`` what it returns. Of a
        component that is in the tree no more there are no changes: it is closed.
        """
        self._cell.services.check_process()
        callback = self._cell.services.changes.callback(
            self.path, function, first, deadline, True, *_given(kinds)
        )
        if self._cell.gone:
            callback.close()
        return callback

    def subscribe(
        self,
        max: int = 1000,
        overflow: Literal["drop-oldest", "wait"] = "drop-oldest",
        kinds: Kinds = None,
    ) -> Subscription:
        """
        Return an iterable of the changes, here and below.

        See `kinesis.changes.Changes.subscribe`; use it in ``with``. It ends by
        itself when the component is removed, at once if it has been.
        """
        self._cell.services.check_process()
        subscription = self._cell.services.changes.subscribe(
            self.path, max, overflow, True, *_given(kinds)
        )
        if self._cell.gone:
            subscription.leave()
        return subscription

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Ref) and other._cell is self._cell

    def __hash__(self) -> int:
        return hash(self._cell.path)

    def __repr__(self) -> str:
        cell = self._cell
        return f"<Ref {cell.path} {type(cell.component).__name__} [{cell.status()}]>"


def _given(kinds: Kinds) -> tuple[Any, ...]:
    """Return *kinds* as an argument, if they are given."""
    return () if kinds is None else (kinds,)


def _is_at_or_below(path: str, top: str) -> bool:
    """Whether *path* is *top* or something in it."""
    return path == top or path.startswith(f"{top}/")
