"""A forked child has none of a runtime's threads: it is told so, and can be ended."""

from __future__ import annotations

import json
import signal

from tests.runtime.processes import script

USES = """
import asyncio, json, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # of threads

class Echo(Component):
    def default_handler(self, message):
        return message

def refusal(use):
    try:
        return f"no error, but {use()!r}"
    except BaseException as error:
        return type(error).__name__

def in_child():
    runtime = outer
    root, ref = runtime.root, runtime["echo"]
    def as_block():
        with runtime:
            pass
    uses = {
        "start": runtime.start, "stop": runtime.stop, "join": runtime.join,
        "run": runtime.run, "with": as_block,
        "add": lambda: runtime.add(Echo(name="more")),
        "add_nowait": lambda: runtime.add_nowait(Echo(name="more")),
        "remove": lambda: runtime.remove("echo"),
        "broadcast": lambda: root.broadcast("hello"),
        "send": lambda: ref.send("hello"),
        "post": lambda: ref.post("hello"),
        "send_all": lambda: ref.send_all(["hello"]),
        "asend": lambda: asyncio.run(ref.asend("hello")),
        "update": lambda: ref.update({}),
        "snapshot": ref.snapshot,
        "wait_stopped": ref.wait_stopped,
        "ref.stop": ref.stop, "ref.start": ref.start, "restart": ref.restart,
        "callback": lambda: ref.callback(print),
        "subscribe": ref.subscribe,
    }
    return {name: refusal(use) for name, use in uses.items()}

def new_runtime():
    with Runtime(name="child", components=[Echo(name="echo")]) as runtime:
        return runtime["echo"].send("hello again")

with Runtime(name="app", components=[Echo(name="echo")]) as outer:
    child = os.fork()
    if child == 0:
        told = {"refusals": in_child(), "stage": str(outer["echo"].stage)}
        try:
            outer.stop()
        except Exception as error:
            told["text"] = str(error)
        told["new"] = new_runtime()
        say(json.dumps(told))
        os._exit(7)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    say("child ended with", code, "parent says", outer["echo"].send("still here"))
"""


def test_in_a_forked_child_every_use_is_a_clear_error() -> None:
    """
    At once, not after a timeout; the parent goes on, and a new runtime works.
    """
    with script(USES) as process:
        told = json.loads(process.wait_for("^{"))
        process.wait_for("child ended with 7 parent says still here")

        assert process.end() == 0
    wrong = {n: what for n, what in told["refusals"].items() if what != "ForkedError"}

    assert wrong == {}
    assert "Make a Runtime after the fork" in told["text"]
    assert told["new"] == "hello again"


PARENT = """
import warnings
warnings.simplefilter("ignore", DeprecationWarning)

class Forks(Loop):
    def init(self):
        child = os.fork()
        if child == 0:
            say("child", os.getpid())
            while True:
                time.sleep(60)
        self.child = child
    def stop(self):
        os.kill(self.child, signal.SIGTERM)
        _, status = os.waitpid(self.child, 0)
        say("child ended with", os.waitstatus_to_exitcode(status))

sys.exit(Runtime(name="app", components=[Forks(name="forks")]).run())
"""


RETURNS = """
class Forks(Component):
    def start(self):
        for how in ("returns", "raises"):
            child = os.fork()
            if child == 0:
                say(how, "in the child")
                if how == "raises":
                    raise ValueError("in the child")
                return
            code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            say(how, "and ends with", code)

    def tear_down(self):
        say("torn down in", os.getpid())

import warnings
warnings.simplefilter("ignore", DeprecationWarning)  # of threads
with Runtime(name="app", components=[Forks(name="forks")]):
    say("the parent is", os.getpid())
"""


def test_a_forked_child_that_comes_out_of_its_hook_ends() -> None:
    """
    Nothing of its parent's is run in it; what it raised is on standard error.
    """
    with script(RETURNS) as process:
        process.wait_for("returns and ends with 0")
        process.wait_for("raises and ends with 1")
        process.wait_for("the parent is")
        [parent] = process.matching("the parent is (.*)")
        process.wait_for(f"torn down in {parent}")

        assert process.end() == 0
    assert process.text.count("torn down") == 1
    assert "ValueError: in the child" in process.text


def test_a_forked_child_can_be_ended_by_a_signal() -> None:
    """
    It inherits the handlers, but nobody who listens: they give way to the old ones.
    """
    with script(PARENT) as process:
        process.wait_for("child")
        process.wait_for("/app: started")

        assert process.end(signal.SIGTERM) == 0
        assert process.matching("child ended with (.*)") == ["-15"]
