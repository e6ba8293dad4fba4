"""The files around the package say the same thing, and say it truly."""

from __future__ import annotations

import configparser
import os
import re
import stat
import tomllib
from pathlib import Path

import pytest

from kinesis.cli import cli
from kinesis.stages import render

ROOT = Path(__file__).parents[1]
SETUP = configparser.ConfigParser()
SETUP.read(ROOT / "setup.cfg", encoding="utf-8")
TOOLS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
CI = (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def words(section: str, option: str) -> set[str]:
    """Return the names of the distributions that *option* asks for."""
    lines = SETUP[section][option].splitlines()
    return {re.split(r"[ <>=\[;]", line)[0] for line in lines if line.strip()}


def test_it_is_installed_under_one_name_and_imported_and_called_under_another() -> None:
    """
    The distribution is kinesis-runtime; module and command are kinesis.
    """
    scripts = SETUP["options.entry_points"]["console_scripts"]

    assert SETUP["metadata"]["name"] == "kinesis-runtime"
    assert scripts.strip() == "kinesis = kinesis.cli:main"


def test_metadata_stands_in_setup_cfg_alone() -> None:
    """
    Each fact once: pyproject.toml configures tools and nothing else.
    """
    assert set(TOOLS) == {"build-system", "tool"}


def test_types_are_shipped() -> None:
    """
    The wheel carries py.typed, or type checkers would ignore our annotations.
    """
    shipped = SETUP["options.package_data"]["kinesis"].split()

    assert "py.typed" in shipped
    assert (ROOT / "kinesis" / "py.typed").exists()


def test_every_runtime_dependency_has_its_reason_beside_it() -> None:
    """
    Each line of install_requires follows a comment that says what it is for.
    """
    text = (ROOT / "setup.cfg").read_text(encoding="utf-8")
    block = text.partition("install_requires =\n")[2].partition("\n\n")[0]
    lines = [line.strip() for line in block.splitlines()]
    bare = [
        line
        for before, line in zip(["", *lines], lines, strict=False)
        if not line.startswith("#") and not before.startswith("#")
    ]

    assert not bare, f"say in setup.cfg, above each, what it is for: {bare}"


def test_every_runtime_dependency_is_one_that_the_code_imports() -> None:
    """
    Nothing is installed that the package does not import.
    """
    modules = {"PyYAML": "yaml", "prometheus-client": "prometheus_client"}
    source = "\n".join(
        path.read_text(encoding="utf-8") for path in (ROOT / "kinesis").rglob("*.py")
    )
    unused = {
        name
        for name in words("options", "install_requires") - {"#"}
        if not re.search(
            rf"^\s*(from|import) {modules.get(name, name)}\b", source, re.M
        )
    }

    assert not unused


@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13"])
def test_each_supported_python_is_named_and_tested(version: str) -> None:
    """
    A Python in the classifiers is one that `make test-all` runs.
    """
    classifiers = SETUP["metadata"]["classifiers"]

    assert f"Programming Language :: Python :: {version}" in classifiers
    assert re.search(rf"^PYTHONS .*\b{re.escape(version)}\b", MAKEFILE, re.M)


@pytest.mark.parametrize(
    "target",
    [
        *["demo", "test", "test-all", "check", "format"],
        *["stress", "bench", "docs", "clean", "help"],
    ],
)
def test_the_makefile_says_what_each_target_is_for(target: str) -> None:
    """
    `make help` has a line for every target that people call.
    """
    assert re.search(rf"^{re.escape(target)}:.* ## \w", MAKEFILE, re.M)


def test_ci_runs_the_tests_as_the_readme_says_and_then_the_checks() -> None:
    """
    CI proves the newcomer's own command, not one of its own.
    """
    lines = [line for line in CI.splitlines() if line and not line.startswith("#")]

    assert lines[0] == "set -euo pipefail"
    assert lines[-2:] == ["make test", "make check"]


@pytest.mark.parametrize("name", [".ci/run"])
def test_what_is_called_may_be_called(name: str) -> None:
    """
    Scripts are executable.
    """
    assert os.stat(ROOT / name).st_mode & stat.S_IXUSR


def test_coverage_is_held() -> None:
    """
    Branches count, and less than 95 % fails the suite.
    """
    coverage = TOOLS["tool"]["coverage"]

    assert coverage["run"]["branch"] is True
    assert coverage["report"]["fail_under"] >= 95
    assert "coverage report" in MAKEFILE


@pytest.mark.parametrize("form", ["text", "mermaid"])
def test_the_docs_draw_the_table_that_the_machine_follows(form: str) -> None:
    """
    docs/stages.md has what `kinesis stages` prints, to the letter.
    """
    page = (ROOT / "docs" / "stages.md").read_text(encoding="utf-8")

    assert f"```{form}\n{render(form).rstrip()}\n```\n" in page


def test_the_docs_name_every_command_and_option() -> None:
    """
    docs/command.md speaks of all that `kinesis --help` knows.
    """
    page = (ROOT / "docs" / "command.md").read_text(encoding="utf-8")
    options = {
        option
        for command in cli.commands.values()
        for parameter in command.params
        for option in parameter.opts
        if option.startswith("--")
    }
    missing = {
        *(name for name in cli.commands if f"kinesis {name}" not in page),
        *(option for option in options if option not in page),
    }

    assert not missing


def test_the_changelog_speaks_of_what_comes_next() -> None:
    """
    Keep a Changelog: there is a place for what is not released yet.
    """
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")

    assert re.search(r"^## Unreleased$", text, re.M)
