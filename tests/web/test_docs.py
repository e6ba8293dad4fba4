"""What the documentation of HTTP says is so."""

from __future__ import annotations

import json
import re
import threading
from pathlib import Path

import pytest

from kinesis.config import loads
from kinesis.web.component import HTTP, component_for
from tests.web.serving import eventually
from tests.web.test_http_component import Browser

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "http.md").read_text(encoding="utf-8")


def block(language: str) -> str:
    """Return the first block of code in that language."""
    found = re.search(rf"```{language}\n(.*?)```", TEXT, re.S)
    assert found is not None
    return found[1]


def test_the_example_answers_as_it_is_shown():
    """
    The code of the page, on a free port, asked what the page asks.
    """
    over = threading.Event()
    ready = threading.Event()
    names: dict[str, object] = {"ready": ready, "over": over}
    code = block("python").replace("http=8080", "http=0")
    code = code.replace("    ...\n", "    ready.set()\n    over.wait(30)\n")
    # A module of its own: the annotations are read when they are needed.
    thread = threading.Thread(target=lambda: exec(code, names))
    thread.start()
    try:
        assert ready.wait(10), "the example never came up"
        with Browser(names["runtime"]) as browser:
            shown = json.loads(browser.ask("/bank/anna")[2])
            assert (shown["balance"], shown["pin"]) == (0, "***")
            reply = browser.ask(
                "/bank/anna/-/messages/Deposit",
                "POST",
                body='{"amount": 5}',
                headers={"Content-Type": "application/json"},
            )
            assert reply[2] == b"5"
            assert browser.ask("/bank/anna/months/3")[2] == b"month 3"
            assert json.loads(browser.ask("/bank/anna/report")[2]) == {"balance": 5}
    finally:
        over.set()
        thread.join(10)
    eventually(lambda: not thread.is_alive(), "the example ends")


def test_the_file_has_the_keys_that_it_shows():
    """
    And a server takes them all.
    """
    text = f"name: shop\ncomponents: []\n{block('yaml')}"
    plan = loads(text.encode(), "shop.yaml", environ={"SHOP_TOKEN": "secret"})
    assert plan.http is not None
    made = component_for(plan.http.settings(), set())

    assert isinstance(made, HTTP)
    assert (made.host, made.port, made.token) == ("0.0.0.0", 8443, "secret")
    assert (made.stop_delay, made.threads, tuple(made.hosts)) == (
        5.0,
        8,
        ("shop.example",),
    )


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`(test_\w+)`", TEXT))))
def test_each_promise_has_its_test(name):
    """
    Under the name that the page gives.
    """
    sources = (path.read_text("utf-8") for path in Path(__file__).parent.glob("*.py"))

    assert any(f"def {name}(" in source for source in sources)
