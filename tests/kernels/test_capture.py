"""What is captured over several streams orders nodes as the plan says; streams and events follow CUDA's rules."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import pytest

from kernels import cupy_recorder
from kernels.cupy_recorder import _captured
from nets.plans import plan_of
from nets.step_shape import shape_of
from tests.kernels.test_step_branches import clash
from tests.kernels.test_step_plan import various


class Stream:
    """A stream while it is captured: all that its next node comes after."""

    current: ClassVar[list[Stream]] = []

    def __init__(self) -> None:
        self.after: set[int] = set()
        self.captures = False

    def begin_capture(self) -> None:
        self.captures = True

    def end_capture(self) -> set[int]:
        return self.after

    def wait_event(self, event: Event) -> None:
        assert event.captured, "an event that was recorded outside of the capture"
        self.after |= event.after
        self.captures = True

    def __enter__(self) -> None:
        self.current.append(self)

    def __exit__(self, *_: Any) -> None:
        self.current.pop()


class Event:
    def __init__(self, *, disable_timing: bool) -> None:
        assert disable_timing

    def record(self, stream: Stream) -> None:
        self.after, self.captured = set(stream.after), stream.captures


@pytest.mark.parametrize("models", [1, 3])
def test_what_is_captured_orders_nodes_that_clash_and_ends_in_one_stream(
    models: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cupy_recorder.cupy.cuda, "Event", Event)
    monkeypatch.setattr("nets.plans.SPLIT_PARAMETERS", 1)
    beside = 0
    for member in various():
        shape = shape_of([member])
        assert shape is not None
        nodes = plan_of(shape, models, 5, (3,)).programs[0]
        before: list[set[int]] = []

        def call(number: int, before: list[set[int]] = before) -> Callable[[], None]:
            def enqueue() -> None:
                stream = Stream.current[-1]
                assert stream.captures
                before.append(set(stream.after))
                stream.after.add(number)

            return enqueue

        streams = {branch: Stream() for branch in {0, *(node.branch for node in nodes)}}
        assert _captured(streams, nodes, [call(k) for k in range(len(nodes))]) == set(range(len(nodes)))
        for k, node in enumerate(nodes):
            for j in range(k):
                assert j in before[k] or not clash(nodes[j], node), (nodes[j], node)
                beside += j not in before[k]
    assert beside > 100
