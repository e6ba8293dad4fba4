"""
Which methods of a component answer HTTP requests, and at which paths.

A public method that takes a Werkzeug ``Request`` is a route below its component:
``report`` of ``/shop/stock`` answers at ``/shop/stock/report``. `route` says
more::

    @route("/items/<int:id>", methods=["GET", "DELETE"])
    def item(self, request: Request, id: int) -> dict[str, object]: ...

Nothing here imports Werkzeug: a class with routes costs a program without HTTP
nothing.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Collection, Iterator
from functools import cache
from types import FunctionType
from typing import Any, TypeVar, overload

import attrs

from kinesis.calls import check_runs
from kinesis.declared import HOOKS, Declared
from kinesis.errors import DeclarationError, did_you_mean

MARK = "__kinesis_routes__"

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
PLAIN_METHODS = ("GET", "POST")  # of a method without @route
CONVERTERS = ("any", "default", "float", "int", "path", "string", "uuid")

VARIABLE = re.compile(r"<(?:(?P<kind>[a-z_]+)(?:\([^<>]*\))?:)?(?P<name>[A-Za-z_]\w*)>")

Function = TypeVar("Function", bound=Callable[..., Any])


@attrs.frozen
class Wish:
    """What one `route` says of the method below it."""

    rule: str | None
    methods: tuple[str, ...]
    alone: bool
    public: bool


@attrs.frozen
class Route:
    """
    A method of a component class that answers requests.

    Attributes:
        name: Of the method.
        rule: Below the component's path, ``/report``; Werkzeug's syntax.
        methods: In capitals; a GET answers HEAD as well.
        alone: Whether it has the component to itself, as a handler has.
        public: Whether anybody may ask, with no token, from any origin, by any host.
        request_as: The name of the parameter that takes the request, if one does.
        variables: Names in the rule.
        request_is_first: Whether that is the first parameter after ``self``.
        request_class: What it is annotated as, if that is known.
    """

    name: str
    rule: str
    methods: tuple[str, ...] = PLAIN_METHODS
    alone: bool = True
    public: bool = False
    request_as: str | None = None
    variables: tuple[str, ...] = ()
    request_is_first: bool = False
    request_class: type | None = None

    @property
    def is_pattern(self) -> bool:
        """Whether one rule stands for many paths."""
        return "<" in self.rule


@overload
def route(rule: Function) -> Function: ...
@overload
def route(
    rule: str | None = ...,
    *,
    methods: Collection[str] = ...,
    alone: bool = ...,
    public: bool = ...,
) -> Callable[[Function], Function]: ...
def route(
    rule: Any = None,
    *,
    methods: Collection[str] = ("GET",),
    alone: bool = True,
    public: bool = False,
) -> Any:
    """
    Make a method of a component answer HTTP requests.

    Its result is the answer: a Werkzeug ``Response``; text; bytes; whatever JSON
    can hold (a dict, a snapshot, an attrs class); an iterable of text or bytes,
    which is streamed; None is 204. What it raises is answered with 500 and an id
    that is in the log; ``werkzeug.exceptions`` give other statuses.

    Args:
        rule: Below the component's path, in Werkzeug's syntax:
            ``/items/<int:id>``. None is ``/`` and the method's name. In lower
            case, whatever is written; values keep theirs.
        methods: Those that it answers. OPTIONS is answered by itself, HEAD as GET.
        alone: It has the component to itself while it runs, as a handler has.
            With False it runs beside everything else: for what takes long, and
            touches the state only inside ``self.edit()``.
        public: Neither a token, nor the origin, nor the host of the request is
            looked at: for what others call, such as web hooks, which check by
            themselves. A GET needs no token anyway, on any address: what changes
            something is for other methods.

    Raises:
        DeclarationError: The rule cannot be one, or names what the method does
            not take; or the method is a coroutine function.

    Thread safety: it runs on a thread of the HTTP server, not on the component's
    own; what `init` opened and may only be used on that thread is for handlers.
    """
    if callable(rule):
        return _mark(rule, Wish(None, ("GET",), alone, public))
    if isinstance(methods, str):
        methods = (methods,)
    wish = Wish(rule, _checked_methods(methods), alone, public)

    def mark(function: Function) -> Function:
        return _mark(function, wish)

    return mark


def _checked_methods(methods: Collection[str]) -> tuple[str, ...]:
    """Return *methods* in capitals, if there are such."""
    wanted = tuple(method.upper() for method in methods)
    wrong = [method for method in wanted if method not in METHODS]
    if wrong or not wanted:
        raise DeclarationError(
            f"@route takes methods of HTTP, not {wrong or 'none'}: "
            f"{', '.join(sorted(METHODS))}."
        )
    return wanted


def _mark(function: Function, wish: Wish) -> Function:
    """Note *wish* on the function, if both fit together."""
    if not isinstance(function, FunctionType):
        raise DeclarationError(
            f"@route marks a method, not {function!r}. Write it above `def`."
        )
    check_runs(function, f"the route '{function.__qualname__}'", iterated=True)
    if wish.rule is not None:
        _check_rule(wish.rule, function)
    setattr(function, MARK, (*getattr(function, MARK, ()), wish))
    return function


def _check_rule(rule: str, function: FunctionType) -> None:
    """Refuse a rule that no path fits, or whose variables nobody takes."""
    name = function.__qualname__
    plain = VARIABLE.sub("x", rule)
    if not rule.startswith("/") or "//" in rule or set(plain) & set("<>?#%"):
        raise DeclarationError(
            f"@route({rule!r}) of {name} is no rule: it begins with a slash, has no "
            f"empty segment, and variables are <name> or <int:name>."
        )
    if plain == "/" or plain.startswith("/-/") or plain == "/-":
        raise DeclarationError(
            f"@route({rule!r}) of {name} is taken: the component itself answers "
            f"there. Give it a path below."
        )
    parameters = inspect.signature(function).parameters
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    for found in VARIABLE.finditer(rule):
        kind, variable = found["kind"], found["name"]
        if kind is not None and kind not in CONVERTERS:
            hint = did_you_mean(kind, CONVERTERS)
            raise DeclarationError(
                f"@route({rule!r}) of {name} has the unknown converter '{kind}'."
                f"{hint} Converters: {', '.join(CONVERTERS)}."
            )
        if variable not in parameters and not takes_any:
            raise DeclarationError(
                f"@route({rule!r}) has <{variable}>, which {name} does not take. "
                f"Add a parameter of that name."
            )


@cache
def routes_of(cls: type) -> tuple[Route, ...]:
    """Return the routes of a component class, in the order of their methods."""
    return tuple(_routes_in(cls))


def _routes_in(cls: type) -> Iterator[Route]:
    """Yield the routes of *cls*, those of its bases first."""
    seen: set[str] = set()
    for base in reversed(cls.__mro__):
        if base is object or base is Declared or base.__module__ == "kinesis.component":
            continue
        for name in vars(base):
            if name not in seen and name not in HOOKS:
                seen.add(name)
                yield from _routes_at(cls, name)


def _routes_at(cls: type, name: str) -> Iterator[Route]:
    """Yield the routes of the method called *name*, as *cls* has it."""
    function = inspect.getattr_static(cls, name, None)
    if not isinstance(function, FunctionType):
        return
    wishes: tuple[Wish, ...] = ()
    for base in cls.__mro__:  # the nearest that says something
        wishes = wishes or getattr(vars(base).get(name), MARK, ())
    parameters = list(inspect.signature(function).parameters)
    request_as, request_class = _request_parameter(function)
    first = parameters[1] if len(parameters) > 1 else None
    named = "request" if "request" in parameters else None
    for wish in wishes:
        rule = lower(wish.rule or f"/{name}")
        variables = tuple(found["name"] for found in VARIABLE.finditer(rule))
        yield Route(
            name,
            rule,
            wish.methods,
            wish.alone,
            wish.public,
            request_as or named,
            variables,
            first is not None and first == (request_as or named),
            request_class,
        )
    if wishes or request_as is None or name.startswith("_"):
        return
    if _needs_only(function, request_as):
        yield Route(
            name,
            f"/{name.lower()}",
            request_as=request_as,
            request_is_first=first == request_as,
            request_class=request_class,
        )


def lower(rule: str) -> str:
    """Return *rule* with all in lower case but its variables."""
    parts: list[str] = []
    at = 0
    for found in VARIABLE.finditer(rule):
        parts += [rule[at : found.start()].lower(), found[0]]
        at = found.end()
    return "".join([*parts, rule[at:].lower()])


def _request_parameter(function: FunctionType) -> tuple[str | None, type | None]:
    """
    Return which parameter is annotated as a Werkzeug request, and its class.

    The class is None where the annotation's name is known to type checkers alone.
    """
    for name, annotation in function.__annotations__.items():
        found = _resolved(annotation, function)
        if name != "return" and _is_request(found):
            return name, found if isinstance(found, type) else None
    return None, None


def _resolved(annotation: object, function: FunctionType) -> object:
    """Return what an annotation names; its last word if that is not to be had."""
    if not isinstance(annotation, str):
        return annotation
    parts = annotation.strip("'\" ").split(".")
    found: object = function.__globals__.get(parts[0])
    for part in parts[1:]:
        found = getattr(found, part, None)
    return parts[-1] if found is None else found


def _is_request(found: object) -> bool:
    """Whether it is Werkzeug's ``Request``, or a class below that."""
    if not isinstance(found, type):
        return found == "Request"
    return any(
        base.__name__ == "Request" and base.__module__.split(".")[0] == "werkzeug"
        for base in found.__mro__
    )


def _needs_only(function: FunctionType, request_as: str) -> bool:
    """Whether the request is all that a call must give, besides the component."""
    parameters = list(inspect.signature(function).parameters.values())[1:]
    return all(
        p.name == request_as
        or p.default is not p.empty
        or p.kind in {p.VAR_POSITIONAL, p.VAR_KEYWORD}
        for p in parameters
    )
