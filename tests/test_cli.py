"""The command parses, calls and prints, and tells the shell what came of it."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, ClassVar

import jsonschema
import pytest
import yaml
from click.testing import CliRunner, Result

from kinesis import config, stages
from kinesis.cli import cli
from kinesis.errors import ConfigError
from tests.programs import ROOT, UNMEASURED

PATIENCE = 20.0  # seconds until a process that should have ended is killed

# Processes of their own import this source tree, wherever they stand.
ENVIRONMENT = {**os.environ, **UNMEASURED, "PYTHONPATH": str(ROOT)}

RIGHT = """\
name: shop
components:
  - name: parts
    components:
      - {name: first, type: "parts:Part"}
      - {name: second, type: "parts:Part"}
"""

WRONG = """\
name: shop
components:
  - name: stock
    typ: parts:Part
  - name: "no slash/"
    type: parts:Parts
"""

PARTS = """\
from kinesis.component import Component


class Part(Component):
    \"\"\"Does nothing.\"\"\"
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Stand in an empty directory; forget afterwards what was imported from it."""
    known, path = set(sys.modules), sys.path[:]
    monkeypatch.chdir(tmp_path)

    yield tmp_path

    sys.path[:] = path
    for name in set(sys.modules) - known:
        if str(tmp_path) in (getattr(sys.modules[name], "__file__", None) or ""):
            del sys.modules[name]


@pytest.fixture
def shop(here: Path) -> Path:
    """Write a program that is right, one with faults, and their classes."""
    (here / "shop.yaml").write_text(RIGHT)
    (here / "wrong.yaml").write_text(WRONG)
    (here / "parts.py").write_text(PARTS)
    return here


def call(*arguments: str, **environment: str) -> Result:
    """Call the command in this process."""
    return CliRunner().invoke(cli, arguments, prog_name="kinesis", env=environment)


def command(
    *arguments: str, stdout: int | IO[str] = subprocess.PIPE, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Call ``python -m kinesis`` in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "kinesis", *arguments],
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        timeout=PATIENCE,
        check=False,
        env={**ENVIRONMENT, **environment},
    )


# -- the command itself --------------------------------------------------------------


def test_the_version_is_one_line() -> None:
    """
    The name and the number of the distribution, for scripts to read.
    """
    result = call("--version")

    assert result.exit_code == 0
    assert result.output.startswith("kinesis ")
    assert len(result.output.splitlines()) == 1


def test_a_source_tree_that_is_not_installed_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    Without a distribution there is no version to tell; and no traceback either.
    """
    monkeypatch.setattr("kinesis.cli.DISTRIBUTION", "kinesis-of-nobody")

    assert call("--version").output == "kinesis (not installed)\n"


def test_the_version_imports_only_what_it_needs() -> None:
    """
    It comes at once: what a command needs is imported by that command.
    """
    loaded = modules_loaded_by("--version")

    assert "click" in loaded
    assert not loaded & {"attrs", "blinker", "msgspec", "structlog", "werkzeug", "yaml"}


