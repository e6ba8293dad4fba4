"""What is counted together adds up to what was counted."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kinesis.concurrency import SystemThreads
from kinesis.mailbox.tally import LATENCY_BOUNDS, Tally

LATENCIES = st.one_of(st.sampled_from(LATENCY_BOUNDS), st.floats(0.0, 10.0))


@given(st.lists(st.lists(LATENCIES, max_size=20), max_size=5))
def test_each_latency_is_in_the_first_bucket_that_holds_it(
    portions: list[list[float]],
) -> None:
    """
    However many are counted together; one that is a bound belongs below it.
    """
    tally = Tally(SystemThreads(), "/app/account")
    for portion in portions:
        tally.latencies += portion
        tally.fold()

    expected = [0] * (len(LATENCY_BOUNDS) + 1)
    every = [latency for portion in portions for latency in portion]
    for latency in every:
        held_by = [n for n, bound in enumerate(LATENCY_BOUNDS) if latency <= bound]
        expected[min(held_by, default=len(LATENCY_BOUNDS))] += 1
    counts = tally.counts(0)
    assert list(counts.latency_buckets) == expected
    assert counts.latency_seconds == pytest.approx(sum(every))
    assert counts.latency_most == max(every, default=0.0)


def test_what_has_counted_nothing_says_so_for_each_bucket() -> None:
    """
    Also without a list of its own: most components never answer anybody.
    """
    tallies = [Tally(SystemThreads(), "/app/account") for _ in range(2)]

    nothing = [tally.counts(0).latency_buckets for tally in tallies]

    assert nothing[0] == (0,) * (len(LATENCY_BOUNDS) + 1)
    assert nothing[0] is nothing[1]
