"""
HTTP: the server, and what it serves.

What is public is imported when it is first used: a program whose errors are
described here, say, needs no Werkzeug for that.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kinesis.web.answers import Problem as Problem
    from kinesis.web.application import Application as Application
    from kinesis.web.component import HTTP as HTTP

_HOMES = {
    "HTTP": "kinesis.web.component",
    "Application": "kinesis.web.application",
    "Problem": "kinesis.web.answers",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'kinesis.web' has no attribute '{name}'")
    return getattr(import_module(home), name)
