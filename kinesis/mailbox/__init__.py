"""
The mailbox of a component: bounded, a control lane, and an answer for everything.

`envelopes`: a message on its way, and who may answer it. `lanes`: what waits, and
who takes it. `tally`: what is counted. `door`: what is let in, and the end. `box`:
what senders do. `overdue`: who ends their long waits. `refusals`: what they are told.
"""

from kinesis.mailbox.box import Mailbox
from kinesis.mailbox.door import Overflow
from kinesis.mailbox.envelopes import Asked, Envelope, Pending
from kinesis.mailbox.overdue import Overdue
from kinesis.mailbox.refusals import what
from kinesis.mailbox.tally import LATENCY_BOUNDS, Counts, Tally

__all__ = [
    "LATENCY_BOUNDS",
    "Asked",
    "Counts",
    "Envelope",
    "Mailbox",
    "Overdue",
    "Overflow",
    "Pending",
    "Tally",
    "what",
]
