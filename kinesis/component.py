"""
What people subclass: fields, hooks and handlers. It owns no thread.

A component asks the runtime that carries it for everything else: its path, its
log, whether it should stop. What it may ask is the `Life` protocol; the runtime
sets it when the component is added.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, MutableMapping
from contextlib import AbstractContextManager
from functools import cache
from operator import attrgetter
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self
from weakref import WeakKeyDictionary

from kinesis.concurrency import Event
from kinesis.declared import Declared, setting
from kinesis.errors import DeclarationError, InvalidNameError, StageError
from kinesis.life import Life, Scheduled
from kinesis.messages import check_handlers, handlers_of
from kinesis.restarts import Restart
from kinesis.stages import Outcome

if TYPE_CHECKING:
    from kinesis.container import ContainerRef
    from kinesis.refs import Ref

START_DEADLINE = 30.0  # seconds for each of the stages on the way up
STOP_DEADLINE = 5.0  # seconds for each of the stages on the way down
STALL_AFTER = 5.0  # a handler that takes longer makes its component `stalled`
MAILBOX_BOUND = 10_000

NAME_CHARACTERS = frozenset(
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._~-"
)


class Component(Declared):
    """
    A part of a program that runs on a thread of its own.

    Subclass it, declare state with `field`, resources with `private`, and write
    the hooks that you need; all may raise::

        class Poller(Component):
            url: str = field()
            seen: int = field(default=0)

            def start(self) -> None:
                while not self.stopping.wait(1.0):
                    with self.edit():
                        self.seen += poll(self.url)

    Hooks, in order: `pre_init`, `init`, `post_init`, `pre_start`, `start`; on
    the way down `stop`, `tear_down`. A restart runs `stop`, `pre_start` and
    `start` on the same object; what `init` opened stays open.

    Args (all by keyword):
        name: Letters, digits and ``. _ ~ -``; unique in its container.
        restart: What follows when it ends; see `Restart`.
        start_deadline: Seconds that each stage on the way up may take.
        stop_deadline: Seconds that each stage on the way down may take, and for
            which messages accepted before are still handled.
        stall_after: A handler that takes more seconds is reported as stalled.
        mailbox_bound: As many messages may wait.
        overflow: What a full mailbox does: ``refuse``, ``wait``, ``drop-oldest``.
        on_stop: What happens to waiting messages: ``drain`` handles them until the
            stop deadline, ``refuse`` answers them with `ComponentStoppedError`.
        dispatch: ``mailbox``, or ``caller``: an idle component's messages run in
            the sender's thread (fast; no timeout once begun, no thread affinity).

    A subclass gives any of these another default by assigning it in its body:
    ``restart = Restart(when="always")``.
    """

    background: ClassVar[bool] = False
    """Whether it only serves others: a program of such components has finished."""

    scheduling: ClassVar[Literal["batch", "normal"]] = "batch"
    """
    How the system schedules the thread that handles the messages, on Linux.

    ``batch``: a message that wakes it up does not interrupt its sender; that saves
    a third of the time. Where there is more to do than processors, it may have to
    wait some milliseconds for its turn. ``normal``: as all other threads.
    """

    name: str = setting()
    restart: Restart = setting(default=Restart())
    start_deadline: float = setting(default=START_DEADLINE)
    stop_deadline: float = setting(default=STOP_DEADLINE)
    stall_after: float = setting(default=STALL_AFTER)
    mailbox_bound: int = setting(default=MAILBOX_BOUND)
    overflow: Literal["refuse", "wait", "drop-oldest"] = setting(default="refuse")
    on_stop: Literal["drain", "refuse"] = setting(default="drain")
    dispatch: Literal["mailbox", "caller"] = setting(default="mailbox")

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        check_handlers(cls)

    # -- hooks: all optional, all may raise ------------------------------------

    def pre_init(self) -> None:
        """Prepare; on the component's thread, before `init`."""

    def init(self) -> None:
        """Take resources, once; handlers run on this same thread."""

    def post_init(self) -> None:
        """Finish the preparation, after `init`."""

    def pre_start(self) -> None:
        """Make ready for a run; before each `start`, also after a restart."""

    def start(self) -> None:
        """
        Run: return at once, or be the component's loop until asked to stop.

        A loop waits on `stopping`. The component is STARTED once this returned,
        first touched `stopping`, or called `ready`.
        """

    def stop(self) -> None:
        """
        Ask a blocking `start` to return, when watching `stopping` is not enough.

        It runs on the thread that handles messages, never beside a handler.
        """

    def tear_down(self) -> None:
        """Give resources back; exactly once, also after a failed `init`."""

    def restart_after(self, outcome: Outcome) -> float | None:
        """
        Return the seconds to wait before a restart, or None for no restart.

        Override it to decide instead of the `restart` policy, whose limit holds
        all the same. It is asked when `pre_start` or `start` has raised, on the
        component's thread; if it raises itself, the policy decides.
        """
        raise StageError("restart_after is only asked when a subclass overrides it")

    # -- what a component may ask ----------------------------------------------

    @property
    def path(self) -> str:
        """Where it is in the tree: ``/app/shop/stock``."""
        return self._life.path

    @property
    def log(self) -> logging.LoggerAdapter[logging.Logger]:
        """A logger whose every line carries the path."""
        return self._life.log

    @property
    def stopping(self) -> Event:
        """
        An event that is set when the component should stop.

        Touching it inside `start` says that the component works: it is STARTED.
        """
        return self._life.stopping

    @property
    def ref(self) -> Ref[Self]:
        """The `Ref` to this component, to hand to others."""
        ref: Ref[Self] = self._life.ref
        return ref

    @property
    def container(self) -> ContainerRef[Any]:
        """The `ContainerRef` of the container it is in: ``self.container.add(…)``."""
        container: ContainerRef[Any] = self._life.container
        return container

    @property
    def time_left(self) -> float | None:
        """Seconds that the sender of the message being handled still waits."""
        return self._life.time_left

    def ready(self) -> None:
        """Say from inside `start` that the component works: it is STARTED."""
        self._life.ready()

    def finish(self) -> None:
        """Say that the component's work is done: it is stopped, as finished."""
        self._life.finish()

    def edit(self, timeout: float | None = None) -> AbstractContextManager[None]:
        """
        Have the state to oneself for the block; one change at its end.

        A blocking `start` changes state in it. Handlers and the other hooks have
        the component to themselves anyway; there it costs nothing.

        Args:
            timeout: Seconds to wait for a running handler; None: as long as it
                takes.

        Raises:
            WaitTimeoutError: A handler ran for longer.
        """
        return self._life.edit(timeout)

    def find(self, path: str) -> Any:
        """
        Return the `Ref` at *path*: ``/app/db``, or ``db`` for a sibling.

        Raises:
            ComponentNotFoundError: There is none; it names the nearest.
        """
        return self._life.find(path)

    def after(self, seconds: float, message: object) -> Scheduled:
        """Post *message* to this component in *seconds*; ends with the component."""
        return self._life.after(seconds, message)

    def every(self, seconds: float, message: object) -> Scheduled:
        """Post *message* to this component every *seconds*, without drift."""
        return self._life.every(seconds, message)

    def set_handler(self, kind: type, function: Callable[[Any], object]) -> None:
        """
        Handle messages of class *kind* with *function* from now on.

        Raises:
            DeclarationError: It is a coroutine function or a generator, of which a
                call would run nothing.
        """
        self._life.set_handler(kind, function)

    @property
    def _life(self) -> Life:
        """What carries this component, or an error that says that nothing does."""
        life: Life | None = getattr(self, "_kinesis", None)
        if life is None:
            raise StageError(
                f"{self!r} is not in a runtime yet: there is nothing to ask. "
                f"Add it to a container first."
            )
        return life

    def __repr__(self) -> str:
        life: Life | None = getattr(self, "_kinesis", None)
        where = life.path if life is not None else getattr(self, "name", "?")
        return f"<{type(self).__name__} {where}>"


