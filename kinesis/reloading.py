"""
A runtime from a file, and what a reload does to it.

A reload reads the file again and carries over what is different, component by
component; what is not named in the difference is not touched. A file with a
fault changes nothing: all components are built before the first one is stopped.

One step that fails is logged, with its path, and the others go on. Where what
replaces a component does not start, the one from before comes back, as new. The
books (`Reloader.running`) only take in what was done, so the next reload tries
again what was not.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import attrs

from kinesis.component import Component
from kinesis.config import ComponentPlan, Difference, Plan, difference, load
from kinesis.config.nodes import config_error
from kinesis.container import Container, ContainerRef
from kinesis.errors import (
    ComponentNotFoundError,
    ComponentStoppedError,
    ConfigError,
    KinesisError,
    describe,
)
from kinesis.services import report
from kinesis.stages import Stage

R = TypeVar("R")
Root = ContainerRef[Container]


def runtime_from_file(
    make: Callable[..., R], path: str | os.PathLike[str], **options: Any
) -> R:
    """
    Return the runtime that the file at *path* describes, made by *make*.

    Args:
        make: `kinesis.runtime.Runtime`, or a class below it.
        options: More arguments for *make*; they go before what the file says.

    Raises:
        ConfigError: The file has faults; all are listed.
    """
    plan = load(path)
    said: dict[str, Any] = {
        "strategy": plan.strategy,
        "shutdown_deadline": plan.shutdown_deadline,
    }
    if plan.http is not None and plan.http.enabled:
        said["http"] = plan.http.settings()
    said = {key: value for key, value in said.items() if value is not None}
    # Absolute: a component may change the working directory.
    reloader = Reloader(os.path.abspath(path), plan)
    return make(plan.name, plan.build(), **{**said, "reload": reloader, **options})


@attrs.define(eq=False)
class Reloader:
    """
    Makes a running program as its file says; call it with the root.

    Not thread-safe: one call at a time.

    Attributes:
        file: The absolute path of the file.
        running: What runs, as far as the file and this know.
    """

    file: str
    running: Plan

    def __call__(self, root: Root) -> None:
        """
        Read the file again and apply the difference.

        Waits until the program has started. It raises nothing: whatever fails is
        logged.
        """
        try:
            root.wait_for(Stage.STARTED)
            work = self._prepare()
        except ComponentStoppedError:
            report(logging.INFO, root.path, "not reloaded: the program stops")
        except ConfigError as error:
            text = f"not reloaded, and nothing is changed: {self.file} has faults\n"
            report(logging.ERROR, root.path, f"{text}{error}")
        except Exception as error:
            text = "not reloaded, and nothing is changed"
            report(logging.ERROR, root.path, text, error)
        else:
            self._carry_out(root, work)

    def _prepare(self) -> _Work:
        """
        Return what is to be done, with every new component built.

        Raises:
            ConfigError: The file has faults, or constructors raise.
        """
        plan = load(self.file)
        found = difference(self.running, plan)
        built: dict[str, Component] = {}
        faults: list[Any] = []
        for path, component in _in_file_order(found, plan, self.running.name):
            try:
                built[path] = component.build()
            except ConfigError as error:
                faults += error.faults
        if faults:
            raise config_error(faults)
        return _Work(found, built)

    def _carry_out(self, root: Root, work: _Work) -> None:
        """Remove, then replace and add; log what became of it."""
        done = dict.fromkeys(("removed", "changed", "added", "failed"), 0)
        for path in (*work.found.removed, *work.built):
            if root.stage is not Stage.STARTED:
                report(logging.INFO, root.path, "reload cut short: the program stops")
                return
            done[self._take_step(root, path, work)] += 1
        _say(root, self.file, work.found, done)

    def _take_step(self, root: Root, path: str, work: _Work) -> str:
        """Do what is to be done at *path*; return what became of it."""
        component, found = work.built.get(path), work.found
        if component is None:
            kind, outcome = "removed", self._remove(root, path)
        elif path in found.added:
            plan = found.added[path]
            kind, outcome = "added", self._add(root, path, component, plan)
        else:
            plan = found.changed[path]
            kind, outcome = "changed", self._replace(root, path, component, plan)
        return kind if outcome else "failed"

    def _replace(
        self, root: Root, path: str, component: Component, plan: ComponentPlan
    ) -> bool:
        """Put *component* in the place of the one at *path*; return whether it runs."""
        before = dict(self.running.walk())[path]
        if not self._remove(root, path):
            return False
        if self._add(root, path, component, plan):
            return True
        try:
            old = before.build()
        except ConfigError as error:
            return _log_failure(path, "bring it back", error)
        if self._add(root, path, old, before):
            text = "reload: it runs again as it was before"
            report(logging.WARNING, path, text)
        return False

    def _remove(self, root: Root, path: str) -> bool:
        """Stop and forget the component at *path*; return whether it is gone."""
        container, _, name = path.rpartition("/")
        try:
            root[container].remove(name)
        except ComponentNotFoundError:
            pass  # it, or what it was in, went before: what was wanted
        except Exception as error:
            return _log_failure(path, "remove it", error)
        self.running = without(self.running, path)
        return True

    def _add(
        self, root: Root, path: str, component: Component, plan: ComponentPlan
    ) -> bool:
        """Start *component* at *path*; return whether it is STARTED."""
        container = path.rpartition("/")[0]
        try:
            root[container].add(component)
        except Exception as error:
            return _log_failure(path, "add it", error)
        self.running = placed(self.running, path, plan)
        return True


@attrs.frozen
class _Work:
    """A difference, and the new components by path, in the order of the file."""

    found: Difference
    built: Mapping[str, Component]


def _in_file_order(
    found: Difference, plan: Plan, name: str
) -> list[tuple[str, ComponentPlan]]:
    """Return what is added or changed in the order of the file, by running path."""
    new = {**found.added, **found.changed}
    walked = attrs.evolve(plan, name=name).walk()
    return [(path, component) for path, component in walked if path in new]


def _log_failure(path: str, what: str, error: Exception) -> bool:
    """Log that one step did not work; return False."""
    text = f"reload: cannot {what}: {describe(error)}"
    expected = isinstance(error, KinesisError)
    report(logging.ERROR, path, text, None if expected else error)
    return False


def _say(root: Root, file: str, found: Difference, done: Mapping[str, int]) -> None:
    """Log what a reload did, and what it could not do."""
    counts = [f"{number} {kind}" for kind, number in done.items() if number]
    text = f"reloaded {file}: {', '.join(counts) or 'no component is different'}"
    report(logging.ERROR if done["failed"] else logging.INFO, root.path, text)
    if found.program:
        keys = ", ".join(f"'{key}'" for key in found.program)
        text = f"reload: what {file} says now of {keys} holds from the next start on"
        report(logging.WARNING, root.path, text)


# -- the books ----------------------------------------------------------------------


def without(plan: Plan, path: str) -> Plan:
    """Return *plan* with no component at *path*."""
    return _changed(plan, path, None)


def placed(plan: Plan, path: str, component: ComponentPlan) -> Plan:
    """Return *plan* with *component* at *path*."""
    return _changed(plan, path, component)


def _changed(plan: Plan, path: str, component: ComponentPlan | None) -> Plan:
    """Return *plan* with *component*, or with nothing, at *path*."""
    names = path.split("/")[2:]  # "", the program's name, and then components'
    return attrs.evolve(plan, components=_put(plan.components, names, component))


def _put(
    siblings: tuple[ComponentPlan, ...], names: list[str], new: ComponentPlan | None
) -> tuple[ComponentPlan, ...]:
    """Return *siblings* with *new*, or nothing, where *names* lead."""
    first, *rest = names
    if rest:
        return tuple(
            attrs.evolve(each, components=_put(each.components, rest, new))
            if each.name == first
            else each
            for each in siblings
        )
    others = tuple(each for each in siblings if each.name != first)
    return others if new is None else (*others, new)
