"""Components that end as they are told: what supervision is shown with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kinesis import Backoff, Component, Container, Restart, Runtime, private
from kinesis.restarts import When
from kinesis.testing import Simulation

EVEN = Backoff(first=1.0, factor=2.0, most=8.0, jitter=0.0)
"""Waits 1, 2, 4, 8, 8 seconds."""


def again(when: When = "on-failure", limit: int = 5, window: float = 60.0) -> Restart:
    """Return a policy whose waits are even."""
    return Restart(when=when, backoff=EVEN, limit=limit, window=window)


class Part(Component):
    """
    Works until it is told how to end, and notes what happens to it.

    Told ``raise`` it raises, ``exit`` leaves by SystemExit(0), ``return`` returns:
    it has finished by itself. ``hang`` outlives every deadline. What its *script*
    says is told at the beginning of each run: before it is ready, if the word has
    an exclamation mark.
    """

    script: list[str] = private(factory=list)
    events: list[str] = private(factory=list)
    threads: Any = private(default=None)
    orders: Any = private(default=None)
    inside: int = private(default=0)

    def _note(self, what: str) -> None:
        self.events.append(f"{what} {self.name}")

    def init(self) -> None:
        """Note it, and fail if the script begins with ``init``."""
        self._note("init")
        if self.script[:1] == ["init"]:
            del self.script[:1]
            raise ValueError("told to fail in init")

    def start(self) -> None:
        """Do as the script says, then as is told."""
        self.inside += 1
        assert self.inside == 1, "two runs at a time"
        try:
            self._note("start")
            self._run()
        finally:
            self.inside -= 1

    def _run(self) -> None:
        word = self.script.pop(0) if self.script else None
        if word is not None and word.endswith("!"):
            self._do(word[:-1])
            return
        self.ready()
        self._do(self._next() if word is None else word)

    def _next(self) -> str:
        """Return what is told next; the end of an earlier run is no news."""
        while (word := self.orders.get()) == "end" and not self.stopping.is_set():
            pass
        return str(word)

    def _do(self, word: str) -> None:
        match word:
            case "raise":
                raise ValueError("told to fail")
            case "exit":
                raise SystemExit(0)
            case "hang":
                self.threads.sleep(1_000.0)

    def stop(self) -> None:
        """Let `start` return."""
        self._note("stop")
        self.orders.put("end")

    def tear_down(self) -> None:
        """Note it."""
        self._note("tear_down")


class Bench:
    """
    A runtime under simulation, with parts in it.

    `events` is what happened to all of them: ``start a``, ``stop b``, and so on.
    """

    def __init__(self, simulation: Simulation, **options: Any) -> None:
        self.simulation = simulation
        self.events: list[str] = []
        self.parts: dict[str, Part] = {}
        self.runtime: Runtime = simulation.runtime(**options)

    def part(
        self,
        name: str,
        *script: str,
        policy: Restart | None = None,
        kind: type[Part] = Part,
        **settings: Any,
    ) -> Part:
        """Return a new part; by default it waits for even times."""
        part = kind(name=name, restart=policy or again(), **settings)
        part.script = list(script)
        part.events = self.events
        part.threads = self.simulation.threads
        part.orders = self.simulation.threads.queue()
        self.parts[name] = part
        return part

    def add(self, name: str, *script: str, **settings: Any) -> Any:
        """Add a part to the root; return its ref."""
        return self.runtime.add(self.part(name, *script, **settings))

    def box(self, name: str, *names: str, **settings: Any) -> Container:
        """Return a container of new parts."""
        policy = settings.pop("policy", again())
        parts = [self.part(each, policy=policy) for each in names]
        return Container(name=name, components=parts, **settings)

    def tell(self, name: str, word: str) -> None:
        """Have a part end in some way, and wait for what follows at once."""
        self.parts[name].orders.put(word)
        self.simulation.settle()

    def since(self, seconds: float = 0.0) -> Sequence[str]:
        """Let *seconds* pass, and return what happened since this was last asked."""
        if seconds:
            self.simulation.sleep(seconds)
        self.simulation.settle()
        happened, self.events[:] = list(self.events), []
        return happened
