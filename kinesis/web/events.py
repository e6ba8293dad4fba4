"""
``/-/events``: the changes of all components below a path, as server-sent events.

One callback of the changes' delivery thread hands each change to the `Hub`, whose
one thread sends it to all readers. So a slow reader costs the components nothing,
and the other readers as much.

It listens from the first reader on, and for a while after the last one: who comes
back with ``Last-Event-ID`` gets what came meanwhile. Then it stops, since to
listen costs each component an encoding after each message.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import msgspec

from kinesis.cells import Cell
from kinesis.changes import Callback, ComponentChange, Gap, StageChange, StateChange
from kinesis.timers import Timer
from kinesis.web.answers import Answer, Problem
from kinesis.web.hub import Hub
from kinesis.web.routes import descend, path_of
from kinesis.web.streams import respond
from kinesis.web.tags import json_of, tag_of

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

IDLE = 60.0  # seconds that it listens at least after the last reader has left
STOP_SECONDS = 2.0

NAMES: dict[type, str] = {
    StageChange: "stage",
    StateChange: "state",
    ComponentChange: "component",
    Gap: "gap",
}


class Events:
    """
    The events of one server.

    Thread safety: any thread may call any method.
    """

    def __init__(self, root: Cell, name: str) -> None:
        services = root.services
        self._root = root
        self._services = services
        self._lock = services.threads.lock()
        self._callback: Callback | None = None
        self._timer: Timer | None = None
        self._started = False
        self._quiet = 0  # looks at the readers that found none, in a row
        self._name = f"kinesis:{name}:events"
        self.hub = self._new_hub()

    def _new_hub(self) -> Hub:
        return Hub(self._services.threads, name=self._name)

    def page(self, environ: WSGIEnvironment) -> Answer:
        """Stream the events below the ``path`` that the query names."""
        query = parse_qs(environ.get("QUERY_STRING", ""), keep_blank_values=True)
        wants = self._wants(query.get("path", ["/"])[-1])
        if environ["REQUEST_METHOD"] == "HEAD":
            return Answer(200, b"", [("Content-Type", "text/event-stream")])
        self._listen()
        after = environ.get("HTTP_LAST_EVENT_ID")
        response = respond(self.hub.open(environ, wants=wants, after=after))
        return Answer(200, b"", [], response)

    def _wants(self, path: str) -> Callable[[str], bool]:
        """Return whether a topic is at or below *path*, which must be there."""
        path = path.rstrip("/")
        if not path:
            return lambda topic: True
        parts = path.split("/")
        cell, count = descend(self._root, parts)
        if cell is None or count != len(parts):
            raise Problem(404, f"no component is at {path!r}: nothing to listen to.")
        own = path_of(cell)
        below = f"{own}/"
        return lambda topic: topic == own or topic.startswith(below)

    def stop(self) -> None:
        """End all readers, and listen no more; `page` may begin anew."""
        with self._lock:
            self._leave()
            if not self._started:
                return
            self._started = False
            hub, self.hub = self.hub, self._new_hub()
        hub.stop(STOP_SECONDS)

    # -- listening ------------------------------------------------------------------

    def _listen(self) -> None:
        """Listen from now on, unless that is so."""
        with self._lock:
            self._quiet = 0
            if not self._started:
                self._started = True
                self.hub.start()
            if self._callback is None:
                changes, timers = self._services.changes, self._services.timers
                self._callback = changes.callback("/", self._tell)
                self._timer = timers.call_later(IDLE, self._look, period=IDLE)

    def _tell(self, change: Any) -> None:
        """Publish a change; on the delivery thread."""
        self.hub.publish(
            change.path.lower(), data_of(change), event=NAMES[type(change)]
        )

    def _look(self) -> None:
        """Listen no more if nobody has read for long; on the timer thread."""
        with self._lock:
            self._quiet = 0 if self.hub.readers else self._quiet + 1
            if self._quiet > 1:
                self._leave()
                self.hub.skip()

    def _leave(self) -> None:
        """Listen no more; under the lock."""
        callback, self._callback = self._callback, None
        timer, self._timer = self._timer, None
        if callback is not None:
            callback.close()
        if timer is not None:
            timer.cancel()


def data_of(change: Any) -> str:
    """Return a change as JSON; secrets are masked."""
    told: dict[str, Any] = {"path": change.path.lower()}
    if isinstance(change, Gap):
        told["missing"] = change.count
    elif isinstance(change, ComponentChange):
        told |= {"sequence": change.sequence, "time": change.time}
        told["previous"] = {"etag": tag_of(change.previous)}
        told["current"] = msgspec.Raw(json_of(change.current))
    else:
        told |= {"sequence": change.sequence, "time": change.time}
        told |= {"previous": change.previous.value, "current": change.current.value}
    return msgspec.json.encode(told).decode()
