"""What the documentation promises is shown by tests that there are."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

from kinesis import Ref

ROOT = Path(__file__).parents[1]
PAGES = ("messages", "state", "testing")
NAMING = (*PAGES, "components", "http", "running", "supervision")

NAMED = re.compile(r"`(test_\w+)`")
TEST = re.compile(r"^ *def (test_\w+)", re.M)


@cache
def all_tests() -> frozenset[str]:
    """Return the names of all test functions and methods."""
    return frozenset(
        name
        for path in (ROOT / "tests").rglob("test_*.py")
        for name in TEST.findall(path.read_text(encoding="utf-8"))
    )


@pytest.mark.parametrize("page", NAMING)
def test_every_test_that_the_documentation_names_is_there(page: str) -> None:
    """
    One that was renamed takes its promise with it.
    """
    text = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
    named = NAMED.findall(text)

    assert len(named) > 5
    assert [name for name in named if name not in all_tests()] == []


@pytest.mark.parametrize("page", PAGES)
def test_each_promise_is_one_line_that_names_its_test(page: str) -> None:
    """
    In the lists of promises there is nothing else.
    """
    lines = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8").splitlines()
    promises = [line for line in lines if line.startswith("- ")]

    assert promises
    assert [line for line in promises if not NAMED.search(line)] == []


def test_the_first_example_about_messages_runs() -> None:
    """
    As it stands on the page.
    """
    text = (ROOT / "docs" / "messages.md").read_text(encoding="utf-8")
    code = text.partition("```python\n")[2].partition("```")[0]
    names: dict[str, object] = {"__name__": "example"}
    exec(compile(code, "docs/messages.md", "exec"), names)

    account = names["account"]
    assert isinstance(account, Ref)
    assert account.snapshot().balance == 18
