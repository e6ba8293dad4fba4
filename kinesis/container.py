"""
A component of ordered children.

`Container` is what people make and subclass; `ContainerRef` is what everybody
holds of one that runs: add, remove, look up, iterate.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypeVar, overload

from kinesis.broadcasting import Broadcast, broadcast
from kinesis.cells import Cell
from kinesis.component import Component, check_name, check_settings
from kinesis.declared import private, setting
from kinesis.errors import (
    ComponentNotFoundError,
    DeclarationError,
    DuplicateNameError,
    StageError,
)
from kinesis.futures import Future, OutsideFuture
from kinesis.refs import SEND_TIMEOUT, STAGE_TIMEOUT, Ref
from kinesis.restarts import STRATEGIES, Strategy
from kinesis.services import Services
from kinesis.snapshots import codec_of
from kinesis.supervision import Wish
from kinesis.supervisor import Answer, Supervisor

C = TypeVar("C", bound=Component, covariant=True)
N = TypeVar("N", bound=Component)
K = TypeVar("K", bound="Container")


class Container(Component):
    """
    A component that has components in it.

    It starts them in order, one after another, supervises them, and stops them in
    the reverse order. It is STARTED once all of them are; if one does not start,
    those that did are stopped again and the container fails.

    Its own hooks come first on the way up and last on the way down: children may
    use what `init` opened.

    Args:
        components: The children, in the order in which they start. Each must be
            new, and have a name of its own.
        strategy: Whom the end of one child restarts: ``one-for-one`` only itself;
            ``rest-for-one`` also those started after it; ``one-for-all`` all.
    """

    components: Sequence[Component] = setting(factory=tuple)
    strategy: Strategy = setting(default="one-for-one")
    _more: list[Component] = private(factory=list)

    def add(self, component: Component) -> None:
        """
        Give it one more child, before it is added to a runtime itself.

        Once it runs, children are added through its `ContainerRef`.
        """
        if getattr(self, "_kinesis", None) is not None:
            ContainerRef(self.ref._cell).add(component)
            return
        self._more.append(component)

    def tell_children(
        self, message: object, timeout: float | None = SEND_TIMEOUT
    ) -> dict[str, Broadcast]:
        """Send *message* to all below; see `ContainerRef.broadcast`."""
        return ContainerRef(self.ref._cell).broadcast(message, timeout)

    def children(self) -> tuple[Component, ...]:
        """Return the components that were given to it, in order."""
        return (*self.components, *self._more)


class ContainerRef(Ref[C]):
    """
    A container, seen from outside.

    ``container["stock"]``, ``container["/app/shop/stock"]``, ``"stock" in
    container``, ``len(container)``; iteration in activation order.
    """

    __slots__ = ()

    @property
    def _supervisor(self) -> Supervisor:
        supervisor = self._cell.supervisor
        if supervisor is None:  # made with the cell
            raise StageError(f"'{self.path}' is not in a runtime.")
        return supervisor

    # -- adding and removing ---------------------------------------------------------

    @overload
    def add(self, component: K, timeout: float | None = ...) -> ContainerRef[K]: ...
    @overload
    def add(self, component: N, timeout: float | None = ...) -> Ref[N]: ...
    def add(self, component: Any, timeout: float | None = None) -> Any:
        """
        Start *component* here, and return its `Ref` once it is STARTED.

        Components come up one after another, in the order added, by how many
        threads ever. An add from inside a hook comes up at once if the activation
        in its way waits for that hook. To a container that has not begun, the
        component comes up with it, and this returns at once. What is refused was
        never in it, and may be added elsewhere.

        Args:
            timeout: Seconds; None waits for as long as those before take.

        Raises:
            ActivationError: A hook raised; its exception is the cause.
            ContainerStoppingError: The container stops, or has stopped.
            DuplicateNameError: It has a child of that name.
            InvalidNameError: The name cannot be part of a path.
            StageError: The component is, or was, in a runtime already.
            WaitTimeoutError: Not within *timeout*; it goes on coming up.
        """
        inside = self._cell.services.inside()
        node = inside.node if inside is not None else None
        cell, answer = self._submit(component, node, wait=True)
        if self._supervisor.has_begun or answer.future.done():
            answer.future.result(timeout)
        return ref_of(cell)

    @overload
    def add_nowait(self, component: K) -> Future[ContainerRef[K]]: ...
    @overload
    def add_nowait(self, component: N) -> Future[Ref[N]]: ...
    def add_nowait(self, component: Any) -> Any:
        """
        Have *component* started in its turn; return a future of its `Ref`.

        It queues behind what was added before, and never comes up inside another
        activation. Errors as in `add`, from the future's ``result()``. Callbacks that
        have to wait for it run on a thread of their own.
        """
        cell, answer = self._submit(component, None, wait=False)
        threads = self._cell.services.threads
        refs: OutsideFuture[Any] = OutsideFuture(threads, f"'{cell.path}'")

        def settle(done: Future[Cell]) -> None:
            error = done.exception(0)
            if error is None:
                refs.set_result(ref_of(cell))
            else:
                refs.set_exception(error)

        answer.future.add_done_callback(settle)
        return refs

    def _submit(
        self, component: Component, node: Any, wait: bool
    ) -> tuple[Cell, Answer]:
        """Make a cell for *component*, and hand it to the supervisor."""
        self._cell.services.check_process()
        cell = make_cell(component, self._cell, self._cell.services)
        return cell, self._supervisor.add(cell, node, wait)

    def remove(self, name: str, timeout: float | None = STAGE_TIMEOUT) -> None:
        """
        Stop the child called *name*, tear it down and forget it.

        A component that removes itself, or what it is in, does not wait.

        Raises:
            ComponentNotFoundError: There is none.
            WaitTimeoutError: Not within *timeout* seconds; it goes on.
        """
        child = self[name]
        child._ask(Wish.REMOVE, timeout)

    # -- looking up -------------------------------------------------------------------

    def __getitem__(self, path: str) -> Any:
        """
        Return the `Ref` at *path*: a child's name, or ``a/b``, or from the root.

        Raises:
            ComponentNotFoundError: There is none; it names the nearest.
        """
        return ref_of(find_cell(self._cell, path))

    def __contains__(self, path: object) -> bool:
        try:
            find_cell(self._cell, str(path))
        except ComponentNotFoundError:
            return False
        return True

    def __iter__(self) -> Iterator[Ref[Any]]:
        """Iterate over the children that are there now, in activation order."""
        return iter([ref_of(child.cell) for child in self._supervisor.books.in_order()])

    def __len__(self) -> int:
        return len(self._supervisor.books.children)

    def __bool__(self) -> bool:
        return True  # not by its length: an empty container is there

    def walk(self) -> Iterator[Ref[Any]]:
        """Iterate over everything below, each container before its children."""
        for child in self:
            yield child
            if isinstance(child, ContainerRef):
                yield from child.walk()

    # -- messages ----------------------------------------------------------------------

    def broadcast(
        self, message: object, timeout: float | None = SEND_TIMEOUT
    ) -> dict[str, Broadcast]:
        """
        Send *message* to every component below that handles messages.

        It never raises for one of them. A control message is obeyed by all.

        Returns:
            By path, what its handler returned, or the error. In activation order.
            All are sent at once; *timeout* is for the whole.
        """
        cells = (ref._cell for ref in self.walk())
        return broadcast(self._cell.services, cells, message, timeout)

    def __repr__(self) -> str:
        counts: dict[str, int] = {}
        for child in self._supervisor.books.children.copy().values():
            stage = str(child.cell.stage).lower()
            counts[stage] = counts.get(stage, 0) + 1
        below = ", ".join(f"{n} {stage}" for stage, n in counts.items()) or "empty"
        kind = type(self._cell.component).__name__
        return f"<{kind} {self.path} [{self._cell.status()} | {below}]>"


def ref_of(cell: Cell) -> Any:
    """Return the `Ref` of *cell*; a `ContainerRef` if it has children."""
    return Ref(cell) if cell.supervisor is None else ContainerRef(cell)


def make_cell(component: Component, parent: Cell | None, services: Services) -> Cell:
    """
    Make the cell of *component*, and of all that is in it.

    Raises:
        DeclarationError: It is no component, or its class or settings are wrong.
        DuplicateNameError: Two children have the same name.
        InvalidNameError: A name cannot be part of a path.
        StageError: It is, or was, in a runtime already.
    """
    if not isinstance(component, Component):
        raise DeclarationError(
            f"{component!r} is no component: only instances of classes below "
            f"kinesis.Component can be added."
        )
    if getattr(component, "_kinesis", None) is not None:
        raise StageError(
            f"{component!r} is, or was, in a runtime already: a component has one "
            f"place. Make a new one, or start this one through its ref.",
        )
    if "name" not in component.__dict__:
        raise DeclarationError(
            f"{component!r} is not complete: {type(component).__qualname__}.__init__ "
            f"does not call self.__attrs_init__(...), which takes the name and all "
            f"other fields. Or write init(), a hook, instead."
        )
    name = check_name(component.name)
    above = "" if parent is None else parent.path
    path = f"{above}/{name}"
    check_settings(component, path)
    codec_of(type(component))  # here, where somebody waits for what it may raise
    cell = Cell(component, path, services, parent)
    component._kinesis = _Waiting(path)
    if isinstance(component, Container):
        try:
            _give_children(component, cell, services)
        except BaseException:
            _release(cell)
            raise
    return cell


def _release(cell: Cell) -> None:
    """Let the components in *cell* be added elsewhere: nobody has taken them in."""
    cell.component._kinesis = None
    if cell.supervisor is not None:
        for child in cell.supervisor.books.children.values():
            _release(child.cell)


class _Waiting:
    """Stands for the life of a component that has none yet."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __getattr__(self, name: str) -> Any:
        raise StageError(
            f"'{self.path}' waits for its turn to come up: it has no {name} yet.",
            path=self.path,
        )


