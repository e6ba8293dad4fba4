"""
Threads, locks, queues and clocks: the one place that makes them.

Everything above receives a `Threads` and asks it. So a whole program can run
under another implementation, such as the seeded simulation in
`kinesis.testing`, and the real one, `SystemThreads`, adds nothing on the hot
path: it hands out the standard library's own objects.

Parked threads: `Threads.fresh` runs a job on a thread whose stack is empty. A
thread that has finished such a job parks, and takes a later one; it leaves
after ten idle seconds. (Thread reuse as in trio's thread cache: a new thread
costs some 100 µs and a context switch, a parked one the switch alone.)

New threads: `threading.Thread.start` sleeps until the thread has begun. Nobody here
needs that, and it is two context switches for each component: see `_Thread`.
"""

from __future__ import annotations

from kinesis.concurrency.protocols import (
    Event,
    Lock,
    OnCrash,
    Queue,
    Thread,
    Threads,
)
from kinesis.concurrency.system import FOREVER, Empty, SystemThreads

__all__ = [
    "FOREVER",
    "Empty",
    "Event",
    "Lock",
    "OnCrash",
    "Queue",
    "SystemThreads",
    "Thread",
    "Threads",
]
