"""
The command `kinesis`: parse, call, print.

Here alone something is printed, logging is set up and the process is ended.
Whatever costs time to import is imported by the command that needs it, so that
``kinesis --version`` and shell completion answer at once.

Exit codes of ``kinesis run``:

=========  ======================================================================
0          stopped as asked, or every component has finished
1          could not start, or a failure reached the root
2          wrong usage, or a file with faults
3          stopped, but something hung
130, 143   forced by a second SIGINT, SIGTERM; 130 also for ctrl-c while the file
           is still being read
=========  ======================================================================
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

import click

if TYPE_CHECKING:
    from kinesis.config import ComponentPlan

DISTRIBUTION = "kinesis-runtime"

COULD_NOT_START = 1
COULD_NOT_PRINT = 1
USAGE = 2
FORCED_BY_INT = 130
UNSURE = {3, FORCED_BY_INT, 143}  # after these, code of a component may still run

LEVELS = ("debug", "info", "warning", "error", "critical")

FILE = click.Path(exists=True, dir_okay=False, readable=True)


def main() -> None:
    """Run the command with the arguments of the process."""
    cli(prog_name="kinesis")


def _show_version(context: click.Context, _option: object, wanted: bool) -> None:
    """Print the version and end; reading it costs only those who ask."""
    if not wanted or context.resilient_parsing:
        return
    from importlib.metadata import PackageNotFoundError, version

    try:
        number = version(DISTRIBUTION)
    except PackageNotFoundError:
        number = "(not installed)"
    _print(f"kinesis {number}")
    context.exit()


def _print(text: str) -> None:
    """Print *text*; where it cannot be written, say so and end."""
    try:
        click.echo(text)
    except BrokenPipeError:  # of a reader who has seen enough: click ends quietly
        raise
    except OSError as error:
        from kinesis.leave import flush_stdout

        flush_stdout()  # lets the text go: Python would try again at its end
        click.echo(f"kinesis: cannot print: {error}", err=True)
        sys.exit(COULD_NOT_PRINT)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_show_version,
    help="Show the version and exit.",
)
def cli() -> None:
    """Run programs made of supervised components."""


@cli.command()
@click.argument("file", type=FILE)
@click.option(
    "--log-level",
    type=click.Choice(LEVELS, case_sensitive=False),
    default="info",
    envvar="KINESIS_LOG_LEVEL",
    show_default=True,
    show_envvar=True,
    help="The least important records that are shown.",
)
@click.option(
    "--log-format",
    type=click.Choice(["auto", "text", "json"], case_sensitive=False),
    default="auto",
    envvar="KINESIS_LOG_FORMAT",
    show_default=True,
    show_envvar=True,
    help="auto: text on a terminal, JSON lines elsewhere.",
)
def run(file: str, log_level: str, log_format: Literal["auto", "text", "json"]) -> None:
    """
    Run the program that FILE describes, until it is stopped.

    Ctrl-c or SIGTERM stops it; once more, and it is forced. SIGHUP reads FILE
    again and applies what is different. SIGUSR1 shows the components and every
    thread's stack. Logs go to standard error.
    """
    try:
        _run(file, log_level.lower(), log_format)
    except KeyboardInterrupt:  # nothing has been started: nothing is to stop
        sys.exit(FORCED_BY_INT)


def _run(file: str, level: str, form: Literal["auto", "text", "json"]) -> None:
    """Run the program, and end the process."""
    import atexit

    from kinesis import logs
    from kinesis.concurrency import SystemThreads
    from kinesis.errors import KinesisError
    from kinesis.leave import deafen, leave

    atexit.register(deafen)  # before all others, so that it runs after them
    with logs.configured(level, form, sys.stderr):
        try:
            with _faults_are_usage(file):
                from kinesis.runtime import Runtime

                runtime = Runtime.from_file(file)
        except KinesisError as error:  # what it needs besides the file is missing
            click.echo(f"{file}: {error}", err=True)
            sys.exit(COULD_NOT_START)
        code = runtime.run()
        leave(code, code in UNSURE, SystemThreads())


@cli.command()
@click.argument("file", type=FILE)
def check(file: str) -> None:
    """
    Say whether FILE can be run: every fault, with its line and column.

    The classes it names are imported; nothing is started. The exit code is 2 if
    there is a fault.
    """
    with _faults_are_usage(file):
        from kinesis import config

        plan = config.load(file)
    number = sum(1 for _ in _all_below(plan.components))
    _print(f"{file}: no faults in {_count(number, 'component')}.")


def _all_below(components: Iterable[ComponentPlan]) -> Iterator[ComponentPlan]:
    """Yield each of *components* and what it contains."""
    for component in components:
        yield component
        yield from _all_below(component.components)


def _count(number: int, noun: str) -> str:
    """Return ``1 fault`` or ``3 faults``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


@contextmanager
def _faults_are_usage(file: str) -> Iterator[None]:
    """Show the faults of *file* without a traceback; and import from here, too."""
    import kinesis.config.checking  # noqa: F401  # no `queue.py` here gets in its way
    from kinesis.errors import ConfigError

    _import_from_here()
    try:
        yield
    except ConfigError as error:
        click.echo(str(error), err=True)
        click.echo(f"{file}: {_count(len(error.faults), 'fault')}.", err=True)
        sys.exit(USAGE)


def _import_from_here() -> None:
    """Put the current directory on the path, if there is one."""
    try:
        here = os.getcwd()
    except OSError:  # it was deleted: there is nothing to import from it
        return
    if here not in sys.path:  # `python -m kinesis` has it there already
        sys.path.insert(0, here)


@cli.command()
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "dot", "mermaid"]),
    default="text",
    show_default=True,
    help="text: a table; dot: for Graphviz; mermaid: for Markdown.",
)
def stages(form: str) -> None:
    """Show the stages of a component, and what leads from one to the next."""
    from kinesis.stages import render

    _print(render(form).rstrip("\n"))


@cli.command()
def schema() -> None:
    """Print the JSON Schema of the file, for editors to complete and check it."""
    import json

    from kinesis import config

    _print(json.dumps(config.schema(), indent=2))


@cli.command()
@click.argument("name")
def new(name: str) -> None:
    """
    Make a small project in a new directory NAME.

    It has a component, a file that runs it, a test and a README, and works as it
    is.
    """
    from kinesis import scaffold

    try:
        made = scaffold.make(name)
    except (ValueError, OSError) as error:
        raise click.ClickException(str(error)) from error
    for path in made:
        _print(f"  {path}")
    # With the dot no name is taken for an option, nor for somebody's home.
    _print(f"\nNow:  cd ./{name} && kinesis run ./{name}.yaml")
