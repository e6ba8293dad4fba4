"""
The WSGI application over a running tree of components.

A path is looked up in this order::

    /  and  /-/…                   the runtime's own pages
    *                              with OPTIONS, the server as a whole
    a component's path             the component, as a resource
    a component's path and /-/…    its messages, restart, start and stop
    below a component's path       its routes; the longest prefix that has one
    the rest                       routes of `add_route`
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Collection, Iterable, Mapping
from contextvars import Context
from typing import TYPE_CHECKING, Any

from werkzeug.exceptions import HTTPException

from kinesis.cells import Cell
from kinesis.errors import did_you_mean
from kinesis.routing import METHODS, Route
from kinesis.services import report
from kinesis.traces import TRACE, Trace
from kinesis.web import tracing
from kinesis.web.admin import Admin, Page, allow_of
from kinesis.web.answers import (
    Answer,
    Problem,
    answer_of,
    answer_of_exception,
    emit,
    problem,
)
from kinesis.web.calls import busy, run_alone, run_beside
from kinesis.web.channels import TRACE_KEY
from kinesis.web.events import Events
from kinesis.web.metrics import Metrics
from kinesis.web.openapi import OpenAPI
from kinesis.web.parsing import fault_of_path
from kinesis.web.resources import Methods, Resource
from kinesis.web.routes import (
    Endpoint,
    ExtraRoutes,
    Found,
    descend,
    path_of,
    split_rule,
    table_of,
)
from kinesis.web.security import PROBES, SAFE, Guard
from kinesis.web.server import Load
from kinesis.web.tally import NOWHERE, Tally

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

MOST_CHOICES = 1_000  # children that a 404 compares names with

ROUTE_KEY = "kinesis.route"  # where in the environ stands what it is counted as

NO_CHANGE = frozenset({"GET", "HEAD"})


class Application:
    """
    Answers requests about the components below *root*.

    Args:
        root: The root of the tree, or of the part of it that is served.
        guard: Says who may ask for what; by default, as on loopback.
        carrier: The component that the server is, if it is one.

    Thread safety: any thread may call any method; requests are answered on
    several at once, and take no lock but the turn of the component whose route
    they call.
    """

    def __init__(
        self, root: Cell, *, guard: Guard | None = None, carrier: Cell | None = None
    ) -> None:
        self.root = root
        self.guard = Guard() if guard is None else guard
        self.carrier = carrier
        self.extra = ExtraRoutes(root.services.threads)
        self.tally = Tally(root.services.threads)
        where = root if carrier is None else carrier
        self.events = Events(root, where.path)
        self.load: Callable[[], Load] = Load  # of the server, once there is one
        self.pages: dict[str, Page] = {
            **Admin(root, self.extra).pages(),
            "/-/events": self.events.page,
            "/-/metrics": Metrics(
                root, self.tally, lambda: self.load(), lambda: self.events.hub.readers
            ).page,
        }
        self.sensitive = {"/-/threads"}
        self.pages["/-/openapi.json"] = OpenAPI(
            root, self.extra, lambda: self.guard, self.pages, self.sensitive
        ).page
        self._now = root.services.threads.monotonic

    # -- routes of no component ---------------------------------------------------

    def add_route(
        self,
        rule: str,
        function: Callable[..., object],
        *,
        methods: Collection[str] = ("GET",),
        public: bool = False,
    ) -> None:
        """
        Have *function* answer at *rule*, from now on, while requests are served.

        It is called with the request and the rule's variables by name; its result
        is the answer, as of `kinesis.route`. What is at a component's own path, or
        is a route below a longer one, goes before.

        Args:
            rule: A whole path in Werkzeug's syntax: ``/hooks/<name>``.
            public: Neither a token, nor the origin, nor the host is looked at.

        Raises:
            DuplicateNameError: There is a route with that rule and method.
            ValueError: The rule is below ``/-/``, or no rule.
        """
        if not rule.startswith("/") or rule == "/" or f"{rule}/".startswith("/-/"):
            raise ValueError(
                f"{rule!r} is no rule: it is a path, neither '/' nor below '/-/'."
            )
        wanted = tuple(method.upper() for method in methods)
        if not wanted or not METHODS.issuperset(wanted):
            raise ValueError(f"{methods!r} are not methods of HTTP.")
        prefix, below = split_rule(rule)
        name = getattr(function, "__name__", repr(function))
        route = Route(name, below, wanted, alone=False, public=public)
        self.extra.add(Endpoint(route, function, prefix, prefix + below))

    def remove_route(self, rule: str) -> None:
        """
        Have nothing answer at *rule* any more; those being answered are.

        Raises:
            KeyError: There is no such route.
        """
        if not self.extra.remove(rule):
            raise KeyError(f"no route {rule!r} was added")

    # -- a request ------------------------------------------------------------------

    def __call__(
        self, environ: WSGIEnvironment, start_response: StartResponse
    ) -> Iterable[bytes]:
        """Answer a request; the interface of WSGI."""
        began = self._now()
        trace = tracing.begin(environ)
        environ[TRACE_KEY] = trace.id
        context = Context()  # of this request alone: threads are used again
        answer = context.run(self._answer, environ, trace)
        tracing.give_back(answer.headers, trace, environ)
        route = environ.get(ROUTE_KEY, NOWHERE)
        method, seconds = environ["REQUEST_METHOD"], self._now() - began
        self.tally.add(route, method, answer.status, seconds)
        return emit(answer, environ, start_response, context)

    def _answer(self, environ: WSGIEnvironment, trace: Trace) -> Answer:
        """Return the answer, whatever goes wrong."""
        TRACE.set(trace)
        path = environ["PATH_INFO"]
        if not path.isascii():
            path = path.encode("latin-1").decode("utf-8", "replace")
        try:
            return self._dispatch(environ, path)
        except Problem as told:
            return told.answer(path)
        except HTTPException as error:
            return answer_of_exception(error, environ)
        except (Exception, SystemExit, KeyboardInterrupt) as error:
            told_busy = busy(error)
            if told_busy is not None:
                return told_busy.answer(path)
            return self._failed(environ, path, error)

    def _failed(
        self, environ: WSGIEnvironment, path: str, error: BaseException
    ) -> Answer:
        """Log what failed with an id, and answer with that id alone."""
        number = os.urandom(6).hex()
        cell, _ = descend(self.root, path.split("/"))
        where = self.root.path if cell is None else cell.path
        text = f"{environ['REQUEST_METHOD']} {path!r} failed [{number}]"
        report(logging.ERROR, where, text, error, error_id=number)
        detail = f"The request failed. The log has the reason, as {number}."
        return problem(500, detail, instance=path, id=number)

    def _dispatch(self, environ: WSGIEnvironment, path: str) -> Answer:
        """Find what is at the path, and have it answer."""
        if "%" in environ.get("REQUEST_URI", ""):
            fault = fault_of_path(environ["REQUEST_URI"].partition("?")[0])
            if fault is not None:
                raise Problem(fault.status, fault.detail)
        if path == "*":
            return self._other_method(environ["REQUEST_METHOD"], dict.fromkeys(METHODS))
        page = self.pages.get(path)
        if page is not None:
            environ[ROUTE_KEY] = path
            return self._page(environ, path, page)
        parts = path.split("/")
        cell, count = descend(self.root, parts)
        if cell is not None:
            if count == len(parts):
                resource = Resource(cell, environ, self.carrier)
                environ[ROUTE_KEY] = type(cell.component).__name__
                return self._resource(environ, resource, resource.methods())
            if parts[count] == "-":
                resource = Resource(cell, environ, self.carrier)
                below = resource.methods_below(parts[count + 1 :])
                name = type(cell.component).__name__
                environ[ROUTE_KEY] = f"{name}/-/{parts[count + 1]}"
                return self._resource(environ, resource, below)
        found = self._find_route(cell, parts, count, path)
        if found is None:
            self.guard.check_host(environ)  # a 404 has names of what there is
            raise self._nothing_at(path, parts, cell, count)
        return self._call(environ, found)

    def _page(self, environ: WSGIEnvironment, path: str, page: Page) -> Answer:
        """Show a page of the runtime's own."""
        if path not in PROBES:
            self.guard.check_host(environ)
        method = environ["REQUEST_METHOD"]
        if method not in NO_CHANGE:
            return self._other_method(method, {"GET": page, "HEAD": page})
        if path in self.sensitive:
            self.guard.check_sensitive(environ)
        return page(environ)

    def _resource(
        self, environ: WSGIEnvironment, resource: Resource, methods: Methods
    ) -> Answer:
        """Have a resource answer."""
        self.guard.check_host(environ)
        method = environ["REQUEST_METHOD"]
        function = methods.get(method)
        if function is None:
            return self._other_method(method, methods)
        if method not in SAFE:
            self.guard.check_change(environ)
        return function(resource)

    def _other_method(self, method: str, known: Mapping[str, object]) -> Answer:
        """Say which methods there are; for OPTIONS that is the answer."""
        allow = [("Allow", allow_of(known))]
        if method == "OPTIONS":
            return Answer(204, b"", allow)
        raise Problem(405, f"there is no {method} here, but {allow[0][1]}.", allow)

    # -- routes ----------------------------------------------------------------------

    def _find_route(
        self, cell: Cell | None, parts: list[str], count: int, path: str
    ) -> Found | None:
        """Return the route at the path: that of the longest prefix."""
        if cell is not None and count == len(parts) - 1 and self.extra.is_empty:
            kind: type = type(cell.component)
            by_method = table_of(kind).plain.get(parts[count])
            if by_method is not None:  # the usual case: no prefix is longer
                return Found(cell, by_method)
        while cell is not None:
            cls: type = type(cell.component)
            found = table_of(cls).match(cell, "/".join(parts[count:]))
            if found is not None:
                if self.extra.is_empty:
                    return found
                return self.extra.match(path, len(cell.path) + 1) or found
            if cell is self.root:
                break
            cell, count = cell.parent, count - 1
        return self.extra.match(path)

    def _call(self, environ: WSGIEnvironment, found: Found) -> Answer:
        """Have a route answer."""
        method = environ["REQUEST_METHOD"]
        endpoint = found.by_method.get(method)
        known = endpoint or next(iter(found.by_method.values()))
        environ[ROUTE_KEY] = known.label
        if endpoint is None:
            if not known.route.public:
                self.guard.check_host(environ)
            return self._other_method(method, found.by_method)
        route = endpoint.route
        if not route.public:
            if method in SAFE:
                self.guard.check_route(environ)
            else:
                self.guard.check_change(environ)
        request, values = endpoint.request(environ), found.values
        if found.cell is None:
            return answer_of(endpoint.function(request, **values))
        arguments: tuple[object, ...] = ()
        if route.request_is_first:
            arguments = (request,)
        elif route.request_as is not None:
            values = {**values, route.request_as: request}
        run = run_alone if route.alone else run_beside
        return answer_of(run(found.cell, endpoint.function, arguments, values))

    def _nothing_at(
        self, path: str, parts: list[str], cell: Cell | None, count: int
    ) -> Problem:
        """Return a 404 that helps; a redirect where only a slash is too much."""
        if cell is not None and parts[-1] == "" and count == len(parts) - 1:
            target = path_of(cell)
            return Problem(308, f"it is at {target}.", [("Location", target)])
        if path != path.lower():
            return Problem(404, f"nothing is at {path!r}. Paths are in lower case.")
        if cell is None:
            hint = did_you_mean(parts[1], [self.root.name.lower()])
            start = path_of(self.root)
            return Problem(404, f"nothing is at {path!r}.{hint} All begins at {start}.")
        return Problem(404, f"nothing is at {path!r}.{_nearest(cell, parts[count])}")


def _nearest(cell: Cell, word: str) -> str:
    """Return which child or route of *cell* may have been meant, as a sentence."""
    cls: type = type(cell.component)
    rules = [endpoint.route.rule[1:] for endpoint in table_of(cls).endpoints]
    children: list[Any] = list(cell.supervisor.books.lower) if cell.supervisor else []
    if len(children) > MOST_CHOICES:
        return ""
    return did_you_mean(word, [*children, *rules])
