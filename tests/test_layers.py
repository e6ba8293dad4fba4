"""
The package map is true: modules import downwards, never sideways or up.

Reads the source only, so it runs in milliseconds and names the edge that is
wrong.  Change LAYERS when the architecture changes, on purpose, in a commit
that says why.
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "kinesis"

# A package (web, testing, ...) is one name here: inside, its modules import one
# another as they like.
LAYERS = [
    {"errors"},
    {"calls", "concurrency", "traces"},
    {"futures"},
    {
        "stages",
        "restarts",
        "timers",
        "turns",
        "waits",
        "mailbox",
        "declared",
        "messages",
    },
    {"control", "snapshots", "changes", "life", "routing", "doors"},
    {"component", "services", "workers"},
    {"handlers"},
    {"cells"},
    {"notices", "publishing", "schedules"},
    {"access"},
    {"direct"},
    {"serving"},
    {"inside"},
    {"lifecycle", "supervision"},
    {"answers", "inboxes"},
    {"deciding"},
    {"supervisor", "standing"},
    {"steering"},
    {"sending"},
    {"refs", "broadcasting"},
    {"container", "reports", "systemd", "leave"},
    {"web", "persistence", "config", "interrupts", "conductor"},
    {"reloading"},
    {"runtime"},
    {"safe_handler", "scaffold", "testing"},
    {"logs"},
    {"cli"},
    {"__init__", "__main__"},
]
DEPTH = {name: depth for depth, layer in enumerate(LAYERS) for name in layer}
FACADE = DEPTH["__init__"]  # unknown names are public ones, from the facade

SOURCES = sorted(PACKAGE.rglob("*.py"))

# These two make threads and read clocks; everything else asks a `Threads`.
SEAM = {"concurrency/system.py", "testing/simulation.py"}
MODULES_BEYOND = {"threading", "_thread", "queue"}
NAMES_BEYOND = {"time.sleep", "time.monotonic"}


def name_of(path: Path) -> str:
    """Return ``web/server.py`` for that module, whatever the machine."""
    return path.relative_to(PACKAGE).as_posix()


def unit_of(path: Path) -> str:
    """Return the name that LAYERS knows *path* by: its module's or package's."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@functools.cache
def nodes_in(path: Path) -> tuple[ast.AST, ...]:
    """Return every node of the module *path* that can run."""
    return tuple(nodes_of(ast.parse(path.read_text(encoding="utf-8"))))


def nodes_of(node: ast.AST) -> Iterator[ast.AST]:
    """
    Yield every node below *node* that can run.

    What stands under ``if TYPE_CHECKING:`` names types and imports nothing.
    """
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            continue
        yield child
        yield from nodes_of(child)


def imports_of(path: Path) -> Iterator[str]:
    """Yield the dotted name of everything that *path* imports, wherever it does."""
    for node in nodes_in(path):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name_of(path)}: write the import in full"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def units_imported_by(path: Path) -> Iterator[str]:
    """Yield the name that LAYERS knows each module of ours by that *path* imports."""
    for name in imports_of(path):
        package, _, rest = name.partition(".")
        if package == "kinesis":
            yield rest.partition(".")[0] or "__init__"


def attributes_of(path: Path) -> Iterator[str]:
    """Yield ``time.sleep`` for each such attribute that *path* reads."""
    for node in nodes_in(path):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            yield f"{node.value.id}.{node.attr}"


def test_every_module_has_a_layer() -> None:
    """
    Whoever adds a module says where it stands.
    """
    missing = {unit_of(path) for path in SOURCES} - set(DEPTH)

    assert not missing, f"put {sorted(missing)} into LAYERS, in the row they belong to"


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_imports_point_down(path: Path) -> None:
    """
    Each module imports only from layers below its own.
    """
    own = unit_of(path)
    inside = {own} if path.parent != PACKAGE else set()
    imported = set(units_imported_by(path)) - inside
    depth = DEPTH.get(own, FACADE)
    wrong = {name for name in imported if DEPTH.get(name, FACADE) >= depth}

    assert not wrong, (
        f"{name_of(path)} imports {sorted(wrong)}, which LAYERS puts beside or above "
        f"it. Move the shared part down a layer, or pass it in as an argument."
    )


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_only_the_seam_makes_threads_and_reads_clocks(path: Path) -> None:
    """
    Everything that waits asks a Threads, so a simulation can take its place.
    """
    if name_of(path) in SEAM:
        return
    wrong = {
        name
        for name in imports_of(path)
        if name in NAMES_BEYOND or name.partition(".")[0] in MODULES_BEYOND
    } | (NAMES_BEYOND & set(attributes_of(path)))

    assert not wrong, (
        f"{name_of(path)} uses {sorted(wrong)}. Take a Threads as an argument and "
        f"ask it instead, so that the simulation can run this too."
    )