def modules_loaded_by(*arguments: str) -> set[str]:
    """Return the top-level modules that a process of the command has imported."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "kinesis", *arguments],
        check=True,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        env=ENVIRONMENT,
    )
    names = (line.rpartition("|")[2].strip() for line in done.stderr.splitlines())
    return {name.partition(".")[0] for name in names}


def test_python_m_kinesis_is_the_same_command() -> None:
    """
    Both tell their usage under one name.
    """
    ended = command("--help")

    assert ended.returncode == 0
    assert ended.stdout.startswith("Usage: kinesis ")
    assert (
        ended.stdout.partition("\n\n")[0] == call("--help").output.partition("\n\n")[0]
    )


@pytest.mark.parametrize(
    "arguments",
    [["fly"], ["run"], ["run", "none.yaml"], ["stages", "--format", "gif"], ["--fly"]],
    ids=" ".join,
)
def test_wrong_usage_is_two(arguments: list[str]) -> None:
    """
    Exit code 2, and a line that says what was wrong.
    """
    result = call(*arguments)

    assert result.exit_code == 2
    assert "Error: " in result.output


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("kinesis s", {"stages", "schema"}),
        ("kinesis stages --format ", {"text", "dot"}),
    ],
)
def test_shells_complete_it(words: str, offered: set[str]) -> None:
    """
    What the docs tell shells to ask is answered.
    """
    ended = command(
        _KINESIS_COMPLETE="bash_complete",
        COMP_WORDS=words,
        COMP_CWORD=str(len(words.split(" ")) - 1),
    )
    found = {line.partition(",")[2] for line in ended.stdout.splitlines()}

    assert offered <= found


# -- stages, schema ------------------------------------------------------------------


@pytest.mark.parametrize("form", ["text", "dot", "mermaid"])
def test_stages_prints_the_table_that_the_machine_follows(form: str) -> None:
    """
    Text, Graphviz or Mermaid, straight from the data.
    """
    result = call("stages", "--format", form)

    assert result.exit_code == 0
    assert result.output.strip() == stages.render(form).strip()


def test_the_schema_accepts_a_program_and_refuses_nonsense() -> None:
    """
    What is printed is a JSON Schema that editors can use.
    """
    schema = json.loads(call("schema").output)
    jsonschema.Draft202012Validator.check_schema(schema)

    jsonschema.validate(yaml.safe_load(RIGHT), schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"name": "shop", "component": []}, schema)


# -- check ---------------------------------------------------------------------------


def test_a_file_without_faults_is_counted(shop: Path) -> None:
    """
    Containers are components too.
    """
    result = call("check", "shop.yaml")

    assert result.output == "shop.yaml: no faults in 3 components.\n"
    assert result.exit_code == 0


def test_every_fault_is_told_with_its_place(shop: Path) -> None:
    """
    One line each on standard error, as compilers print them; exit code 2.
    """
    with pytest.raises(ConfigError) as caught:
        config.load("wrong.yaml")
    result = call("check", "wrong.yaml")
    told = result.stderr.splitlines()

    assert result.exit_code == 2
    assert result.stdout == ""
    assert told[:-1] == str(caught.value).splitlines()
    assert told[-1] == f"wrong.yaml: {len(caught.value.faults)} faults."
    assert any(line.startswith("wrong.yaml:4:5: ") for line in told)


def test_classes_are_found_from_where_the_command_is_called(here: Path) -> None:
    """
    The file may lie in a directory of its own, as settings often do.
    """
    (here / "parts.py").write_text(PARTS)
    (here / "etc").mkdir()
    (here / "etc" / "shop.yaml").write_text(RIGHT)

    assert call("check", "etc/shop.yaml").exit_code == 0


def test_a_module_called_as_one_of_pythons_own_stops_nothing(shop: Path) -> None:
    """
    What the command itself imports is not looked for in the current directory.
    """
    (shop / "queue.py").write_text("")
    ended = subprocess.run(
        [sys.executable, "-P", "-m", "kinesis", "check", "shop.yaml"],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
        env=ENVIRONMENT,  # -P: as the installed script, which is elsewhere
    )

    assert ended.stdout == "shop.yaml: no faults in 3 components.\n", ended.stderr


def test_a_current_directory_that_was_deleted_is_no_place_to_import_from(
    shop: Path,
) -> None:
    """
    The file is named in full, and its classes are beside it.
    """
    gone = shop / "gone"
    gone.mkdir()
    os.chdir(gone)
    gone.rmdir()
    result = call("check", str(shop / "shop.yaml"))
    os.chdir(shop)

    assert result.output == f"{shop / 'shop.yaml'}: no faults in 3 components.\n"
    assert result.exit_code == 0


# -- printing ------------------------------------------------------------------------

FULL = Path("/dev/full")


@pytest.mark.skipif(not FULL.exists(), reason="only Linux has a device that is full")
@pytest.mark.parametrize(
    "arguments",
    [["stages"], ["check", "shop.yaml"], ["schema"], ["new", "mine"], ["--version"]],
    ids=" ".join,
)
def test_what_cannot_be_printed_is_one_line_and_one(
    shop: Path, arguments: list[str]
) -> None:
    """
    A disk that is full: exit code 1, no traceback, and no complaint of Python's.
    """
    with FULL.open("w") as full:
        ended = command(*arguments, stdout=full)

    assert ended.returncode == 1
    assert ended.stderr == (
        "kinesis: cannot print: [Errno 28] No space left on device\n"
    )


def test_a_reader_who_has_seen_enough_is_told_nothing() -> None:
    """
    As in ``kinesis stages | head -1``.
    """
    reader, writer = os.pipe()
    os.close(reader)
    try:
        ended = command("stages", stdout=writer)
    finally:
        os.close(writer)

    assert (ended.returncode, ended.stderr) == (1, "")


# -- run -----------------------------------------------------------------------------


class FakeRuntime:
    """What `run` calls: it ends with the code it is told to."""

    code: ClassVar[int] = 0
    fault: ClassVar[BaseException | None] = None
    file: ClassVar[str] = ""

    @classmethod
    def from_file(cls, path: str) -> FakeRuntime:
        """Note *path*, or raise what is wrong with it."""
        if cls.fault is not None:
            raise cls.fault
        FakeRuntime.file = path
        return cls()

    def run(self) -> int:
        """Log a line and return the code."""
        log = logging.getLogger("kinesis")
        log.debug("for developers", extra={"path": "/shop"})
        log.info("started", extra={"path": "/shop", "seconds": 0.5})
        return self.code


class Left(Exception):
    """The process would have ended here."""


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch) -> type[FakeRuntime]:
    """Put a fake in the runtime's place, and stay in this process."""

    class Fresh(FakeRuntime):
        pass

    def leave(*arguments: object) -> None:
        raise Left(*arguments[:2])

    module: Any = types.ModuleType("kinesis.runtime")
    module.Runtime = Fresh
    monkeypatch.setitem(sys.modules, "kinesis.runtime", module)
    monkeypatch.setattr("kinesis.leave.leave", leave)
    return Fresh


