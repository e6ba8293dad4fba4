"""What docs/supervision.md promises, held to the tests and the code."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import attrs
import pytest

from kinesis import Backoff, Component, Container, Restart
from kinesis.restarts import STRATEGIES
from kinesis.testing import Simulation
from tests.supervision.parts import Bench, again

HERE = Path(__file__).parent
PAGE = (HERE.parents[1] / "docs" / "supervision.md").read_text(encoding="utf-8")


def named_here() -> set[str]:
    """Return the names of the tests in this folder."""
    return {
        node.name
        for path in HERE.glob("test_*.py")
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }


def test_each_guarantee_names_tests_that_there_are() -> None:
    """
    A line without one is a promise that nobody keeps.
    """
    lines = PAGE.split("## Guarantees")[1].splitlines()
    promises = [line for line in lines if line.startswith("| ")][2:]
    named = [re.findall(r"`(test_\w+)`", line) for line in promises]

    assert len(promises) > 20
    assert all(named), "a guarantee without a test"
    assert {name for names in named for name in names} <= named_here()


def test_the_first_example_is_what_a_component_has_anyway() -> None:
    """
    It spells the defaults out, and it runs.
    """
    example = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)[0]
    names: dict[str, object] = {}
    exec(compile(example, "docs/supervision.md", "exec"), names)
    shop = names["shop"]

    assert isinstance(shop, Container)
    (feed,) = shop.children()
    assert feed.restart == Restart() == Component(name="plain").restart
    assert shop.strategy == "rest-for-one"


def test_every_word_and_default_is_explained() -> None:
    """
    The strategies, the policies, and each number with its name.
    """
    for word in (*STRATEGIES, "never", "on-failure", "always"):
        assert f'`"{word}"`' in PAGE
    for field in (*attrs.fields(Restart), *attrs.fields(Backoff)):
        assert f"{field.name}=" in PAGE


def test_the_record_reads_as_it_is_shown(simulation: Simulation) -> None:
    """
    The lines of `why` and of the report, but for the numbers and the path.
    """
    bench = Bench(simulation, name="shop")
    with bench.runtime:
        ref = bench.add("feed", "raise", policy=again())
        bench.since(1.0)
        bench.tell("feed", "raise")
        ref.stop()
        told = [*ref.why(), str(ref.report())]
    shown = re.search(r"sep=\"\\n\"\)\n(.*?)```", PAGE, re.DOTALL)
    assert shown is not None
    lines = [each for each in shown[1].splitlines() if not each.startswith(">>>")]

    assert [_plain(line) for line in told] == [_plain(line) for line in lines]


def _plain(line: str) -> str:
    """Return *line* without what differs from case to case."""
    line = re.sub(r"(ValueError: told to fail|ConnectionError: refused)", "ERROR", line)
    return re.sub(r"\d+(\.\d+)?", "N", line)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_each_strategy_is_a_row_of_the_table(strategy: str) -> None:
    """
    With whom it restarts.
    """
    assert re.search(rf'^\| `"{strategy}"`.* \| \w+', PAGE, re.MULTILINE)
