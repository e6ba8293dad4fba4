"""
Which code answers at which path, while components come and go.

Nothing is registered when a component starts, and nothing taken away when it
stops. The tree of components itself is the table of paths: a path is walked down
the dicts of children, which the supervisors keep, and what is left of it is
looked up in the table of the component's class, made once for the class. So
adding or removing a component costs the same with ten routes or ten thousand,
there is no moment in which a table and the tree disagree, and a reader takes no
lock.

A class's table is a dict of plain paths in front of a small Werkzeug ``Map`` for
the patterns. It never changes: `Map.add` while another thread matches gives
false 404s, and there is no ``remove``.

What `Application.add_route` adds is kept likewise: a dict of plain paths, and
tables by the prefix that has no variable in it. A table is made anew when a route of
it comes or goes, and swapped by one reference.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from typing import Any

import attrs
from werkzeug import Request
from werkzeug.exceptions import NotFound
from werkzeug.routing import Map, RequestRedirect, Rule
from werkzeug.routing.exceptions import NoMatch

from kinesis.cells import Cell
from kinesis.concurrency import Threads
from kinesis.errors import DuplicateNameError
from kinesis.routing import VARIABLE, Route, lower, routes_of
from kinesis.stages import Stage
from kinesis.supervisor import Supervisor
from kinesis.web.requests import request_class

NO_VALUES: Mapping[str, Any] = {}


@attrs.frozen(eq=False)
class Endpoint:
    """
    What answers requests with some methods at one rule.

    Attributes:
        route: Its rule is that below *prefix*.
        function: Of `Application.add_route`; None for a method of a component,
            which is looked up in the component's class.
        prefix: Of a route that belongs to no component; else empty.
        label: What it is counted as.
        request: The class of the request that it takes.
    """

    route: Route
    function: Callable[..., object]
    prefix: str = ""
    label: str = ""
    request: type[Request] = attrs.field(
        init=False,
        default=attrs.Factory(
            lambda self: request_class(self.route.request_class), takes_self=True
        ),
    )


@attrs.define(eq=False)  # not frozen: one is made for every request
class Found:
    """
    What is at a path.

    Attributes:
        cell: The component whose route it is; None for one of `add_route`.
        by_method: The endpoints there.
        values: Of the variables in the rule.
    """

    cell: Cell | None
    by_method: Mapping[str, Endpoint]
    values: Mapping[str, Any] = NO_VALUES


class Table:
    """The routes below one prefix; it never changes."""

    __slots__ = ("_map", "_patterns", "endpoints", "plain")

    def __init__(self, endpoints: Iterable[Endpoint]) -> None:
        self.endpoints = tuple(endpoints)
        self.plain: dict[str, dict[str, Endpoint]] = {}
        self._patterns: dict[str, dict[str, Endpoint]] = {}
        for endpoint in self.endpoints:
            route = endpoint.route
            rules = self._patterns if route.is_pattern else self.plain
            by_method = rules.setdefault(route.rule[1:], {})
            for method in route.methods:
                by_method.setdefault(method, endpoint)
        for by_method in (*self.plain.values(), *self._patterns.values()):
            if "GET" in by_method:
                by_method.setdefault("HEAD", by_method["GET"])
        self._map = _map_of(self._patterns) if self._patterns else None

    def match(self, cell: Cell | None, rest: str) -> Found | None:
        """Return what is at *rest*, which has no slash in front."""
        by_method = self.plain.get(rest)
        if by_method is not None:
            return Found(cell, by_method)
        if self._map is None:
            return None
        try:
            rule, values = self._map.bind("").match(
                f"/{rest}", method="GET", return_rule=True
            )
        except (NotFound, NoMatch, RequestRedirect):
            return None
        return Found(cell, self._patterns[rule.endpoint], values)


def _map_of(patterns: Iterable[str]) -> Map:
    """Return a Werkzeug map of rules, ready to be read by many threads."""
    made = Map(
        [Rule(f"/{rule}", endpoint=rule) for rule in patterns],
        strict_slashes=True,
        merge_slashes=False,
        redirect_defaults=False,
    )
    made.update()  # sorts; else the first reader would
    return made


@cache
def table_of(cls: type) -> Table:
    """Return the table of a component class, the same one each time."""
    return Table(
        Endpoint(route, getattr(cls, route.name), label=f"{cls.__name__}{route.rule}")
        for route in routes_of(cls)
    )


# -- the tree as a table ---------------------------------------------------------


def descend(root: Cell, parts: list[str]) -> tuple[Cell | None, int]:
    """
    Walk a path down from *root*.

    Args:
        parts: What the path is made of, the empty part before the first slash too.

    Returns:
        The deepest component, and how many parts led there; None and 0 if the path
        does not begin with *root*.
    """
    if len(parts) < 2 or parts[1] != root.name.lower():
        return None, 0
    cell, count = root, 2
    for part in parts[2:]:
        supervisor = cell.supervisor
        if supervisor is None:
            break
        child = supervisor.books.lower.get(part)
        if child is None:
            break
        cell = child.cell
        count += 1
    return cell, count


def path_of(cell: Cell) -> str:
    """Return the path of a component's resource: its own, in lower case."""
    return cell.path.lower()


