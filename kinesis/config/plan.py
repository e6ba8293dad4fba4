"""
The checked content of a file: what to build, with no component built yet.

Plans are values. They are equal when they say the same, wherever in a file they
say it, so two readings of a file can be compared (see `difference`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import attrs

from kinesis.config.nodes import Fault, Place, config_error
from kinesis.errors import ConfigError, describe
from kinesis.restarts import Restart, Strategy

if TYPE_CHECKING:
    from kinesis.component import Component

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 8080


def _names(values: Mapping[str, object]) -> str:
    """Return the keys alone: a value may be a secret."""
    return f"{{{', '.join(values)}}}"


@attrs.frozen
class HttpPlan:
    """
    What the file says about HTTP; *enabled* is false for ``http: off``.

    The rest are settings of `kinesis.web.component.HTTP`, which explains them.
    """

    enabled: bool = True
    host: str = DEFAULT_HOST
    port: int = DEFAULT_PORT
    token: str | None = attrs.field(default=None, repr=False)
    hosts: tuple[str, ...] = ()
    cert: str | None = None
    key: str | None = None
    stop_delay: float = 0.0
    threads: int = 8

    def settings(self) -> dict[str, Any]:
        """Return the settings of the server, by name."""
        return attrs.asdict(self, filter=lambda each, _: each.name != "enabled")


@attrs.frozen
class ComponentPlan:
    """
    One component of a file.

    Attributes:
        name: Unique among its siblings.
        type: The class; `Container` where the file names none.
        config: The constructor's arguments for the class's own fields, typed.
        settings: Other settings that the file gives, such as ``mailbox_bound``.
        restart: None, like the deadlines, where the file leaves it to the class.
        components: Children in the order of the file; empty unless a container.
        strategy: Of a container.
        place: Where the file says so; not part of equality.
    """

    name: str
    type: type[Component]
    config: Mapping[str, object] = attrs.field(factory=dict, repr=_names)
    settings: Mapping[str, object] = attrs.field(factory=dict)
    restart: Restart | None = None
    start_deadline: float | None = None
    stop_deadline: float | None = None
    components: tuple[ComponentPlan, ...] = ()
    strategy: Strategy | None = None
    place: Place | None = attrs.field(default=None, eq=False, repr=False)

    def build(self) -> Component:
        """
        Return a new component, and new children below it.

        Raises:
            ConfigError: Constructors raised; each is a fault at its component.
        """
        children, faults = _build(self.components)
        component, own = _attempt(self, children)
        if component is None or faults:
            raise config_error([*own, *faults])
        return component

    def arguments(self) -> dict[str, Any]:
        """
        Return the constructor's arguments, except children.

        Values are copied: a component that changes its own changes no plan.
        """
        given = {
            "restart": self.restart,
            "start_deadline": self.start_deadline,
            "stop_deadline": self.stop_deadline,
            "strategy": self.strategy,
        }
        return {
            "name": self.name,
            **deepcopy(dict(self.config)),
            **self.settings,
            **{key: value for key, value in given.items() if value is not None},
        }


@attrs.frozen
class Plan:
    """
    A whole file.

    Attributes:
        name: The first part of every path.
        components: In the order of the file.
        strategy: Of the root container; None where the file does not say.
        shutdown_deadline: Seconds for the whole shutdown; None likewise.
        http: None where the file does not say.
        file: Where it was read from; not part of equality.
    """

    name: str
    components: tuple[ComponentPlan, ...] = ()
    strategy: Strategy | None = None
    shutdown_deadline: float | None = None
    http: HttpPlan | None = None
    file: str = attrs.field(default="", eq=False)

    def build(self) -> list[Component]:
        """
        Return new components, in the order of the file.

        Raises:
            ConfigError: Constructors raised; each is a fault at its component.
        """
        components, faults = _build(self.components)
        if faults:
            raise config_error(faults)
        return components

    def walk(self) -> Iterator[tuple[str, ComponentPlan]]:
        """Yield each component with its path, a container before its children."""
        yield from _walk(f"/{self.name}", self.components)


def _walk(
    path: str, components: Iterable[ComponentPlan]
) -> Iterator[tuple[str, ComponentPlan]]:
    """Yield *components*, and those below, with their paths."""
    for component in components:
        own = f"{path}/{component.name}"
        yield own, component
        yield from _walk(own, component.components)


def _build(plans: Iterable[ComponentPlan]) -> tuple[list[Component], list[Fault]]:
    """Return what could be built of *plans*, and what went wrong with the rest."""
    built: list[Component] = []
    faults: list[Fault] = []
    for plan in plans:
        try:
            built.append(plan.build())
        except ConfigError as error:
            faults += error.faults  # type: ignore[arg-type]  # made by config_error
    return built, faults


def _attempt(
    plan: ComponentPlan, children: list[Component]
) -> tuple[Component | None, list[Fault]]:
    """Call the class of *plan*; return the component, or what it raised."""
    arguments = plan.arguments()
    if children:
        arguments["components"] = children
    try:
        return plan.type(**arguments), []
    except (Exception, SystemExit) as error:  # a constructor is the user's code
        place = plan.place or Place("<plan>", 1, 1)
        message = (
            f"expected {plan.type.__name__} to take its arguments; "
            f"got {describe(error)}."
        )
        return None, [Fault(place.file, place.line, place.column, message)]
