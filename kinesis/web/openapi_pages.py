"""
The runtime's own pages as path items of an OpenAPI document.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kinesis.web.openapi_parts import (
    ALWAYS,
    FOREIGN,
    JSON,
    PROBLEM,
    STAGE,
    STATE,
    Part,
    answer,
    bodiless,
    errors,
    object_schema,
    operation,
    options,
)
from kinesis.web.problems import MEDIA_TYPE
from kinesis.web.security import PROBES

TAG = "runtime"

TEXT: Part = {"type": "string"}
COUNT: Part = {"type": "integer", "minimum": 0}

_BRANCH = "#/components/schemas/kinesis.Branch"


def _listed(schema: Part) -> Part:
    """Return the schema of an array."""
    return {"type": "array", "items": schema}


def _by_name(schema: Part) -> Part:
    """Return the schema of an object with any keys."""
    return {"type": "object", "additionalProperties": schema}


def _branch() -> Part:
    """Return the schema of a component in the tree, with those in it."""
    counts = dict.fromkeys(("run", "restarts", "failures"), COUNT)
    texts = dict.fromkeys(("name", "path", "type", "status"), TEXT)
    branch = object_schema({**texts, "stage": STAGE, "state": STATE, **counts})
    branch["properties"]["children"] = _listed({"$ref": _BRANCH})
    return branch


_ROUTE = object_schema(
    {
        "path": TEXT,
        "methods": _listed(TEXT),
        "component": {"type": ["string", "null"]},
        "name": {"type": ["string", "null"]},
    }
)
_THREADS = _listed(
    object_schema({"name": TEXT, "id": {"type": "integer"}, "stack": _listed(TEXT)})
)

SCHEMAS: Mapping[str, Part] = {"kinesis.Branch": _branch()}

# What a GET shows: the summary, and the schema of what it answers, or its text.
_PAGES: Mapping[str, tuple[str, Part | str]] = {
    "/": (
        "Say where everything is",
        object_schema({"name": TEXT, "links": _by_name(TEXT)}),
    ),
    "/-/live": (
        "Whether the process answers",
        object_schema({"live": {"const": True}}),
    ),
    "/-/ready": (
        "Whether every component is up",
        object_schema({"ready": {"const": True}}),
    ),
    "/-/tree": ("All components, each with those in it", {"$ref": _BRANCH}),
    "/-/routes": (
        "All routes that are mounted now",
        object_schema({"routes": _listed(_ROUTE)}),
    ),
    "/-/threads": (
        "The stacks of all threads, by component",
        object_schema({"components": _by_name(_THREADS), "others": _THREADS}),
    ),
    "/-/openapi.json": ("This document", {"type": "object"}),
    "/-/metrics": ("Numbers, in the format of Prometheus", "text/plain"),
    "/-/events": ("All changes, as they come", "text/event-stream"),
}

_PARAMETERS: Mapping[str, list[Part]] = {
    "/-/events": [
        {
            "name": "path",
            "in": "query",
            "description": "The component at or below which they are. All by default.",
            "schema": TEXT,
        },
        {
            "name": "Last-Event-ID",
            "in": "header",
            "description": "Go on behind this one.",
            "schema": {"type": "string", "pattern": "^[\x21-\x7e]*$"},
        },
    ]
}

_DESCRIPTIONS: Mapping[str, str] = {
    "/-/events": "Server-sent events: `stage`, `state`, `component`, and `gap` where "
    "some are missing. The stream does not end by itself."
}

# What else than `FOREIGN` it may answer; probes are never answered that.
_ERRORS: Mapping[str, tuple[int, ...]] = {"/-/events": (404,)}


def page(path: str, *, secured: bool) -> Part:
    """
    Return the path item of the page at *path*; one with little in it if unknown.

    Args:
        secured: Whether it needs the token.
    """
    summary, shown = _PAGES.get(path, (f"The page {path}", "*/*"))
    if isinstance(shown, str):
        content: dict[str, Any] = {shown: {"schema": {}}}
    else:
        content = {JSON: {"schema": shown}}
    statuses = [*ALWAYS, *_ERRORS.get(path, ())]
    statuses += () if path in PROBES else FOREIGN
    statuses += (401,) if secured else ()
    responses = {"200": answer(f"{summary}.", content), **errors(statuses)}
    if path == "/-/ready":
        responses["503"] = _not_ready()
    read = operation(
        summary,
        TAG,
        responses,
        description=_DESCRIPTIONS.get(path, ""),
        parameters=_PARAMETERS.get(path, ()),
        secured=secured,
    )
    return {"get": read, "head": bodiless(read), "options": options(TAG)}


def _not_ready() -> Part:
    """Return the response that names the components that are not up."""
    late = object_schema({"path": TEXT, "stage": STAGE, "status": TEXT})
    problem: Part = {
        "allOf": [PROBLEM],
        "properties": {"ready": {"const": False}, "components": _listed(late)},
    }
    return answer("Not all are up.", {MEDIA_TYPE: {"schema": problem}})
