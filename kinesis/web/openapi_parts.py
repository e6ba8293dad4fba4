"""
What the operations of an OpenAPI document have in common: errors, headers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from kinesis.stages import Stage, State
from kinesis.web.problems import MEDIA_TYPE, title_of

JSON = "application/json"

BEARER = "bearer"  # the name of the security scheme

PROBLEM = {"$ref": "#/components/schemas/kinesis.Problem"}
LINE = {"$ref": "#/components/schemas/kinesis.Line"}

# Our schemas have names with a dot, which no class of the program's has.
STAGE = {"$ref": "#/components/schemas/kinesis.Stage"}
STATE = {"$ref": "#/components/schemas/kinesis.State"}

# An entity tag, then more of them.
_TAG = r'(W/)?"[!#-~]*"'
TAGS = rf"^(\*|{_TAG}( *, *{_TAG})*)$"

# What the server itself may answer, whatever was asked for.
ALWAYS = (400, 408, 413, 414, 431, 500, 503)
FOREIGN = (403,)

_MEANING: Mapping[int, str] = {
    400: "The request, or its path, is malformed.",
    401: "It needs the server's token.",
    403: "A page of another site, or a name that is not this server's, asked.",
    404: "Nothing is there, or no more.",
    408: "The request did not arrive whole in time.",
    409: "The component is not in a stage for that, or the server is part of it.",
    412: "The state has changed since. Nothing was changed.",
    413: "The body is too long.",
    414: "The path is too long.",
    415: "The body is of another media type.",
    422: "The values do not fit; `faults` names each. Nothing was changed.",
    428: "If-Match is missing.",
    431: "The headers are too long.",
    500: "The request failed. The log has the reason, by `id`.",
    503: "Not now: it comes up, stops, or is busy.",
    504: "The message was not answered in time; it may still be handled.",
}

_HEADERS: Mapping[int, tuple[str, ...]] = {401: ("WWW-Authenticate",), 412: ("ETag",)}

Part = dict[str, Any]


def components() -> Part:
    """Return what operations refer to: schemas, responses, parameters, headers."""
    return {
        "schemas": {
            "kinesis.Problem": _problem(),
            "kinesis.Line": _line(),
            "kinesis.Stage": {"enum": [stage.value for stage in Stage]},
            "kinesis.State": {"enum": [state.value for state in State]},
        },
        "responses": {
            _name_of(status): {
                "description": meaning,
                "headers": {name: header(name) for name in _HEADERS.get(status, ())},
                "content": {MEDIA_TYPE: {"schema": PROBLEM}},
            }
            for status, meaning in _MEANING.items()
        },
        "parameters": {
            "IfMatch": _condition(
                "If-Match", "The ETag of the state that was seen, or `*`."
            ),
            "IfMatchOptional": _condition(
                "If-Match", "Only if the state is still this one.", required=False
            ),
            "IfNoneMatch": _condition(
                "If-None-Match", "Answer 304 if it is still this one.", required=False
            ),
        },
        "headers": {
            "ETag": _text_header("The state's entity tag, in quotes."),
            "Allow": _text_header("The methods that there are."),
            "WWW-Authenticate": _text_header("How to say who one is."),
        },
    }


def _problem() -> Part:
    """Return the schema of a problem document."""
    return {
        "title": "Problem",
        "description": "What went wrong. RFC 9457.",
        "type": "object",
        "properties": {
            "type": {"type": "string"},
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "detail": {"type": "string"},
            "instance": {"type": "string", "description": "The path it is about."},
            "id": {"type": "string", "description": "To be found in the log."},
            "faults": {"type": "array", "items": {"type": "string"}},
        },
        "required": ["type", "title", "status", "detail"],
    }


def _line() -> Part:
    """Return the schema of what a listing says of a component."""
    return object_schema(
        {
            "name": {"type": "string"},
            "href": {"type": "string"},
            "type": {"type": "string"},
            "stage": STAGE,
        }
    )


def object_schema(properties: Part, **more: Any) -> Part:
    """Return the schema of an object that has all of *properties*, and no others."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
        **more,
    }


def _condition(name: str, description: str, *, required: bool = True) -> Part:
    """Return a parameter that holds entity tags."""
    return {
        "name": name,
        "in": "header",
        "required": required,
        "description": description,
        "schema": {"type": "string", "pattern": TAGS},
        "example": "*",
    }


def _text_header(description: str) -> Part:
    """Return a header of an answer."""
    return {"description": description, "required": True, "schema": {"type": "string"}}


def header(name: str) -> Part:
    """Return a reference to a header of an answer."""
    return {"$ref": f"#/components/headers/{name}"}


def parameter(name: str) -> Part:
    """Return a reference to a parameter."""
    return {"$ref": f"#/components/parameters/{name}"}


def _name_of(status: int) -> str:
    """Return what the response with *status* is called: ``NotFound``."""
    return "".join(word for word in title_of(status).title() if word.isalpha())


def errors(statuses: Iterable[int]) -> Part:
    """Return the responses for errors, by status."""
    return {
        str(status): {"$ref": f"#/components/responses/{_name_of(status)}"}
        for status in sorted({*statuses})
    }


def answer(
    description: str, content: Part | None = None, headers: Iterable[str] = ()
) -> Part:
    """Return a response; *content* is a media type with its schema, or several."""
    made: Part = {"description": description}
    if names := list(headers):
        made["headers"] = {name: header(name) for name in names}
    if content is not None:
        made["content"] = content
    return made


def json_content(schema: Part, *media_types: str) -> Part:
    """Return the content of a body that is JSON."""
    return {kind: {"schema": schema} for kind in media_types or (JSON,)}


def operation(
    summary: str,
    tag: str,
    responses: Mapping[str, Part],
    *,
    description: str = "",
    parameters: Iterable[Part] = (),
    body: Part | None = None,
    required: bool = True,
    secured: bool = False,
) -> Part:
    """
    Return an operation.

    It has no ``operationId``: one path item stands for every component of a
    class, and an id may be there only once.

    Args:
        body: Content of the request.
        required: Whether there must be one.
        secured: Whether it needs the token.
    """
    made: Part = {"summary": summary, "tags": [tag]}
    if description:
        made["description"] = description
    if listed := list(parameters):
        made["parameters"] = listed
    if body is not None:
        made["requestBody"] = {"required": required, "content": body}
    made["responses"] = dict(responses)
    if secured:
        made["security"] = [{BEARER: []}]
    return made


def bodiless(read: Part) -> Part:
    """Return the HEAD that belongs to a GET."""
    responses = {
        status: {k: v for k, v in each.items() if k != "content"}
        for status, each in read["responses"].items()
    }
    return {**read, "responses": responses}


def options(tag: str) -> Part:
    """Return the OPTIONS that every path answers."""
    allowed = answer("In `Allow`.", headers=["Allow"])
    return operation(
        "Which methods there are",
        tag,
        {"204": allowed, **errors((*ALWAYS, *FOREIGN, 404))},
    )


def text_of(doc: str | None) -> tuple[str, str]:
    """Return the first sentence of a docstring, and what follows."""
    if not doc:
        return "", ""
    first, _, rest = doc.partition("\n\n")
    return " ".join(first.split()).rstrip("."), rest.strip()
