"""
Check nodes and make a plan of them.

Every check goes on after a fault, so that one reading tells them all.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar, cast, get_args

import attrs

from kinesis.component import Component, check_name
from kinesis.config.fields import check_fields
from kinesis.config.importing import NotFoundError, Types
from kinesis.config.nodes import (
    Faults,
    Leaf,
    Node,
    Place,
    Table,
    has_broken,
    show,
    show_value,
)
from kinesis.config.plan import ComponentPlan, HttpPlan, Plan
from kinesis.config.sections import Section
from kinesis.container import Container
from kinesis.declared import fields_of
from kinesis.errors import InvalidNameError, did_you_mean
from kinesis.restarts import STRATEGIES, Backoff, Restart, Strategy, When

T = TypeVar("T", HttpPlan, Restart, Backoff)

PROGRAM_KEYS = ("name", "components", "strategy", "shutdown_deadline", "http")
HTTP_KEYS = (
    "host",
    "port",
    "token",
    "hosts",
    "cert",
    "key",
    "stop_delay",
    "threads",
)
COMPONENT_KEYS = (
    "name",
    "type",
    "config",
    "restart",
    "start_deadline",
    "stop_deadline",
    "components",
    "strategy",
    "stall_after",
    "mailbox_bound",
    "overflow",
    "on_stop",
    "dispatch",
)
RESTART_KEYS = ("when", "backoff", "limit", "window")
BACKOFF_KEYS = ("first", "factor", "most", "jitter")
CHOICES: Mapping[str, tuple[str, ...]] = {
    "overflow": ("refuse", "wait", "drop-oldest"),
    "on_stop": ("drain", "refuse"),
    "dispatch": ("mailbox", "caller"),
}
WHENS: tuple[str, ...] = get_args(When)
HTTP_SWITCH: Mapping[object, bool] = {"on": True, "off": False}


@attrs.define(eq=False)
class Checker:
    """Makes the plan of one file; what does not fit goes to *faults*."""

    faults: Faults
    types: Types
    file: str

    @classmethod
    def of(cls, faults: Faults, directory: Path, file: str) -> Checker:
        """Return one for *file* in *directory*, whose types are components."""
        return cls(faults, Types(Component, directory), file)

    def program(self, node: Node | None) -> Plan | None:
        """Return the plan; it is only good if there are no faults afterwards."""
        if not isinstance(node, Table):
            if node is None or not has_broken(node):
                place = node.place if node else Place(self.file, 1, 1)
                got = show(node) if node else "nothing"
                expected = "a mapping with 'name' and 'components'"
                self.faults.expected(place, expected, got)
            return None
        section = Section(node, "the program", PROGRAM_KEYS, self.faults)
        section.require("name", "components")
        return Plan(
            name=self._name(section) or "",
            components=self._components(section),
            strategy=self._strategy(section),
            shutdown_deadline=section.seconds("shutdown_deadline"),
            http=self._http(section),
            file=self.file,
        )

    def _name(self, section: Section) -> str | None:
        """Return the name, if it is one that a path can have."""
        name = section.text("name")
        try:
            return None if name is None else check_name(name)
        except InvalidNameError:
            section.wrong(
                cast(Node, section.get("name")),
                "name",
                "letters, digits, '.', '_', '~' and '-'",
            )
            return None

    def _strategy(self, section: Section) -> Strategy | None:
        """Return the strategy of a container."""
        return cast("Strategy | None", section.choice("strategy", STRATEGIES))

    def _http(self, section: Section) -> HttpPlan | None:
        """Return what the file says about HTTP."""
        node = section.get("http")
        if node is None:
            return None
        if isinstance(node, Table):
            http = Section(node, "http", HTTP_KEYS, self.faults)
            return _given(
                HttpPlan(),
                host=http.text("host"),
                port=http.count("port", 0, 65535),
                token=http.text("token"),
                hosts=http.texts("hosts"),
                cert=http.text("cert"),
                key=http.text("key"),
                stop_delay=http.number("stop_delay"),
                threads=http.count("threads", 1),
            )
        value = node.value if isinstance(node, Leaf) else None
        if isinstance(value, bool):
            return HttpPlan(enabled=value)
        if isinstance(value, str) and value in HTTP_SWITCH:
            return HttpPlan(enabled=HTTP_SWITCH[value])
        section.wrong(node, "http", "on, off or a mapping")
        return None

    # -- components ------------------------------------------------------------

    def _components(self, section: Section) -> tuple[ComponentPlan, ...]:
        """Return the plans of the components in a section."""
        items = section.items_of("components")
        plans = []
        names: dict[str, Place] = {}
        for node in items.items if items else ():
            if not isinstance(node, Table):
                if not has_broken(node):
                    self.faults.expected(
                        node.place, "a component: a mapping", show(node)
                    )
                continue
            plan = self._component(node)
            self._once(plan, node, names)
            plans.append(plan)
        return tuple(plans)

    def _once(self, plan: ComponentPlan, node: Table, names: dict[str, Place]) -> None:
        """Note a name that a sibling has already."""
        if not plan.name:
            return  # noted already
        place = node.entries["name"].node.place
        if place == names.get(plan.name):  # the same node again, by an alias
            place = node.place
        first = names.setdefault(plan.name, place)
        if first is not place:
            self.faults.expected(
                place,
                "a name that no sibling has",
                f"{show_value(plan.name)} again",
                f" The first is at line {first.line}, column {first.column}.",
            )

    def _component(self, node: Table) -> ComponentPlan:
        """Return the plan of one component."""
        section = Section(node, "a component", COMPONENT_KEYS, self.faults)
        section.require("name")
        kind = self._type(section)
        components = self._components(section)
        return ComponentPlan(
            name=self._name(section) or "",
            type=kind or Container,
            config=self._config(section, kind),
            settings=_settings(section),
            restart=self._restart(section, kind),
            start_deadline=section.seconds("start_deadline"),
            stop_deadline=section.seconds("stop_deadline"),
            components=components,
            strategy=self._strategy(section),
            place=node.place,
        )

    def _type(self, section: Section) -> type[Any] | None:
        """Return the class; None, and a fault, where there is none."""
        if "type" not in section:
            if "components" in section:
                return Container
            section.require("type")
            return None
        text = section.text("type")
        if text is None:
            return None
        try:
            kind = self.types.find(text)
        except NotFoundError as error:
            place = cast(Node, section.get("type")).place
            self.faults.expected(place, error.expected, error.got, error.hint)
            return None
        self._contained(section, kind)
        return kind

    def _contained(self, section: Section, kind: type) -> None:
        """Note the keys of a container on what is none."""
        if issubclass(kind, Container):
            return
        for key in ("components", "strategy"):
            if key in section:
                self.faults.expected(
                    section.key_place(key),
                    f"'{key}' on a container only",
                    f"{kind.__name__}, which is none",
                )

    def _config(self, section: Section, kind: type | None) -> dict[str, object]:
        """Return the typed values for the fields of the class."""
        node = section.get("config")
        if kind is None or ("config" in section and node is None):
            return {}  # noted already
        if isinstance(node, Leaf) and node.value is None and not node.secret:
            node = None  # every line below `config:` may be commented out
        if node is not None and not isinstance(node, Table):
            section.wrong(node, "config", "a mapping")
            return {}
        place = _type_place(section)
        if node is None:
            given = "config" in section
            node = Table({}, section.key_place("config") if given else place)
        return check_fields(kind, node, COMPONENT_KEYS, place, self.faults)

    # -- restarts --------------------------------------------------------------

    def _restart(self, section: Section, kind: type | None) -> Restart | None:
        """Return the policy; what a mapping leaves out is as the class has it."""
        node = section.get("restart")
        if node is None:
            return None
        policy = _restart_of(kind)
        if not isinstance(node, Table):
            when = self._when(section, "restart", " or a mapping")
            return None if when is None else attrs.evolve(policy, when=when)
        own = Section(node, "restart", RESTART_KEYS, self.faults)
        return _given(
            policy,
            when=self._when(own, "when"),
            backoff=self._backoff(own, policy.backoff),
            limit=own.count("limit", 0),
            window=own.number("window"),
        )

    def _when(self, section: Section, key: str, more: str = "") -> When | None:
        """Return when to restart."""
        node = section.get(key)
        if node is None:
            return None
        if isinstance(node, Leaf) and node.value in WHENS:
            return cast(When, node.value)
        hint = did_you_mean(node.text, WHENS) if isinstance(node, Leaf) else ""
        section.wrong(node, key, f"one of {', '.join(WHENS)}{more}", hint)
        return None

    def _backoff(self, section: Section, default: Backoff) -> Backoff | None:
        """Return how long to wait before restarts."""
        table = section.table_of("backoff")
        if table is None:
            return None
        own = Section(table, "backoff", BACKOFF_KEYS, self.faults)
        return _given(default, **{key: own.number(key) for key in BACKOFF_KEYS})


def _settings(section: Section) -> dict[str, object]:
    """Return the settings that are given, of those without a key of their own."""
    found: dict[str, object] = {
        "stall_after": section.seconds("stall_after"),
        "mailbox_bound": section.count("mailbox_bound", 1),
        **{key: section.choice(key, choices) for key, choices in CHOICES.items()},
    }
    return {key: value for key, value in found.items() if value is not None}


def _type_place(section: Section) -> Place:
    """Return where the file says the type, or begins the component."""
    node = section.get("type")
    return node.place if node is not None else section.table.place


def _restart_of(kind: type | None) -> Restart:
    """Return the policy that objects of *kind* have by default."""
    if kind is None:
        return Restart()
    default = fields_of(kind)["restart"].default
    found = default.factory() if isinstance(default, attrs.Factory) else default  # type: ignore[arg-type]  # a class at run time
    return found if isinstance(found, Restart) else Restart()


def _given(value: T, **changes: Any) -> T:
    """Return *value* with those of *changes* that are not None."""
    given = {key: each for key, each in changes.items() if each is not None}
    return attrs.evolve(value, **given)