def _give_children(container: Container, cell: Cell, services: Services) -> None:
    """Make the supervisor of a container, and the cells of its children."""
    if container.strategy not in STRATEGIES:
        raise DeclarationError(
            f"'{cell.path}' has no strategy {container.strategy!r}. Strategies: "
            f"{', '.join(STRATEGIES)}."
        )
    cell.supervisor = supervisor = Supervisor(cell, container.strategy)
    cell.suffix = " (hooks)"
    for child in container.children():
        if getattr(child, "name", None) in supervisor.books.children:
            raise DuplicateNameError(
                f"'{cell.path}' is given two components called '{child.name}'. Give "
                f"each a name of its own.",
                path=cell.path,
                name=child.name,
            )
        supervisor.register(make_cell(child, cell, services))


def find_cell(start: Cell, path: str) -> Cell:
    """
    Return the cell at *path*, seen from the container *start*.

    Raises:
        ComponentNotFoundError: There is none; it names the nearest.
    """
    cell = start
    parts = [part for part in path.split("/") if part] or [""]
    if path.startswith("/"):
        while cell.parent is not None:
            cell = cell.parent
        if parts[0] != cell.name:
            raise ComponentNotFoundError.at("/", parts[0], [cell.name])
        parts = parts[1:]
    for part in parts:
        children = cell.supervisor.books.children if cell.supervisor else {}
        child = children.get(part)
        if child is None:
            raise ComponentNotFoundError.at(cell.path, part, list(children.copy()))
        cell = child.cell
    return cell