@pytest.mark.parametrize(
    ("code", "unsure"),
    [(0, False), (1, False), (3, True), (130, True), (143, True)],
)
def test_run_leaves_with_the_runtimes_code(
    shop: Path, runtime: type[FakeRuntime], code: int, unsure: bool
) -> None:
    """
    After 3 and a forced exit code may still run: the process is left by force.
    """
    runtime.code = code
    result = call("run", "shop.yaml")

    assert isinstance(result.exception, Left)
    assert result.exception.args == (code, unsure)
    assert FakeRuntime.file == "shop.yaml"


def test_the_log_goes_to_standard_error(shop: Path, runtime: type[FakeRuntime]) -> None:
    """
    Standard output is the program's own; off a terminal the log is JSON.
    """
    result = call("run", "shop.yaml")
    [line] = [json.loads(line) for line in result.stderr.splitlines()]

    assert result.stdout == ""
    assert (line["path"], line["message"], line["seconds"]) == ("/shop", "started", 0.5)


@pytest.mark.parametrize(
    ("arguments", "environment", "expected"),
    [
        ([], {}, ["started"]),
        (["--log-level", "debug"], {}, ["for developers", "started"]),
        (["--log-level", "ERROR"], {}, []),
        ([], {"KINESIS_LOG_LEVEL": "debug"}, ["for developers", "started"]),
        (["--log-level", "info"], {"KINESIS_LOG_LEVEL": "debug"}, ["started"]),
    ],
)
def test_the_level_comes_from_the_option_or_else_the_environment(
    shop: Path,
    runtime: type[FakeRuntime],
    arguments: list[str],
    environment: dict[str, str],
    expected: list[str],
) -> None:
    """
    KINESIS_LOG_LEVEL for a service, --log-level for a person; info otherwise.
    """
    result = call("run", "shop.yaml", *arguments, **environment)
    lines = [json.loads(line) for line in result.stderr.splitlines()]

    assert [line["message"] for line in lines] == expected


def test_a_wrong_level_in_the_environment_is_wrong_usage(
    shop: Path, runtime: type[FakeRuntime]
) -> None:
    """
    It is named, with those that there are.
    """
    result = call("run", "shop.yaml", KINESIS_LOG_LEVEL="loud")

    assert result.exit_code == 2
    assert "loud" in result.output
    assert "warning" in result.output


