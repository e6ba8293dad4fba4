"""A hub for each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from kinesis.changes import Changes
from kinesis.concurrency import SystemThreads
from tests.changes.listeners import PATIENCE


@pytest.fixture
def hub() -> Iterator[Changes]:
    """
    A hub that has ended after the test.
    """
    hub = Changes(SystemThreads(), "app")
    yield hub
    assert hub.close(PATIENCE) == []
