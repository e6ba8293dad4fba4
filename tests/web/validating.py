"""Whether a document is one of OpenAPI."""

from __future__ import annotations

import openapi_spec_validator

from kinesis.testing.simulation import untraced


def validate(document: dict) -> None:
    """
    Raise an error if *document* is not what the specification says.

    Coverage is not to look: a check takes a second with it, and runs none of our code.
    """
    with untraced():
        openapi_spec_validator.validate(document)
