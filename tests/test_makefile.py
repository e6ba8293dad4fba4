"""`make demo` hands the terminal over, and tells the program's own exit code."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PATIENCE = 20.0  # seconds until a make that should have ended is killed

pytestmark = pytest.mark.skipif(
    shutil.which("make") is None, reason="a wheel can be tested where make is not"
)

# On a terminal of its own: run make, press the keys once it is ready, show its end.
PERSON = """
import os, pty, sys
keys, *command = sys.argv[1:]
child, terminal = pty.fork()
if child == 0:
    os.execvp(command[0], command)
seen, pressed = b"", False
while True:
    try:
        piece = os.read(terminal, 1024)
    except OSError:  # how Linux says that nobody is left on the terminal
        piece = b""
    if not piece:
        break
    seen += piece
    if b"ready" in seen and not pressed:
        pressed = True
        os.write(terminal, keys.encode())
sys.stdout.write(seen.decode())
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""

PROGRAM = """\
#!{bash}
trap 'echo "stopped"; exit {code}' INT
echo "ready $*"
for _ in {{1..200}}; do read -r -t 0.05 line || true; done
"""


@pytest.fixture
def environment(tmp_path: Path) -> Path:
    """Make what `make` takes for an environment that is up to date."""
    venv = tmp_path / "venv"
    (venv / "bin").mkdir(parents=True)
    for variable in ("MADE", "DEMO"):
        shown = make(f"--eval=show: ; @echo $({variable})", "show", f"VENV={venv}")
        Path(shown.stdout.strip()).touch()
    return venv


def make(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run make in the project."""
    return subprocess.run(
        command(*arguments),
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE,
        env=clean(),
    )


def command(*arguments: str) -> list[str]:
    """Return the command that runs make in the project with this Python."""
    return ["make", "-sC", str(ROOT), f"PYTHON={sys.executable}", *arguments]


def clean() -> dict[str, str]:
    """Return the environment without what a make around these tests has put there."""
    return {
        key: value
        for key, value in os.environ.items()
        if key not in {"MAKEFLAGS", "MFLAGS", "MAKELEVEL", "VENV", "PYTHON"}
    }


def demo(venv: Path, keys: str, code: int) -> subprocess.CompletedProcess[str]:
    """Run the demo in *venv* with a program that ends with *code* when interrupted."""
    program = venv / "bin" / "kinesis"
    program.write_text(PROGRAM.format(bash=shutil.which("bash"), code=code))
    program.chmod(0o755)
    return subprocess.run(
        [sys.executable, "-c", PERSON, keys, *command("demo", f"VENV={venv}")],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
        env=clean(),
    )


def test_ctrl_c_stops_the_demo_and_make_is_content(environment: Path) -> None:
    """
    A program that answers ctrl-c with 0 makes `make demo` answer 0.
    """
    ended = demo(environment, "\x03", code=0)

    assert "ready run demo/demo.yaml" in ended.stdout
    assert "stopped" in ended.stdout
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_a_demo_that_fails_makes_make_fail(environment: Path) -> None:
    """
    Any other exit code is an error that make names.
    """
    ended = demo(environment, "\x03", code=3)

    assert ended.returncode == 2
    assert "Error 3" in ended.stdout


def test_ctrl_z_leaves_no_demo_behind(environment: Path) -> None:
    """
    Make could not be suspended with it, so the program is not suspended either.
    """
    ended = demo(environment, "\x1a\x03", code=0)

    assert "stopped" in ended.stdout
    assert ended.returncode == 0, ended.stdout + ended.stderr
