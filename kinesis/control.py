"""
Control messages: they steer a component, and pass ahead of what waits.

Send them like any message (``ref.send(control.Restart())``). Their reply is
None, and comes once the order is accepted, not once it has been carried out:
wait with `Ref.wait_for`. Also written ``ref.restart()``, ``ref.stop()``, which
do wait.
"""

from __future__ import annotations

from typing import Any

import attrs

from kinesis.messages import Message


class Control(Message[None]):
    """The base of every control message."""

    __slots__ = ()


@attrs.frozen
class Restart(Control):
    """End this run of the component and begin another one."""


@attrs.frozen
class RestartAfter(Control):
    """Restart in so many *seconds*, unless cancelled."""

    seconds: float


@attrs.frozen
class Shutdown(Control):
    """Stop the component; it stays in its container, STOPPED."""


@attrs.frozen
class ShutdownAfter(Control):
    """Stop the component in so many *seconds*, unless cancelled."""

    seconds: float


@attrs.frozen
class Cancel(Control):
    """Forget the restart or shutdown that is scheduled, if one is."""


@attrs.frozen
class CancelAfter(Control):
    """Cancel, in so many *seconds*, what is scheduled then."""

    seconds: float


@attrs.frozen
class RestartMailbox(Control):
    """Go on with message handling on a fresh loop; nothing accepted is lost."""


@attrs.frozen
class Persist(Control):
    """Ask the store to keep the component's state now."""


@attrs.frozen
class NotifyPeers(Control):
    """Post *message* to every sibling that takes peer messages."""

    message: Any


@attrs.frozen
class EnablePeerMessaging(Control):
    """Take messages from siblings again."""


@attrs.frozen
class DisablePeerMessaging(Control):
    """Refuse messages from siblings; others, and control messages, still pass."""