BASE_HOOKS: MutableMapping[str, object] = {
    name: getattr(Component, name)
    for name in (
        "pre_init",
        "init",
        "post_init",
        "pre_start",
        "start",
        "stop",
        "tear_down",
        "restart_after",
    )
}


@cache
def overridden_hooks(cls: type) -> frozenset[str]:
    """Return the names of the hooks that *cls* has code for."""
    return frozenset(
        name for name, base in BASE_HOOKS.items() if getattr(cls, name) is not base
    )


@cache
def handles_messages(cls: type) -> bool:
    """Return whether *cls* has a handler for any message."""
    return bool(handlers_of(cls)) or hasattr(cls, "default_handler")


def check_settings(component: Component, path: str) -> None:
    """
    Refuse settings that cannot work.

    Raises:
        DeclarationError: The first of them, with what it may be.
    """
    cls = type(component)
    settings = _settings_of(component)
    if _checked.get(cls) == settings:  # as they nearly always are
        return
    for name, choices in _CHOICES.items():
        value = getattr(component, name)
        if value not in choices:
            raise _wrong(path, name, value, "one of " + ", ".join(map(repr, choices)))
    for name in ("start_deadline", "stop_deadline", "stall_after"):
        value = getattr(component, name)
        if not is_seconds(value):
            raise _wrong(path, name, value, "a number of seconds")
    bound: object = component.mailbox_bound
    if not isinstance(bound, int) or bound < 1:
        raise _wrong(path, "mailbox_bound", bound, "a whole number above 0")
    policy: object = component.restart
    if not isinstance(policy, Restart):
        raise _wrong(path, "restart", policy, "a Restart(...)")
    _checked[cls] = settings


def is_seconds(value: object) -> bool:
    """Return whether it can be a time to wait: 0 or more, infinite too, not NaN."""
    try:
        return isinstance(value, int | float) and float(value) >= 0
    except OverflowError:  # a whole number beyond any float
        return False


_settings_of = attrgetter(
    "overflow",
    "on_stop",
    "dispatch",
    "start_deadline",
    "stop_deadline",
    "stall_after",
    "mailbox_bound",
    "restart",
)
_checked: WeakKeyDictionary[type, tuple[object, ...]] = WeakKeyDictionary()
"""By class, the settings that were found to be good last."""

_CHOICES = {
    "overflow": ("refuse", "wait", "drop-oldest"),
    "on_stop": ("drain", "refuse"),
    "dispatch": ("mailbox", "caller"),
    "scheduling": ("batch", "normal"),
}


def _wrong(path: str, name: str, value: object, expected: str) -> DeclarationError:
    """Say what a setting should be."""
    return DeclarationError(
        f"'{path}' cannot have {name}={value!r}: it must be {expected}.",
        path=path,
        name=name,
        value=value,
    )


def check_name(name: object) -> str:
    """
    Return *name* if a component may have it.

    Raises:
        InvalidNameError: It is empty, or has characters that are not allowed.
    """
    if not isinstance(name, str) or not name or not NAME_CHARACTERS.issuperset(name):
        raise InvalidNameError(
            f"{name!r} cannot be a component's name: it must be letters, digits, "
            f"'.', '_', '~' and '-' only, and not empty.",
            name=name,
        )
    if name in {".", "..", "-"}:
        raise InvalidNameError(
            f"{name!r} cannot be a component's name: paths give it a meaning.",
            name=name,
        )
    return name
