"""
What the runtime says of itself, under ``/-/``.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import attrs

from kinesis.cells import Cell
from kinesis.stages import Stage
from kinesis.supervision import Status
from kinesis.web.answers import Answer, Problem, json_answer
from kinesis.web.resources import message_types
from kinesis.web.routes import ExtraRoutes, children_of, is_up, path_of, table_of

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

THREAD_PREFIX = "kinesis:"
STACK_DEPTH = 100  # frames of a thread that are shown, the innermost

Page = Callable[["WSGIEnvironment"], Answer]


@attrs.define(eq=False)
class Admin:
    """
    The pages about the whole runtime.

    Args:
        root: The tree.
        extra: The routes of no component.
    """

    root: Cell
    extra: ExtraRoutes

    def pages(self) -> dict[str, Page]:
        """Return what answers a GET, by path."""
        return {
            "/": self.index,
            "/-/live": self.live,
            "/-/ready": self.ready,
            "/-/tree": self.tree,
            "/-/routes": self.routes,
            "/-/threads": self.threads,
        }

    def index(self, environ: WSGIEnvironment) -> Answer:
        """Say where everything is."""
        links = {"root": path_of(self.root)}
        links |= {path.rpartition("/")[2]: path for path in self.pages() if path != "/"}
        return json_answer({"name": self.root.name, "links": links})

    def live(self, environ: WSGIEnvironment) -> Answer:
        """The process answers: that is all."""
        return json_answer({"live": True})

    def ready(self, environ: WSGIEnvironment) -> Answer:
        """Whether every component is up; else which are not."""
        if self.root.services.doors.stopping:
            raise not_ready("the runtime stops.", [])
        late = list(not_up(self.root))
        if late:
            names = ", ".join(cell.path for cell in late[:20])
            more = f" and {len(late) - 20} more" if len(late) > 20 else ""
            raise not_ready(
                f"not STARTED: {names}{more}.",
                [
                    {
                        "path": path_of(cell),
                        "stage": cell.stage.value,
                        "status": cell.status(),
                    }
                    for cell in late
                ],
            )
        return json_answer({"ready": True})

    def tree(self, environ: WSGIEnvironment) -> Answer:
        """Show all components, each with those in it."""
        return json_answer(branch(self.root))

    def routes(self, environ: WSGIEnvironment) -> Answer:
        """List the routes that are mounted now."""
        return json_answer({"routes": list(all_routes(self.root, self.extra))})

    def threads(self, environ: WSGIEnvironment) -> Answer:
        """Show the stack of every thread, by component."""
        return json_answer(threads_by_component(self.root))


def not_ready(detail: str, late: list[dict[str, Any]]) -> Problem:
    """Return the problem that says so, to load balancers by its status."""
    return Problem(503, detail, [("Retry-After", "1")], ready=False, components=late)


def not_up(root: Cell) -> Iterator[Cell]:
    """Yield the components that should be STARTED and are not."""
    if root.stage is not Stage.STARTED:
        yield root
    supervisor = root.supervisor
    for child in supervisor.books.in_order() if supervisor is not None else ():
        done = child.finished and child.status is Status.ENDED
        if not done:
            yield from not_up(child.cell)


def branch(cell: Cell) -> dict[str, Any]:
    """Return a component, and those in it, for people and programs."""
    shown: dict[str, Any] = {
        "name": cell.name,
        "path": path_of(cell),
        "type": type(cell.component).__name__,
        "stage": cell.stage.value,
        "state": cell.stage.state.value,
        "status": cell.status(),
        "run": cell.run,
        "restarts": cell.restarts,
        "failures": cell.failures,
    }
    if cell.supervisor is not None:
        shown["children"] = [branch(child) for child in children_of(cell)]
    return shown


def all_routes(root: Cell, extra: ExtraRoutes) -> Iterator[dict[str, Any]]:
    """Yield every route that answers now: of the components, then the others."""
    yield from _routes_below(root)
    for endpoint in extra.endpoints():
        yield {
            "path": endpoint.prefix + endpoint.route.rule,
            "methods": sorted(endpoint.route.methods),
            "component": None,
            "name": endpoint.route.name,
        }


def _routes_below(cell: Cell) -> Iterator[dict[str, Any]]:
    """Yield the routes of a component, and of those in it."""
    path, name = path_of(cell), cell.path
    methods = ["GET", "PATCH", "PUT"]
    if cell.parent is not None:
        methods.insert(0, "DELETE")
    yield {"path": path, "methods": methods, "component": name, "name": None}
    for message in message_types(cell):
        yield {
            "path": f"{path}/-/messages/{message}",
            "methods": ["POST"],
            "component": name,
            "name": message,
        }
    cls: type = type(cell.component)
    for route in table_of(cls).endpoints if is_up(cell) else ():
        yield {
            "path": path + route.route.rule,
            "methods": sorted(route.route.methods),
            "component": name,
            "name": route.route.name,
        }
    for child in children_of(cell):
        yield from _routes_below(child)


def threads_by_component(root: Cell) -> dict[str, Any]:
    """Return all threads with their stacks: by component, and the others."""
    names = root.services.threads.names()
    components: dict[str, list[dict[str, Any]]] = {}
    others: list[dict[str, Any]] = []
    for ident, frame in sys._current_frames().items():
        name = names.get(ident, f"thread {ident}")
        stack = traceback.extract_stack(frame, STACK_DEPTH)
        shown = {
            "name": name,
            "id": ident,
            "stack": [f"{f.filename}:{f.lineno} {f.name}: {f.line}" for f in stack],
        }
        path = name.removeprefix(THREAD_PREFIX).partition(" (")[0].partition(":")[0]
        if name.startswith(f"{THREAD_PREFIX}/"):
            components.setdefault(path, []).append(shown)
        else:
            others.append(shown)
    return {"components": dict(sorted(components.items())), "others": others}


def allow_of(methods: Mapping[str, object]) -> str:
    """Return the value of ``Allow``."""
    return ", ".join(sorted({*methods, "OPTIONS"}))
