"""Whatever happens to a good file, a plan or its faults come out."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kinesis.component import Component
from kinesis.config import Fault, Plan, loads
from kinesis.declared import field
from kinesis.errors import ConfigError


class Rules(Component):
    """Has fields of all sorts."""

    url: str = field()
    rules: list[dict[str, float]] = field(factory=list)
    size: int | None = field(default=None)


GOOD = f"""\
name: app
strategy: one-for-all
shutdown_deadline: ${{SECONDS:-20}}
http: {{host: 127.0.0.1, port: 0}}
components:
  - name: one
    type: {__name__}:Rules
    config:
      url: &url 'http://${{HOST}}/é😀'
      rules: [{{above: 1.5}}, {{below: 2}}]
    restart: &again {{when: always, backoff: {{first: 1}}, limit: 3}}
    stop_deadline: 2.5
  - name: box
    strategy: rest-for-one
    components:
      - {{name: two, type: "{__name__}:Rules", config: {{url: *url, size: 3}}}}
      - name: three
        type: {__name__}:Rules
        restart: *again
        config: {{url: "x"}}
"""
ENVIRON = {"HOST": "h"}
SNIPPETS = [
    *" \n\t:,[]{}&*!|>'\"%@#?-0a~$\\\r\0é\u2028",
    *("- x\n", "a: ", "${X}", "*url", "&url ", "!!int ", "---\n", "<<: ", "null"),
    *("-1", "1e999", ".nan", "true", "[]", "{}", "name", "components:\n", "config"),
]


@pytest.fixture(autouse=True, scope="module")
def _path_as_before() -> Iterator[None]:
    """Put ``sys.path`` back: reading a file adds its directory."""
    before = list(sys.path)

    yield

    sys.path[:] = before


def outcome(data: bytes) -> Plan | ConfigError:
    """Return what comes out of *data*."""
    try:
        return loads(data, "app.yaml", environ=ENVIRON)
    except ConfigError as error:
        return error


def check_outcome(data: bytes) -> None:
    """Check that *data* gives a plan, or faults at places that it has."""
    found = outcome(data)
    if isinstance(found, Plan):
        assert found == outcome(data)
        return
    text = data.decode("utf-8-sig", "replace").replace("\r\n", "\n")
    lengths = [len(line) for line in text.replace("\r", "\n").split("\n")]

    assert found.faults
    assert str(found) == "\n".join(map(str, found.faults))
    for fault in found.faults:
        assert isinstance(fault, Fault)
        assert fault.file == "app.yaml"
        assert 1 <= fault.line <= len(lengths)
        assert 1 <= fault.column <= lengths[fault.line - 1] + 1
        assert fault.message.startswith("expected "), fault
        assert "\n" not in fault.message


MUTATIONS = st.lists(
    st.tuples(
        st.integers(0, len(GOOD)),  # where
        st.integers(0, 12),  # how much goes
        st.one_of(st.just(""), st.sampled_from(SNIPPETS)),  # what comes instead
    ),
    min_size=1,
    max_size=4,
)
LINES = st.lists(st.sampled_from(GOOD.splitlines(keepends=True)), max_size=25)


def test_the_file_is_good() -> None:
    """
    Else its mutations would show little.
    """
    assert isinstance(outcome(GOOD.encode()), Plan)


@given(MUTATIONS)
def test_changes_of_a_good_file(mutations: list[tuple[int, int, str]]) -> None:
    """
    A few characters gone, others in their place.
    """
    text = GOOD
    for at, gone, come in mutations:
        text = text[:at] + come + text[at + gone :]

    check_outcome(text.encode())


@given(LINES)
def test_lines_of_a_good_file_in_any_order(lines: list[str]) -> None:
    """
    Mostly right YAML that says the wrong things.
    """
    check_outcome("".join(lines).encode())


@given(st.binary(max_size=80))
def test_any_bytes(data: bytes) -> None:
    """
    Garbage is told as such.
    """
    check_outcome(data)


VALUES = st.recursive(
    st.sampled_from(
        ["x", "never", "5", "-1", "0.5", "null", "true", ".nan", "'5'", "${HOST}", "*a"]
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda each: f"[{', '.join(each)}]"),
        st.lists(
            st.tuples(
                st.sampled_from(["name", "type", "when", "url", "port", "rules"]), inner
            ),
            max_size=3,
        ).map(lambda each: f"{{{', '.join(f'{k}: {v}' for k, v in each)}}}"),
    ),
    max_leaves=6,
)
KEYS = [
    *("name", "type", "config", "restart", "start_deadline", "stop_deadline"),
    *("components", "strategy", "stall_after", "mailbox_bound", "overflow", "x"),
]


@given(st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=5), VALUES, VALUES)
def test_any_values_for_the_keys(pairs: dict[str, str], url: str, rules: str) -> None:
    """
    The right words with values of every shape.
    """
    lines = "".join(f"    {key}: {value}\n" for key, value in pairs.items())
    text = (
        f"name: app\nhttp: {rules.replace('$', '')}\ncomponents:\n"
        f"  - name: one\n    type: {__name__}:Rules\n"
        f"    config: {{url: '{url.strip(chr(39))}', rules: {rules}}}\n"
        f"  -\n{lines or '    {}'}"
    )

    check_outcome(text.encode())
