"""
What it costs to start, keep, stop and end components.

    python -m benchmarks.lifecycle                   all of it; some minutes
    python -m benchmarks.lifecycle --most 1000       without the 10 000: one minute
    python -m benchmarks.lifecycle --only parts      without whole processes
    python -m benchmarks.lifecycle --only processes  without the rest

The aims stand beside the figures; nothing here asserts them.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

from benchmarks._common import (
    Rounds,
    at_most,
    print_machine,
    print_table,
    ratio,
    rounds_of,
)
from benchmarks._processes import (
    KINESIS,
    compile_package,
    seconds_of,
    seconds_to_exit,
    seconds_to_exit_blocked,
    seconds_until_up,
    write_file,
    write_parts,
)

ROUNDS = 5
ROUNDS_OF_MANY = 3  # of what takes half a minute each
MANY = 10_000
OURS = ("kinesis", "kinesis, given")
CONTENDERS = ("threading.Thread", "pykka", *OURS)
STOP_DEADLINE = 1.0  # seconds; of the component that is stuck
KIB = 1024

TIMES = ("start", "stop", "answer", "late_stop")
HEADS = [
    "",
    *("start µs", "start x", "start cpu x"),
    *("stop µs", "stop x", "stop cpu x"),
    *("+ message µs", "x"),
    *("stop after it µs", "x"),
    "KiB",
]

Parts = dict[str, dict[str, list[float]]]
"""By what is measured and by contender, a number per round."""


def main() -> None:
    """Measure what the arguments ask for, and print tables."""
    parser = argparse.ArgumentParser(description="Measure lifecycles.")
    parser.add_argument("--most", type=int, default=MANY, help="components at most")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--only", choices=["parts", "processes"])
    options = parser.parse_args()
    print_machine()
    counts = [count for count in (100, 1_000, MANY) if count <= options.most]
    if options.only != "processes":
        print_parts(counts, options.rounds)
    if options.only != "parts":
        with tempfile.TemporaryDirectory() as name:
            print_processes(Path(name), counts, options.rounds)


# -- many idle parts in one process ------------------------------------------------


def print_parts(counts: list[int], rounds: int) -> None:
    """Print what a component costs beside an actor and a plain thread."""
    starts: dict[int, tuple[float, float]] = {}
    for count in counts:
        measured = measure_parts(count, rounds_for(count, rounds))
        print_costs(count, measured)
        starts[count] = (
            ratio(measured["start"], "kinesis", "pykka"),
            ratio(measured["stop"], "kinesis", "pykka"),
        )
    if MANY in starts and 100 in starts:
        print_growth(starts[100], starts[MANY])


def rounds_for(count: int, rounds: int) -> int:
    """Return how many rounds *count* parts are worth."""
    return rounds if count < MANY else min(rounds, ROUNDS_OF_MANY)


def measure_parts(count: int, rounds: int) -> Parts:
    """Start and stop *count* parts of each contender in every round."""
    parts: Parts = {}

    def run(contender: str) -> float:
        costs = costs_of(contender, count)
        for what, cost in costs.items():
            parts.setdefault(what, {}).setdefault(contender, []).append(cost)
        return costs["start"]

    rounds_of({name: partial(run, name) for name in CONTENDERS}, rounds)
    return parts


def costs_of(contender: str, count: int) -> dict[str, float]:
    """Measure one contender once, in a process of its own."""
    module = "benchmarks._contenders"
    arguments = [sys.executable, "-m", module, contender, str(count)]
    done = subprocess.run(arguments, check=True, stdout=subprocess.PIPE)
    costs: dict[str, float] = json.loads(done.stdout)
    return costs


def print_costs(count: int, parts: Parts) -> None:
    """Print one table: a contender a row."""
    rows = []
    for name in CONTENDERS:
        row = [name]
        for what in TIMES:
            row += [
                f"{median(parts[what][name]) * 1e6:.0f}",
                f"{ratio(parts[what], name, 'pykka'):.2f}",
            ]
            if f"{what}_cpu" in parts:
                row.append(f"{ratio(parts[f'{what}_cpu'], name, 'pykka'):.2f}")
        rows.append([*row, f"{median(parts['memory'][name]) / KIB:.1f}"])
    rows += [aims_of(parts, name) for name in OURS]
    print_table(f"{count} idle parts, one after another: each of them", HEADS, rows)


def aims_of(parts: Parts, name: str) -> list[str]:
    """Return the row of aims for one of ours."""
    start = ratio(parts["start"], name, "pykka")
    stop = ratio(parts["stop"], name, "pykka")
    memory = median(parts["memory"][name]) / KIB
    row = [""] * len(HEADS)
    row[0] = f"aim for {name}"
    row[HEADS.index("start x")] = at_most(start, 1.5)
    row[HEADS.index("stop x")] = at_most(stop, 1.0)
    row[HEADS.index("KiB")] = at_most(memory, 24)
    return row


def print_growth(few: tuple[float, float], many: tuple[float, float]) -> None:
    """Print how the ratios to pykka change from 100 parts to 10 000."""
    rows = [
        [what, f"{one:.2f}", f"{other:.2f}", at_most(other / one, 1.2)]
        for what, one, other in zip(("start", "stop"), few, many, strict=True)
    ]
    heads = ["x pykka", "of 100", f"of {MANY}", "the one by the other"]
    print_table("The same for many", heads, rows)


# -- whole processes -----------------------------------------------------------------


def print_processes(folder: Path, counts: list[int], rounds: int) -> None:
    """Print how soon processes are up, and how soon they have ended."""
    compile_package()
    write_parts(folder)
    rows: list[list[str]] = []
    quick = rounds_of(start_ups(folder), 2 * rounds + 1)
    rows += [
        timed_row("python -c pass", quick, None),
        timed_row("kinesis --version", quick, 0.15),
        timed_row("kinesis run, one component to STARTED", quick, 0.4),
    ]
    slow = rounds_of(stuck_exits(folder), rounds)
    limit = STOP_DEADLINE + 1.2
    rows += [timed_row(name, slow, limit) for name in slow]
    for count in [count for count in counts if count >= 1_000]:
        limit = 0.5 if count == 1_000 else 6.0
        exits = rounds_of(exits_of(folder, count), rounds_for(count, rounds))
        rows += [timed_row(name, exits, limit) for name in exits]
    print_table("Whole processes", ["", "s, median", "s, worst", "aim"], rows)


def timed_row(name: str, measured: Rounds, limit: float | None) -> list[str]:
    """Return a row of the table: the median, the worst, the aim."""
    middle = median(measured[name])
    aim = "" if limit is None else at_most(middle, limit)
    return [name, f"{middle:.3f}", f"{max(measured[name]):.3f}", aim]


def start_ups(folder: Path) -> dict[str, Callable[[], float]]:
    """Return what measures how soon something is up."""
    one = write_file(folder, 1, "Up")
    return {
        "python -c pass": partial(seconds_of, [sys.executable, "-c", "pass"], folder),
        "kinesis --version": partial(seconds_of, [*KINESIS, "--version"], folder),
        "kinesis run, one component to STARTED": partial(
            seconds_until_up, [*KINESIS, "run", one], folder
        ),
    }


def stuck_exits(folder: Path) -> dict[str, Callable[[], float]]:
    """Return what measures the way out of a hook that hangs."""
    stuck = [*KINESIS, "run", write_file(folder, 1, "Stuck", STOP_DEADLINE)]
    chatty = [*KINESIS, "run", write_file(folder, 1, "Chatty", STOP_DEADLINE)]
    after = f"SIGTERM to exit code 3, stop stuck after {STOP_DEADLINE:g} s"
    return {
        after: partial(seconds_to_exit, stuck, folder, 3),
        f"{after}, in a full pipe": partial(seconds_to_exit_blocked, chatty, folder, 3),
    }


def exits_of(folder: Path, count: int) -> dict[str, Callable[[], float]]:
    """Return what measures the end of *count* idle components."""
    embedded = [sys.executable, "many.py", str(count)]
    command = [*KINESIS, "run", write_file(folder, count, "Up")]
    return {
        f"SIGTERM to exit, {count} idle, Runtime.run()": partial(
            seconds_to_exit, embedded, folder
        ),
        f"SIGTERM to exit, {count} idle, kinesis run": partial(
            seconds_to_exit, command, folder
        ),
    }


if __name__ == "__main__":
    main()
