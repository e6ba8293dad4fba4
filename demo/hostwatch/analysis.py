"""What is known of the samples."""

from __future__ import annotations

from hostwatch.readings import Sample, Summary, Window
from kinesis import Component, field, handles, private


class Statistics(Component):
    """
    Keeps rolling figures of every metric that comes in.

    Its state is what others see: a subscriber gets one change per sample, and
    `snapshot` is consistent whatever comes in meanwhile.
    """

    window: int = field(default=60)  # samples
    samples: int = field(default=0)
    metrics: dict[str, Summary] = field(factory=dict)
    _windows: dict[str, Window] = private(factory=dict)

    @handles(Sample)
    def take(self, sample: Sample) -> None:
        """Take a sample in."""
        for metric, value in sample.values.items():
            window = self._windows.setdefault(metric, Window(self.window))
            self.metrics[metric] = window.add(value)
        self.samples += 1
