"""
A program as a YAML file: read it, check it, build it, compare two readings.

::

    name: shop
    shutdown_deadline: 20
    http: {host: 127.0.0.1, port: 8080}     # or: http: off
    components:
      - name: stock
        type: shop.parts:Stock              # found beside the file
        config: {url: "${DB_URL}", interval: 0.5}
        restart: {when: on-failure, limit: 5, backoff: {first: 0.1, most: 30}}
        stop_deadline: 3
      - name: pollers                       # no type: a container
        strategy: rest-for-one
        components:
          - {name: north, type: "shop.parts:Poller"}
          - {name: south, type: "shop.parts:Poller"}

`load` gives a `Plan`, or raises with every fault at its line and column. How
text becomes a value is told in `kinesis.config.scalars`; what YAML may not say
here, in `kinesis.config.reading`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kinesis.config.differences import Difference, difference
from kinesis.config.nodes import Fault, Faults, Place
from kinesis.config.plan import ComponentPlan, HttpPlan, Plan
from kinesis.config.reading import MOST_BYTES, read
from kinesis.errors import describe

__all__ = [
    "ComponentPlan",
    "Difference",
    "Fault",
    "HttpPlan",
    "Place",
    "Plan",
    "difference",
    "load",
    "loads",
    "schema",
]


def load(
    path: str | os.PathLike[str], *, environ: Mapping[str, str] | None = None
) -> Plan:
    """
    Return the checked plan of the file at *path*.

    The classes it names are imported; the file's directory is put first on
    ``sys.path`` for that, and stays there. No component is made.

    Args:
        environ: Where ``${NAME}`` is looked up; None is the process's own.

    Raises:
        ConfigError: The file has faults; ``faults`` are all of them, each a
            `Fault`, and ``str()`` has a line for each, in the order of the file.
    """
    file = os.fspath(path)
    try:
        with open(path, "rb") as stream:
            data = stream.read(MOST_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        faults = Faults()
        faults.expected(Place(file, 1, 1), "a file to read", describe(error))
        raise faults.error() from error
    return loads(data, file, environ=environ)


def loads(data: bytes, file: str, *, environ: Mapping[str, str] | None = None) -> Plan:
    """
    Return the checked plan that *data* says, as `load` does.

    Args:
        file: The name for messages; classes are looked up in its directory.
    """
    from kinesis.config.checking import Checker  # lazy: plans need no classes

    faults = Faults()
    node = read(data, file, os.environ if environ is None else environ, faults)
    if node is None and len(faults):
        raise faults.error()
    directory = Path(file).absolute().parent
    plan = Checker.of(faults, directory, file).program(node)
    if plan is None or len(faults):
        raise faults.error()
    return plan


def schema(types: tuple[type, ...] = ()) -> dict[str, Any]:
    """Return the JSON Schema of a file; see `kinesis.config.json_schema.schema`."""
    from kinesis.config.json_schema import schema as of_file

    return of_file(types)
