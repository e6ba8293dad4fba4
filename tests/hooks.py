"""A component whose hooks do what a test wants; the base of several parts."""

from __future__ import annotations

from kinesis import Component

HOOKS = ("pre_init", "init", "post_init", "pre_start", "start", "stop", "tear_down")
WAY_UP = HOOKS[:5]


class Passing(Component):
    """Calls `pass_by` with the name of each hook that runs."""

    def pass_by(self, hook: str) -> None:
        """Do what the test wants done at *hook*."""
        raise NotImplementedError

    def pre_init(self) -> None:
        self.pass_by("pre_init")

    def init(self) -> None:
        self.pass_by("init")

    def post_init(self) -> None:
        self.pass_by("post_init")

    def pre_start(self) -> None:
        self.pass_by("pre_start")

    def start(self) -> None:
        self.pass_by("start")

    def stop(self) -> None:
        self.pass_by("stop")

    def tear_down(self) -> None:
        self.pass_by("tear_down")
