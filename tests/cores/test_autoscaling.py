"""A head that starts nodes: what comes of failures, by message."""

from __future__ import annotations

from distpool.scheduler.cores.head import HeadCore
from distpool.scheduler.limits import DEFAULTS
from distpool.scheduler.messages import (
    NodeFacts,
    NodeHello,
    NodeRefused,
    NodeReport,
    NodesListed,
    NodeStopped,
    NodeType,
    ProviderUp,
    ScalingSettings,
    StartNode,
    StopNode,
    Tick,
    WakeAt,
    Want,
)

SETTINGS = ScalingSettings(
    "simulated",
    (NodeType("cpu", {"CPU": 2.0}), NodeType("gpu", {"GPU": 1.0})),
    patience_s=0.0,
)
HOME = NodeFacts("home", "tcp://home", {}, {})


class Head:
    """A head, and a clock that stops at whatever it has asked to be woken for."""

    def __init__(self) -> None:
        self.core = HeadCore(DEFAULTS, "home", SETTINGS)
        self.now = 0.0
        self.wake_s = float("inf")
        self.tell("provider", ProviderUp())
        self.tell("provider", NodesListed({}))
        self.tell("agent:home", NodeHello(1, HOME))

    def tell(self, sender: str, message: object) -> list[object]:
        """What it says to its provider."""
        out = self.core.receive(sender, message, self.now)  # type: ignore[arg-type]
        self.core.check()
        self.wake_s = min([self.wake_s, *(m.at_s for _, m in out if isinstance(m, WakeAt))])
        return [m for to, m in out if to == "provider"]

    def wait(self, until_s: float) -> list[tuple[float, object]]:
        """What it says to its provider until then, and when."""
        said = []
        while self.wake_s <= until_s:
            self.now, self.wake_s = self.wake_s, float("inf")
            said += [(round(self.now, 3), message) for message in self.tell("timer", Tick())]
        self.now = until_s
        return said

    def refuse(self, name: str) -> None:
        assert self.tell("provider", NodeRefused(name, "no machine left")) == [StopNode(name)]
        assert self.tell("provider", NodeStopped(name)) == []


def test_each_type_is_tried_again_when_its_own_rest_is_over() -> None:
    """Not when that of the type is over which has failed last."""
    head = Head()
    cpu, gpu = SETTINGS.types
    head.tell("agent:home", NodeReport(1, {}, wants=(Want({"GPU": 1.0}, 1),)))
    assert head.wait(0.1) == [(0.1, StartNode("gpu-1", gpu))]
    head.refuse("gpu-1")
    assert head.wait(1.2) == [(1.1, StartNode("gpu-2", gpu))]
    head.tell("agent:home", NodeReport(1, {}, wants=(Want({"GPU": 1.0}, 1), Want({"CPU": 1.0}, 1))))
    assert head.wait(1.5) == [(1.3, StartNode("cpu-3", cpu))]
    head.refuse("cpu-3")  # the first time: it rests for 1 s
    head.refuse("gpu-2")  # the second time: 2 s
    assert head.wait(4.0) == [(2.5, StartNode("cpu-4", cpu)), (3.5, StartNode("gpu-5", gpu))]