def test_people_can_ask_for_their_format(
    shop: Path, runtime: type[FakeRuntime]
) -> None:
    """
    Some read a log that is no terminal: in a container, say.
    """
    result = call("run", "shop.yaml", "--log-format", "text")

    assert result.stderr.rstrip().endswith("started 0.500 s")


def test_run_tells_faults_as_check_does(shop: Path, runtime: type[FakeRuntime]) -> None:
    """
    Nothing is started; exit code 2, no traceback.
    """
    with pytest.raises(ConfigError) as caught:
        config.load("wrong.yaml")
    runtime.fault = caught.value
    result = call("run", "wrong.yaml")

    assert result.exit_code == 2
    assert result.stderr == call("check", "wrong.yaml").stderr


def test_a_constructor_that_exits_is_a_fault_of_the_file(shop: Path) -> None:
    """
    The command itself would otherwise end in silence, with the component's code.
    """
    leave = "    def __attrs_post_init__(self):\n        raise SystemExit(0)\n"
    (shop / "leaves.py").write_text(f"{PARTS}\n{leave}")
    (shop / "shop.yaml").write_text(RIGHT.replace("parts:Part", "leaves:Part"))
    ended = command("run", "shop.yaml")
    message = "expected Part to take its arguments; got SystemExit: 0."

    assert ended.returncode == 2
    assert ended.stderr.splitlines() == [
        f"shop.yaml:5:9: {message}",
        f"shop.yaml:6:9: {message}",
        "shop.yaml: 2 faults.",
    ]


def test_ctrl_c_while_the_file_is_read_is_130(
    shop: Path, runtime: type[FakeRuntime]
) -> None:
    """
    Nothing had been started that could be stopped.
    """
    runtime.fault = KeyboardInterrupt()

    assert call("run", "shop.yaml").exit_code == 130


def test_run_puts_logging_back(shop: Path, runtime: type[FakeRuntime]) -> None:
    """
    Called from another program the command leaves that program's logging alone.
    """
    before = logging.getLogger().handlers[:]
    call("run", "shop.yaml")

    assert logging.getLogger().handlers == before


# -- new -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        *["shop", "my-shop", "json", "import", "2nd"],
        *["123", "1.5", "true", "null", "~", "-x", ".nan"],
    ],
)
def test_a_new_project_has_a_file_that_is_right(here: Path, name: str) -> None:
    """
    Whatever it is called: a module of Python's own, a number, an option.
    """
    made = call("new", "--", name)

    assert made.exit_code == 0, made.output
    assert sorted(path.name for path in (here / name).iterdir()) == sorted(
        [
            *["README.md", "requirements.txt", f"{name}.yaml"],
            *["components.py", "test_components.py"],
        ]
    )
    assert f"cd ./{name} && kinesis run ./{name}.yaml" in made.output
    assert "@NAME@" not in "".join(p.read_text() for p in (here / name).iterdir())
    checked = command("check", f"./{name}/{name}.yaml")
    assert checked.stdout == f"./{name}/{name}.yaml: no faults in 1 component.\n"


def test_the_test_of_a_new_project_passes(here: Path) -> None:
    """
    It is run as its README says, with warnings as errors.
    """
    call("new", "shop")
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider"],
        cwd=here / "shop",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=ENVIRONMENT,
    )

    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "1 passed" in ended.stdout


@pytest.mark.parametrize("name", ["a/b", "", "..", "two words"])
def test_a_name_that_no_program_can_have_is_refused(here: Path, name: str) -> None:
    """
    Nothing is made, and the message says which characters there are.
    """
    result = call("new", name)

    assert result.exit_code == 1
    assert "cannot be a component's name" in result.stderr
    assert list(here.iterdir()) == []


def test_nothing_that_is_there_is_overwritten(here: Path) -> None:
    """
    A directory of that name is left as it is.
    """
    (here / "shop").mkdir()
    result = call("new", "shop")

    assert result.exit_code == 1
    assert "cannot make 'shop': it is there already" in result.stderr
    assert list((here / "shop").iterdir()) == []
