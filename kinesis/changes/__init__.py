"""
Who is told of changes, in which order, and what it costs.

A component announces through its `Feed`; the hub of the runtime, `Changes`, hands
each change on: first to the callbacks, one after another, then to the receivers
of the Blinker signal, then into the subscriptions. All of that happens on one
delivery thread, which starts with the first listener::

    component's threads              delivery thread
    feed.component_changed ──► queue ──► callbacks ──► signal ──► subscriptions

What holds, whatever a listener does:

- Announcing is one look at an attribute while nobody listens, else one put on a
  queue. It never waits for a listener and never raises.
- Each listener sees each component's changes in order: all that are announced
  between its coming and its `close`. Where some are missing, a `Gap` stands.
- A call that raises is counted and logged; the next change comes as usual.
- A call that outlives its deadline is logged with its stack and left behind: the
  others go on, on another thread. Until it returns, changes pass that callback
  by; then it gets a `Gap` and is called again. After the third such call it is
  closed. (A receiver of a signal alike; after the third it is disconnected.)
- The queue is bounded. Of what is announced beyond the bound only the count is
  kept, which every listener concerned gets as a `Gap`.
- A subscription that nobody reads, or refers to, costs nobody else anything.

The modules: `signals` has the values and the signals, `subscriptions` the two
kinds of listener, `feeds` the tree of paths (who is listened to), `delivery` the
threads, `telling` what happens on them, `hub` ties them together.
"""

from kinesis.changes.feeds import Feed
from kinesis.changes.hub import Changes
from kinesis.changes.signals import (
    Change,
    ChangeSignal,
    ComponentChange,
    Gap,
    StageChange,
    StateChange,
    component_changed,
    stage_changed,
    state_changed,
)
from kinesis.changes.subscriptions import Callback, Listener, Overflow, Subscription

__all__ = [
    "Callback",
    "Change",
    "ChangeSignal",
    "Changes",
    "ComponentChange",
    "Feed",
    "Gap",
    "Listener",
    "Overflow",
    "StageChange",
    "StateChange",
    "Subscription",
    "component_changed",
    "stage_changed",
    "state_changed",
]
