"""The pages name tests that are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(("page", "least"), [("components", 50), ("running", 50)])
def test_each_promise_on_a_page_is_kept_by_a_test_of_that_name(
    page: str, least: int
) -> None:
    """
    Whoever renames a test, or drops it, sees what it promised.
    """
    text = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
    promised = re.findall(r"`(test_\w+)`", text)
    tests = {
        name
        for path in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(
            r"^def (test_\w+)", path.read_text(encoding="utf-8"), re.M
        )
    }

    assert len(promised) > least
    assert [name for name in promised if name not in tests] == []
