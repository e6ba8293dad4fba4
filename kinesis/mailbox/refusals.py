"""
What senders are told whose message got no answer; and what a message is called.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kinesis.errors import (
    ComponentStoppedError,
    MailboxFullError,
    ReplyTimeoutError,
)

if TYPE_CHECKING:
    from kinesis.mailbox.envelopes import Envelope


def what(envelope: Envelope) -> str:
    """Name the message by its type."""
    if envelope.batch is not None:
        return f"a batch of {len(envelope.batch)}"
    return type(envelope.message).__name__


def late(envelope: Envelope, *, began: bool) -> ReplyTimeoutError:
    """Say that there was no answer in time, and what became of the message."""
    given = ""
    if envelope.deadline is not None and envelope.accepted_at is not None:
        span = envelope.deadline - envelope.accepted_at
        given = f" within {span:.3g} s" if span < 1000 else f" within {span:.0f} s"
    rest = (
        "Its handler had begun and goes on, but its answer will be thrown away."
        if began
        else "It was taken out before it ran, and never will."
    )
    return ReplyTimeoutError(
        f"'{envelope.path}' did not answer {what(envelope)}{given}. {rest}",
        path=envelope.path,
        began=began,
    )


def refused_closed(envelope: Envelope) -> ComponentStoppedError:
    """Say that the mailbox takes nothing more."""
    path = envelope.path
    return ComponentStoppedError(
        f"cannot send {what(envelope)} to '{path}': it stops or has stopped, and "
        f"takes no more messages. Start it again first, or wait for its restart. If it "
        f"was removed, find what is at its path now.",
        path=path,
    )


def left_behind(
    envelope: Envelope, cause: BaseException | None
) -> ComponentStoppedError:
    """Say that a message was accepted, but never begun."""
    path = envelope.path
    error = ComponentStoppedError(
        f"'{path}' stopped before it handled {what(envelope)}, which never ran. "
        f"Send it again once the component is started.",
        path=path,
    )
    error.__cause__ = cause
    return error


def refused_full(envelope: Envelope, bound: int) -> MailboxFullError:
    """Say that there is no room."""
    path = envelope.path
    return MailboxFullError(
        f"cannot send {what(envelope)} to '{path}': {bound} messages wait there, "
        f"as many as may. Send more slowly, give it a larger bound, or choose "
        f"overflow='wait' or 'drop-oldest'.",
        path=path,
        bound=bound,
        dropped=False,
    )


def dropped(envelope: Envelope, bound: int) -> MailboxFullError:
    """Say that a message was dropped for a newer one."""
    path = envelope.path
    return MailboxFullError(
        f"'{path}' dropped {what(envelope)}, the oldest of the {bound} messages that "
        f"may wait, for a newer one (overflow='drop-oldest').",
        path=path,
        bound=bound,
        dropped=True,
    )
