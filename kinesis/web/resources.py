"""
Components as resources: looked at, changed, sent messages, stopped and removed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import attrs

from kinesis.cells import Cell
from kinesis.container import ref_of
from kinesis.errors import ETagMismatchError, StageError
from kinesis.errors import WaitTimeoutError as TooLate
from kinesis.handlers import Update
from kinesis.snapshots import codec_of
from kinesis.stages import Stage
from kinesis.supervision import Wish
from kinesis.web.answers import JSON, Answer, Problem, encode, json_answer
from kinesis.web.bodies import (
    MERGE_PATCH,
    checked,
    invalid,
    merged_fields,
    read_json,
    read_message,
    replacement,
)
from kinesis.web.calls import GONE
from kinesis.web.conditions import is_unchanged, may_change, mismatch
from kinesis.web.representation import (
    LOOK_TIMEOUT,
    line_of,
    represent,
    shown_besides,
)
from kinesis.web.routes import path_of
from kinesis.web.tags import json_of, tag_for, tag_of

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

    from kinesis.handlers import Handlers
    from kinesis.serving import Serving

SEND_TIMEOUT = 5.0  # seconds for a message and its handler
STEER_TIMEOUT = 20.0  # seconds for a stop, start, restart or removal

STEERING: Mapping[str, Wish] = {
    "restart": Wish.RESTART,
    "start": Wish.START,
    "stop": Wish.STOP,
}


@attrs.define(eq=False)
class Resource:
    """
    One component as a resource, for one request.

    Args:
        cell: Where the component is.
        environ: Of the request.
        carrier: The component that the server is, which cannot stop itself.
    """

    cell: Cell
    environ: WSGIEnvironment
    carrier: Cell | None = None

    # -- the component itself ---------------------------------------------------

    def methods(self) -> Methods:
        """Return what answers each method; nobody removes the root."""
        return _METHODS if self.cell.parent is not None else _METHODS_OF_ROOT

    def get(self) -> Answer:
        """Show the state; 304 if the client has it."""
        if self.cell.stage is Stage.TORN_DOWN and is_removed(self.cell):
            raise Problem(404, f"'{self.cell.path}' has been removed.")
        snapshot, etag, body = represent(self.cell)
        headers = [("ETag", f'"{etag}"'), ("Cache-Control", "no-cache")]
        if is_unchanged(self.environ.get("HTTP_IF_NONE_MATCH"), etag):
            return Answer(304, b"", headers)
        headers.append(("Content-Type", JSON))
        return Answer(200, body(), headers)

    def put(self) -> Answer:
        """Set all fields."""
        return self._change(replacement, (JSON,), whole=True)

    def patch(self) -> Answer:
        """Set some fields: a merge patch."""
        return self._change(merged_fields, (MERGE_PATCH, JSON), whole=False)

    def _change(
        self, read: Callable[..., Any], accept: tuple[str, ...], *, whole: bool
    ) -> Answer:
        """Set the fields that are sent, if the client has seen the state of now."""
        cell = self.cell
        data = read_json(self.environ, accept=accept)
        snapshot = ref_of(cell).snapshot(LOOK_TIMEOUT)
        seen = may_change(self.environ.get("HTTP_IF_MATCH"), tag_of(snapshot))
        besides = shown_besides(cell)
        codec = codec_of(type(cell.component))
        values = read(data, snapshot, codec.secret, besides)
        values, faults = checked(codec, values, whole=whole, besides=besides)
        if faults:
            detail = f"these values do not fit '{cell.path}'. Nothing was changed."
            raise invalid(detail, faults)
        self._check_up()
        try:
            after: Any = self._deliver(Update(values, seen and snapshot.etag))
        except ETagMismatchError as error:
            raise mismatch(tag_for(codec, error.current)) from error
        return json_answer(json_of(after), headers=[("ETag", f'"{tag_of(after)}"')])

    def _check_up(self) -> None:
        """Refuse what nobody serves any more."""
        cell = self.cell
        if cell.stage is Stage.TORN_DOWN:
            raise Problem(404, f"'{cell.path}' has ended: nothing reaches it any more.")
        if cell.stage is Stage.STOPPED:
            detail = f"'{cell.path}' is stopped. Start it first."
            raise Problem(503, detail, [("Retry-After", "1")])

    def delete(self) -> Answer:
        """Stop the component and remove it."""
        return self._steer(Wish.REMOVE)

    # -- below /-/ ----------------------------------------------------------------

    def methods_below(self, parts: list[str]) -> Methods:
        """
        Return what answers each method at the path ``-/`` and *parts*.

        Raises:
            Problem: 404.
        """
        match parts:
            case ["messages"]:
                return {"GET": Resource.list_messages, "HEAD": Resource.list_messages}
            case ["messages", name]:
                return {"POST": lambda resource: resource.send(name)}
            case [word] if word in STEERING and self.cell.parent is not None:
                return {"POST": lambda resource: resource._steer(STEERING[word])}
        raise Problem(404, f"nothing is at '-/{'/'.join(parts)}' of a component.")

    def list_messages(self) -> Answer:
        """Name the messages that the component handles."""
        base = path_of(self.cell)
        names = [
            {"name": name, "href": f"{base}/-/messages/{name}"}
            for name in message_types(self.cell)
        ]
        return json_answer({"path": base, "messages": names})

    def send(self, name: str) -> Answer:
        """Send a message; answer with its handler's reply."""
        cell = self.cell
        known = message_types(cell)
        kind = known.get(name)
        if kind is None:
            names = ", ".join(known) or "none"
            raise Problem(
                404, f"'{cell.path}' handles no message '{name}'. Messages: {names}."
            )
        message = read_message(kind, read_json(self.environ))
        self._check_up()
        reply = self._deliver(message)
        try:
            return json_answer(encode(reply))
        except (TypeError, ValueError, RecursionError) as error:
            raise TypeError(
                f"{name} was handled, but its reply has no form in JSON: {error}"
            ) from error

    def _deliver(self, message: object) -> object:
        """Send *message* and return the reply; the trace of the request goes along."""
        mailbox = self._serving().mailbox
        return mailbox.send(message, SEND_TIMEOUT, waiter=self)

    def _serving(self) -> Serving:
        """Return what handles messages."""
        if self.cell.serving is None:
            raise Problem(
                503, f"'{self.cell.path}' has not begun.", [("Retry-After", "1")]
            )
        return self.cell.serving

    def _steer(self, wish: Wish) -> Answer:
        """Have the container do something with the component."""
        cell = self.cell
        self._check_steering(wish)
        if wish is Wish.REMOVE and "HTTP_IF_MATCH" in self.environ:
            snapshot = ref_of(cell).snapshot(LOOK_TIMEOUT)
            may_change(self.environ["HTTP_IF_MATCH"], tag_of(snapshot))
        try:
            ref_of(cell)._ask(wish, STEER_TIMEOUT)
        except TooLate:
            return json_answer({**line_of(cell), "asked": wish.value}, 202)
        except StageError as error:
            raise Problem(409, error.message) from error
        if wish is Wish.REMOVE:
            return Answer(204)
        return json_answer({**line_of(cell), "asked": wish.value})

    def _check_steering(self, wish: Wish) -> None:
        """Refuse what could only be waited for in vain."""
        cell, above = self.cell, self.cell.parent
        if self._carries_us():
            raise Problem(
                409,
                f"this server is part of '{cell.path}', and would have to wait for "
                f"its own end. Stop the runtime instead.",
            )
        comes_up = wish in {Wish.START, Wish.RESTART}
        if comes_up and above is not None and above.stage in GONE:
            raise Problem(409, f"'{above.path}' is {above.stage}: start that first.")

    def _carries_us(self) -> bool:
        """Whether the server is this component, or in it."""
        above = self.carrier
        while above is not None and above is not self.cell:
            above = above.parent
        return above is not None


Methods = Mapping[str, Callable[[Resource], Answer]]

_METHODS_OF_ROOT: Methods = {
    "GET": Resource.get,
    "HEAD": Resource.get,
    "PUT": Resource.put,
    "PATCH": Resource.patch,
}
_METHODS: Methods = {**_METHODS_OF_ROOT, "DELETE": Resource.delete}


def is_removed(cell: Cell) -> bool:
    """Whether a component that has ended is a child no more, or in a moment."""
    supervisor = cell.supervised_by
    child = supervisor.books.child_of(cell) if supervisor is not None else None
    return supervisor is not None and (child is None or child.removing)


def message_types(cell: Cell) -> Mapping[str, type]:
    """Return the classes of messages that a component handles, by name."""
    serving = cell.serving
    if serving is None:
        return {}
    handlers: Handlers = serving.handlers
    known: dict[str, type] = {}
    for kind in handlers.types:
        known.setdefault(kind.__name__, kind)
    return known
