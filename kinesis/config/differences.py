"""
What changed between two readings of a file.

The order of siblings is no difference: those that run are not stopped to run in
another order. It counts when a program is started.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType

import attrs

from kinesis.config.plan import ComponentPlan, Plan


@attrs.frozen
class Difference:
    """
    What to do to a running program so that it is as the new file says.

    Attributes:
        added: New components by path, in the order of the new file.
        removed: Components that are gone, by path, the last of the file first.
        changed: Components of the same name and other content, by path, as the
            new file has them, in its order. Replace them; for a container of
            which only children differ, these are named instead.
        program: The keys of the program itself that differ (``name``,
            ``http``, …); they take effect when it is started again.
    """

    added: Mapping[str, ComponentPlan]
    removed: Mapping[str, ComponentPlan]
    changed: Mapping[str, ComponentPlan]
    program: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed or self.program)


def difference(old: Plan, new: Plan) -> Difference:
    """
    Return what makes a program that runs as *old* one that runs as *new*.

    Paths begin with the old name, which is the one that runs.
    """
    path = f"/{old.name}"
    gone = dict(_gone(path, old.components, new.components))
    added, changed = dict[str, ComponentPlan](), dict[str, ComponentPlan]()
    for own, before, plan in _come(path, old.components, new.components):
        (added if before is None else changed)[own] = plan
    return Difference(
        added=MappingProxyType(added),
        removed=MappingProxyType(dict(reversed(gone.items()))),
        changed=MappingProxyType(changed),
        program=tuple(
            field.name
            for field in attrs.fields(Plan)
            if field.eq
            and field.name != "components"
            and getattr(old, field.name) != getattr(new, field.name)
        ),
    )


Plans = tuple[ComponentPlan, ...]


def _gone(path: str, old: Plans, new: Plans) -> Iterator[tuple[str, ComponentPlan]]:
    """Yield what is in *old* and not in *new*, in the order of the old file."""
    news = {plan.name: plan for plan in new}
    for plan in old:
        own, after = f"{path}/{plan.name}", news.get(plan.name)
        if after is None:
            yield own, plan
        elif _alone_equal(plan, after):
            yield from _gone(own, plan.components, after.components)


def _come(
    path: str, old: Plans, new: Plans
) -> Iterator[tuple[str, ComponentPlan | None, ComponentPlan]]:
    """Yield what is in *new* and not the same in *old*, after what was there."""
    olds = {plan.name: plan for plan in old}
    for plan in new:
        own, before = f"{path}/{plan.name}", olds.get(plan.name)
        if before is None or not _alone_equal(before, plan):
            yield own, before, plan
        else:
            yield from _come(own, before.components, plan.components)


def _alone_equal(old: ComponentPlan, new: ComponentPlan) -> bool:
    """Return whether two plans are equal but for their children."""
    return attrs.evolve(old, components=()) == attrs.evolve(new, components=())
