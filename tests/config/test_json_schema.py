"""The JSON Schema accepts what `load` accepts, as far as a schema can tell."""

from __future__ import annotations

import importlib
from typing import Any

import jsonschema  # type: ignore[import-untyped]  # its stubs are a package apart
import pytest
import yaml

from kinesis.config import schema
from kinesis.config.checking import (
    BACKOFF_KEYS,
    COMPONENT_KEYS,
    HTTP_KEYS,
    PROGRAM_KEYS,
    RESTART_KEYS,
)

from .conftest import Shop
from .test_plan import WHOLE


def validator(types: tuple[type, ...] = ()) -> jsonschema.Draft202012Validator:
    """Return what checks a file as an editor does."""
    return jsonschema.Draft202012Validator(schema(types))


def is_accepted(text: str, types: tuple[type, ...] = ()) -> bool:
    """Return whether the schema accepts *text*."""
    return bool(validator(types).is_valid(yaml.safe_load(text)))


def one(text: str) -> str:
    """Return a file with one component that says *text*."""
    return f"name: app\ncomponents:\n  - {{{text}}}\n"


def test_it_is_a_schema_of_its_draft() -> None:
    """
    Editors read the draft from it.
    """
    found = schema()
    jsonschema.Draft202012Validator.check_schema(found)

    assert found["$schema"] == "https://json-schema.org/draft/2020-12/schema"


def test_its_keys_are_those_that_are_read() -> None:
    """
    Each with a description, so that editors can show it.
    """
    found = schema()
    definitions = found["$defs"]
    (http,) = (
        each for each in found["properties"]["http"]["anyOf"] if "properties" in each
    )
    (restart,) = (
        each for each in definitions["restart"]["anyOf"] if "properties" in each
    )
    places: list[tuple[dict[str, Any], tuple[str, ...]]] = [
        (found, PROGRAM_KEYS),
        (http, HTTP_KEYS),
        (definitions["component"], COMPONENT_KEYS),
        (restart, RESTART_KEYS),
        (definitions["backoff"], BACKOFF_KEYS),
    ]

    for mapping, keys in places:
        assert set(mapping["properties"]) == set(keys)
        for key, each in mapping["properties"].items():
            target = (
                definitions[each["$ref"].rpartition("/")[2]] if "$ref" in each else each
            )
            assert target["description"], key


def test_a_file_with_everything_in_it_is_accepted() -> None:
    """
    Variables too, wherever a number stands otherwise.
    """
    validator().validate(yaml.safe_load(WHOLE))


@pytest.mark.parametrize(
    "text",
    [
        "name: app\ncomponents: []\nhttp: 'off'",
        "name: app\ncomponents: []\nhttp: off",
        "name: ${NAME}\ncomponents: []\nshutdown_deadline: ${SECONDS}",
        one("name: a, type: 'm:C', config: ~"),
        one("name: a, components: []"),
        one("name: a, type: 'm:C', restart: never"),
        one("name: a, type: 'm:C', restart: {limit: '${LIMIT}'}"),
    ],
)
def test_good_files_are_accepted(text: str) -> None:
    """
    What `load` reads, an editor does not underline.
    """
    assert is_accepted(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "name: app",
        "components: []",
        "name: a b\ncomponents: []",
        "name: app\ncomponents: {}",
        "name: app\ncomponents: []\nzzz: 1",
        "name: app\ncomponents: []\nstrategy: some",
        "name: app\ncomponents: []\nshutdown_deadline: 0",
        "name: app\ncomponents: []\nhttp: {port: 70000}",
        "name: app\ncomponents: []\nhttp: {prot: 7}",
        "name: app\ncomponents: [x]",
        one("name: a"),
        one("type: 'm:C'"),
        one("name: a, type: m.C"),
        one("name: a, type: 'm:C', config: [1]"),
        one("name: a, type: 'm:C', conf: {}"),
        one("name: a, type: 'm:C', restart: sometimes"),
        one("name: a, type: 'm:C', restart: {backoff: {first: -1}}"),
        one("name: a, type: 'm:C', restart: {limit: 1.5}"),
        one("name: a, type: 'm:C', stop_deadline: x"),
        one("name: a, type: 'm:C', overflow: lose"),
        one("name: a, components: [{name: b}]"),
    ],
)
def test_bad_files_are_not(shop: Shop, text: str) -> None:
    """
    Nor does `load` read them.
    """
    assert not is_accepted(text)
    assert shop.faults(text)


def test_the_config_of_known_classes_is_checked_too(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    For those that are given; a variable stands for any scalar in it.
    """
    monkeypatch.syspath_prepend(str(shop.path))
    parts = importlib.import_module("parts")
    kinds = (parts.Poller, parts.Counter)
    poller, counter = "name: a, type: 'parts:Poller'", "name: a, type: 'parts:Counter'"

    jsonschema.Draft202012Validator.check_schema(schema(kinds))
    for good in (
        one(f"{poller}, config: {{url: x, limits: {{a: 1}}, note: ~}}"),
        one(f"{poller}, config: {{url: x, limits: {{a: '${{A}}'}}}}"),
        one(f"{counter}, config: {{count: '${{COUNT}}'}}"),
        one(counter),
        one("name: a, type: 'other:C', config: {zzz: 1}"),
    ):
        assert is_accepted(good, kinds)
    for bad in (
        one(poller),
        one(f"{poller}, config: {{}}"),
        one(f"{poller}, config: {{url: 5}}"),
        one(f"{poller}, config: {{url: x, socket: 1}}"),
        one(f"{poller}, config: {{url: x, limits: {{a: b}}}}"),
        one(f"{counter}, config: {{count: x}}"),
        one(f"{counter}, config: {{conut: 1}}"),
    ):
        assert not is_accepted(bad, kinds)
        assert is_accepted(bad)
