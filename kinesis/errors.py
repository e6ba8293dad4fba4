"""
What can go wrong, as one tree::

    KinesisError
    ├── your move
    │   ├── DeclarationError (TypeError)        a component class is written wrong
    │   ├── ComponentCopyError (TypeError)      a component was copied or pickled
    │   ├── InvalidNameError (ValueError)       a name that paths cannot have
    │   ├── DuplicateNameError (ValueError)     the container has a child of that name
    │   ├── ComponentNotFoundError (KeyError)   nothing at that path
    │   ├── StageError (RuntimeError)           the stage does not accept that event
    │   ├── UnhandledMessageError (TypeError)   no handler for that type of message
    │   ├── WouldDeadlockError (RuntimeError)   the wait would wait for itself
    │   ├── ETagMismatchError (RuntimeError)    somebody else changed the state first
    │   ├── InvalidStateError (ValueError)      values that do not fit the fields' types
    │   ├── ConfigError (ValueError)            a file with faults, all of them listed
    │   ├── ListenError (OSError)               the address cannot be listened on
    │   ├── TokenMissingError (PermissionError) that address needs a token
    │   └── ForkedError (RuntimeError)          a runtime used in a forked child
    ├── gone
    │   ├── ActivationError (RuntimeError)      it never reached STARTED
    │   ├── ComponentStoppedError (RuntimeError)  it stopped before it could answer
    │   ├── ContainerStoppingError (RuntimeError) no more adds: the container stops
    │   └── PeerMessagingDisabledError (RuntimeError) it does not talk to siblings now
    ├── busy
    │   ├── MailboxFullError (RuntimeError)     the bound is reached
    │   └── TooManyReadersError (RuntimeError)  no place for another event reader
    ├── late
    │   ├── DeadlineError (TimeoutError)        a hook outlived its deadline
    │   ├── ReplyTimeoutError (TimeoutError)    no answer in time
    │   ├── WaitTimeoutError (TimeoutError)     a stage was not reached in time
    │   └── HungError (TimeoutError)            the stop ended, but these still run
    └── ours
        └── InternalError (RuntimeError)        a bug in kinesis: please report it

Each message says what happened, to which path, and what to do; the parts it is
made of are attributes too.
"""

from __future__ import annotations

from collections.abc import Iterable


class KinesisError(Exception):
    """The root of every error that kinesis raises on purpose."""

    def __init__(self, message: str = "", **parts: object) -> None:
        super().__init__(message)
        self.message = message
        self.__dict__.update(parts)

    def __str__(self) -> str:  # KeyError, a base of some, would print the repr
        return self.message

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (type(self), self.message, dict(self.__dict__)))


def _rebuild(
    kind: type[KinesisError], message: str, parts: dict[str, object]
) -> KinesisError:
    """Make a copied or unpickled error from the *parts* of the original."""
    error = kind.__new__(kind, message)
    KinesisError.__init__(error, **{"message": message, **parts})  # type: ignore[arg-type]  # parts are attributes of any type
    return error


class DeclarationError(KinesisError, TypeError):
    """A component class is written in a way that cannot work."""


class ComponentCopyError(KinesisError, TypeError):
    """A live component was copied or pickled; only its state can be."""


class InvalidNameError(KinesisError, ValueError):
    """A component's name is empty or has characters that a path cannot have."""

    name: str


class DuplicateNameError(KinesisError, ValueError):
    """The container already has a child of that name."""

    path: str
    name: str


class ComponentNotFoundError(KinesisError, KeyError):
    """There is no component at that path."""

    path: str
    name: str
    choices: tuple[str, ...]

    @classmethod
    def at(cls, path: str, name: str, choices: Iterable[str]) -> ComponentNotFoundError:
        """Say that the container at *path* has no child *name*, and what it has."""
        choices = tuple(choices)
        hint = did_you_mean(name, choices)
        children = ", ".join(sorted(choices)[:20]) or "none"
        if len(choices) > 20:
            children += f" and {len(choices) - 20} more"
        full = f"{path.rstrip('/')}/{name}"
        return cls(
            f"no component '{full}' in '{path}'.{hint} Children: {children}.",
            path=path,
            name=name,
            choices=choices,
        )


