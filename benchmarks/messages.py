"""
What it costs to send messages, and to have the state looked at.

    python -m benchmarks.messages               on every processor, then on one
    python -m benchmarks.messages --pin         on one alone
    python -m benchmarks.messages --free        on every processor alone

On two idle processors the time that a thread takes to wake up hides all else;
pinned to one, there is only the work. The *floor* is what two threads need that
hand a message and its answer through two `queue.SimpleQueue`. The aims stand beside
the figures; nothing here asserts them.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from functools import partial
from statistics import median

import attrs

from benchmarks._common import (
    Rounds,
    at_least,
    at_most,
    micros,
    print_machine,
    print_table,
    ratio,
    rounds_of,
)
from benchmarks._senders import Senders
from benchmarks._states import COPIED, ENCODED, FEW, HEARD, MANY, SAVED, UNSEEN, Looks

ROUNDS = 25
NOISY = 3  # times as many for four senders, of whose rounds no two are alike
LISTENERS = (1, 10)
ALONE = "one sender"
FOUR = "four senders"
ACCEPTED = "until accepted"


@attrs.frozen
class Aims:
    """
    What a send is to be at most, by the floor, and pykka's ask at least, by it.

    Attributes:
        caller: Whether there are aims for ``dispatch="caller"``, too.
    """

    floor: float
    ask: float | None = None
    caller: bool = False


def main() -> None:
    """Measure as the arguments say, and print tables."""
    parser = argparse.ArgumentParser(description="Measure messages.")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--pin", action="store_true", help="to one processor alone")
    where.add_argument("--free", action="store_true", help="on every one alone")
    options = parser.parse_args()
    if options.pin or options.free:
        measure(options.rounds, options.pin)
        return
    for flag in ("--free", "--pin"):  # apart: threads keep where they may run
        again = [
            sys.executable,
            "-m",
            "benchmarks.messages",
            flag,
            f"--rounds={options.rounds}",
        ]
        subprocess.run(again, check=True)


def measure(rounds: int, pinned: bool) -> None:
    """Print all tables for the processors of this process, or one of them."""
    if pinned:
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    print_machine()
    where = "on one processor" if pinned else "on every processor"
    with Senders(LISTENERS) as senders:
        print_sends(senders, rounds, pinned, where)
        print_posts(senders, rounds, where)
    with Looks() as looks:
        print_looks(looks, rounds, where)


# -- messages ------------------------------------------------------------------------


def print_sends(senders: Senders, rounds: int, pinned: bool, where: str) -> None:
    """Print what a message costs whose sender waits for the answer."""
    aims = {ALONE: Aims(1.2, 1.1, caller=True), FOUR: Aims(1.3, 1.6)}
    if pinned:
        aims = {ALONE: Aims(1.35), FOUR: Aims(1.6)}
    for who, sending, times in (
        (ALONE, senders.by_one, 1),
        (FOUR, senders.by_four, NOISY),
    ):
        measured = rounds_of(
            {name: partial(sending, send) for name, send in senders.sends.items()},
            rounds * times,
        )
        rows = [send_row(name, measured, aims[who]) for name in measured]
        heads = ["", "µs", "x floor", "aim", "ask by it", "aim"]
        print_table(f"send, {who}, {where}", heads, rows)


def send_row(name: str, measured: Rounds, aims: Aims) -> list[str]:
    """Return a row: the time, against the floor, and pykka's ask against it."""
    to_floor = ratio(measured, name, "floor")
    by_ask = ratio(measured, "pykka ask", name)
    floor_aim = ask_aim = ""
    if name == "kinesis":
        floor_aim = at_most(to_floor, aims.floor)
        ask_aim = "" if aims.ask is None else at_least(by_ask, aims.ask)
    elif name == "kinesis, dispatch=caller" and aims.caller:
        floor_aim, ask_aim = at_most(to_floor, 0.1), at_least(by_ask, 15)
    cells = [micros(measured[name]), f"{to_floor:.2f}", floor_aim]
    return [name, *cells, f"{by_ask:.2f}", ask_aim]


def print_posts(senders: Senders, rounds: int, where: str) -> None:
    """Print what a message costs that nobody waits for."""
    for what, posting in (
        (ACCEPTED, senders.accepted),
        ("until handled", senders.handled),
    ):
        measured = rounds_of(
            {name: partial(posting, post) for name, post in senders.posts.items()},
            rounds,
        )
        rows = []
        for name in measured:
            by_tell = ratio(measured, "pykka tell", name)
            aimed_at = name == "kinesis" and what == ACCEPTED  # that is its sender's
            aim = at_least(by_tell, 4) if aimed_at else ""
            to_floor = f"{ratio(measured, name, 'floor'):.2f}"
            rows.append([name, micros(measured[name]), to_floor, f"{by_tell:.2f}", aim])
        heads = ["", "µs", "x floor", "tell by it", "aim"]
        print_table(f"post, one sender, {what}, {where}", heads, rows)


# -- state -----------------------------------------------------------------------------


def print_looks(looks: Looks, rounds: int, where: str) -> None:
    """Print what fields and listeners cost a message, and a transaction its state."""
    own = rounds_of(looks.own, rounds)
    whole = rounds_of(looks.whole, rounds)
    rows = [[name, micros(own[name]), micros(whole[name])] for name in own]
    heads = ["", "µs, own thread", "µs, all threads"]
    print_table(f"Messages handled by their sender, {where}", heads, rows)
    prepared = rounds_of(looks.preparations, rounds)
    rows = [*state_rows(own), *preparation_rows(prepared)]
    print_table(f"State, {where}", ["", "", "aim"], rows)


def state_rows(own: Rounds) -> list[list[str]]:
    """Return what many fields cost, and what a listener on them does."""
    more = ratio(own, UNSEEN[MANY], UNSEEN[FEW])
    pairs = zip(own[HEARD[MANY]], own[UNSEEN[MANY]], strict=True)
    added = [heard - unseen for heard, unseen in pairs]
    listening = median(added) * 1e6
    encoding = zip(added, own[ENCODED[MANY]], strict=True)
    by_encoding = median(more / encoded for more, encoded in encoding)
    return [
        [f"{MANY} fields by {FEW}, nobody looks", f"{more:.2f} x", at_most(more, 1.1)],
        [
            f"a listener on {MANY} fields adds",
            f"{listening:.2f} µs",
            at_most(listening, 5),
        ],
        ["that, by encoding them alone", f"{by_encoding:.2f} x", ""],
    ]


def preparation_rows(prepared: Rounds) -> list[list[str]]:
    """Return what it costs to put state aside."""
    cheaper = ratio(prepared, COPIED, SAVED)
    return [
        ["send_all puts the state aside", f"{micros(prepared[SAVED])} µs", ""],
        [COPIED, f"{micros(prepared[COPIED])} µs", ""],
        ["the one by the other", f"{cheaper:.0f} x", at_least(cheaper, 20)],
    ]


if __name__ == "__main__":
    main()