def is_up(cell: Cell) -> bool:
    """Whether the routes of a component are mounted now."""
    return cell.stage is Stage.STARTED


def children_of(cell: Cell) -> Iterator[Cell]:
    """Yield the children of a container in activation order."""
    supervisor: Supervisor | None = cell.supervisor
    if supervisor is not None:
        for child in supervisor.books.in_order():
            yield child.cell


# -- routes of no component ------------------------------------------------------


class ExtraRoutes:
    """
    Routes that belong to no component.

    What is found at a plain path is one entry of a dict: to add or remove it costs
    the same beside ten others or ten thousand. Patterns are in a table for each
    prefix, made anew when one of it comes or goes.

    Thread safety: any thread may call any method; `match` takes no lock.
    """

    def __init__(self, threads: Threads) -> None:
        self._lock = threads.lock()
        self._plain: dict[str, Table] = {}  # by path
        self._patterns: dict[str, Table] = {}  # by prefix

    @property
    def is_empty(self) -> bool:
        """Whether there are none."""
        return not self._plain and not self._patterns

    def _place_of(self, rule: str) -> tuple[dict[str, Table], str]:
        """Return which table a whole *rule* belongs to: a dict of them, and the key."""
        prefix, below = split_rule(rule)
        if "<" in below:
            return self._patterns, prefix
        return self._plain, prefix + below

    def add(self, endpoint: Endpoint) -> None:
        """
        Add a route.

        Raises:
            DuplicateNameError: One with that rule and one of its methods is there.
        """
        prefix, rule = endpoint.prefix, endpoint.route.rule
        tables, key = self._place_of(prefix + rule)
        with self._lock:
            table = tables.get(key)
            known = table.endpoints if table is not None else ()
            for each in known:
                shared = {*each.route.methods} & {*endpoint.route.methods}
                if each.route.rule == rule and shared:
                    raise DuplicateNameError(
                        f"{prefix}{rule} has a route for {', '.join(sorted(shared))} "
                        f"already. Remove that one first.",
                        path=prefix,
                        name=rule,
                    )
            tables[key] = Table([*known, endpoint])

    def remove(self, rule: str) -> bool:
        """Remove the routes whose rule is *rule*, whole; return whether there were."""
        _, below = split_rule(rule)
        tables, key = self._place_of(rule)
        with self._lock:
            table = tables.get(key)
            if table is None:
                return False
            kept = [each for each in table.endpoints if each.route.rule != below]
            if len(kept) == len(table.endpoints):
                return False
            if kept:
                tables[key] = Table(kept)
            else:
                del tables[key]
            return True

    def match(self, path: str, longer_than: int = 0) -> Found | None:
        """
        Return what is at *path*, the longest prefix first.

        Args:
            longer_than: Characters that the prefix must have at least.
        """
        head, _, last = path.rpartition("/")
        table = self._plain.get(path)
        if table is not None and len(head) >= longer_than:
            return table.match(None, last)
        patterns = self._patterns
        while patterns and len(head) >= longer_than:
            table = patterns.get(head)
            if table is not None:
                found = table.match(None, path[len(head) + 1 :])
                if found is not None:
                    return found
            if not head:
                break
            head = head.rpartition("/")[0]
        return None

    def endpoints(self) -> list[Endpoint]:
        """Return all of them."""
        tables = [*self._plain.copy().values(), *self._patterns.copy().values()]
        return [each for table in tables for each in table.endpoints]


def split_rule(rule: str) -> tuple[str, str]:
    """Return the part of a whole *rule* that has no variable, and the rest."""
    rule = lower(rule)
    found = VARIABLE.search(rule)
    fixed = rule if found is None else rule[: found.start()]
    prefix = fixed.rpartition("/")[0]
    return prefix, rule[len(prefix) :]