class StageError(KinesisError, RuntimeError):
    """The component's stage does not accept that event."""

    path: str
    stage: object
    event: object


class UnhandledMessageError(KinesisError, TypeError):
    """The component has no handler for that type of message."""

    path: str
    handled: tuple[type, ...]


class WouldDeadlockError(KinesisError, RuntimeError):
    """The wait was refused: what it waits for already waits for the caller."""

    chain: tuple[str, ...]


class ETagMismatchError(KinesisError, RuntimeError):
    """The state has changed since the ETag was read; nothing was changed."""

    path: str
    expected: str
    current: str


class InvalidStateError(KinesisError, ValueError):
    """Values do not fit the fields' types; *faults* names every one."""

    path: str
    faults: tuple[str, ...]


class ConfigError(KinesisError, ValueError):
    """A file has faults; the message lists all of them, a line each."""

    faults: tuple[object, ...]


class ListenError(KinesisError, OSError):
    """The HTTP server cannot have that address, or use that certificate."""

    host: str
    port: int


class TokenMissingError(KinesisError, PermissionError):
    """HTTP on an address that others reach, without a token to keep them out."""

    host: str


class ForkedError(KinesisError, RuntimeError):
    """A runtime was used in a forked child, which has none of its threads."""


class ActivationError(KinesisError, RuntimeError):
    """
    A component did not reach STARTED.

    The hook's own exception is the ``__cause__``.
    """

    path: str
    stage: object
    hook: str | None


class ComponentStoppedError(KinesisError, RuntimeError):
    """The component stopped before it could do that."""

    path: str


class ContainerStoppingError(KinesisError, RuntimeError):
    """The container is stopping, or stopped, and takes no more components."""

    path: str


class PeerMessagingDisabledError(KinesisError, RuntimeError):
    """The component does not take messages from its siblings now."""

    path: str


class MailboxFullError(KinesisError, RuntimeError):
    """The mailbox holds as many messages as it may."""

    path: str
    bound: int


class TooManyReadersError(KinesisError, RuntimeError):
    """The event hub has as many readers as it may."""

    most: int


class DeadlineError(KinesisError, TimeoutError):
    """A hook outlived its deadline and was abandoned; *stack* is where it stuck."""

    path: str
    hook: str
    stack: str


class ReplyTimeoutError(KinesisError, TimeoutError):
    """No answer in time; *began* says whether the message was already running."""

    path: str
    began: bool


class WaitTimeoutError(KinesisError, TimeoutError):
    """The component did not reach the stage in time."""

    path: str
    stage: object


class HungError(KinesisError, TimeoutError):
    """The runtime has stopped, but code of these components still runs."""

    paths: tuple[str, ...]


class InternalError(KinesisError, RuntimeError):
    """A promise inside kinesis was broken. Please report it."""


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """Return `` Did you mean 'db'?`` for the nearest of *choices*, or nothing."""
    from difflib import get_close_matches  # lazy: only errors need it

    near = get_close_matches(word, list(choices), n=1, cutoff=0.6)
    return f" Did you mean '{near[0]}'?" if near else ""


def describe(error: BaseException | None) -> str:
    """
    Return ``ValueError: no such port`` for *error*, whatever it is made of.

    Safe for exceptions whose ``__str__`` raises: they are described by type.
    """
    if error is None:
        return "nothing"
    kind = type(error).__name__
    try:
        text = str(error)
    except BaseException as second:  # a __str__ that raises must not stop a report
        return f"{kind} (its __str__ raised {type(second).__name__})"
    return f"{kind}: {text}" if text else kind
