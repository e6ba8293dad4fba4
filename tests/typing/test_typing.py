"""mypy and pyright see of a declared class what it does when it runs."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from tests.programs import UNMEASURED

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PATIENCE = 240.0  # seconds that a checker may take on a slow machine

EXAMPLES = ("", "_messages")  # what the names of the examples end with

MARK = re.compile(r"  # type: ignore\[[\w-]+\].*$")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """
    The examples in a directory of their own, without the marks.
    """
    folder = tmp_path / "tests" / "typing"
    folder.mkdir(parents=True)
    for each in (folder, folder.parent):
        (each / "__init__.py").touch()
    names = [f"{kind}{end}.py" for kind in ("accepted", "refused") for end in EXAMPLES]
    for name in names:
        lines = (HERE / name).read_text(encoding="utf-8").splitlines()
        text = "\n".join(MARK.sub("", line) for line in lines)
        (folder / name).write_text(text, encoding="utf-8")
    return tmp_path


def expected_lines() -> set[tuple[str, int]]:
    """Return the file and the number of each marked line."""
    return {
        (name, number)
        for name in (f"refused{end}.py" for end in EXAMPLES)
        for number, line in enumerate(
            (HERE / name).read_text(encoding="utf-8").splitlines(), 1
        )
        if MARK.search(line)
    }


def run(command: list[str], folder: Path) -> str:
    """Return what a checker prints."""
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **UNMEASURED},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode in {0, 1}, done.stdout + done.stderr
    return done.stdout


def test_what_checkers_accept_runs() -> None:
    """
    The accepted examples make their components without an error.
    """
    names = runpy.run_path(str(HERE / "accepted.py"))
    more = runpy.run_path(str(HERE / "accepted_messages.py"))

    assert names["louder"].limit == 8
    assert more["balance"] == 21


def test_mypy_refuses_exactly_the_marked_lines(project: Path) -> None:
    """
    In its strict mode; nothing in the accepted example.
    """
    pytest.importorskip("mypy", reason="it comes with the extra `dev`")
    settings = project / "mypy.ini"
    settings.write_text(
        f"[mypy]\nstrict = true\nmypy_path = {ROOT}\nfollow_imports = silent\n"
        f"cache_dir = {project / 'cache'}\nno_error_summary = true\n",
        encoding="utf-8",
    )
    command = [sys.executable, "-m", "mypy", "--config-file", str(settings)]
    output = run([*command, "tests/typing"], project)
    found = re.findall(r"^(\S+?):(\d+): error", output, flags=re.MULTILINE)

    assert {(Path(name).name, int(line)) for name, line in found} == expected_lines(), (
        output
    )


@pytest.mark.skipif(
    importlib.util.find_spec("pyright") is None,
    reason="pyright is not installed: it is large, and brings a runtime of its own",
)
def test_pyright_refuses_exactly_the_marked_lines(project: Path) -> None:
    """
    The other widely used checker agrees, line by line.
    """
    (project / "pyrightconfig.json").write_text(
        json.dumps(
            {
                "include": ["tests"],
                "extraPaths": [str(ROOT)],
                # strict wants factory=list[str], of dataclasses too
                "typeCheckingMode": "standard",
                "pythonVersion": "3.11",
                "reportUnusedExpression": "none",
            }
        ),
        encoding="utf-8",
    )
    command = [sys.executable, "-m", "pyright", "--outputjson"]
    command += ["--pythonpath", sys.executable]
    report = json.loads(run(command, project))
    found = {
        (Path(each["file"]).name, each["range"]["start"]["line"] + 1)
        for each in report["generalDiagnostics"]
        if each["severity"] == "error"
    }

    assert found == expected_lines(), json.dumps(report["generalDiagnostics"], indent=1)
