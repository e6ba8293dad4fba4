"""The page on components names tests that are there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_each_promise_on_the_page_is_kept_by_a_test_of_that_name() -> None:
    """
    Whoever renames a test, or drops it, sees what it promised.
    """
    page = (ROOT / "docs" / "components.md").read_text(encoding="utf-8")
    promised = re.findall(r"`(test_\w+)`", page)
    tests = {
        name
        for path in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(
            r"^def (test_\w+)", path.read_text(encoding="utf-8"), re.M
        )
    }

    assert len(promised) > 50
    assert [name for name in promised if name not in tests] == []
