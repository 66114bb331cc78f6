"""`python -m bench.gpu.nodes [W4 W5:bfloat16 ...]`: what every node of a recorded step costs on the present GPU.

Each node is played many times in a graph of its own, one after another, as it would follow the node before it. Their
sum is what a step would take on one branch; beside it stands what the recording takes, whose branches run side by side.
Everything goes to bench/results/gpu_nodes.json.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from bench.gpu.__main__ import workload_of
from bench.gpu.device import require
from bench.gpu.ours import members_of
from bench.harness import write_result
from kernels.backend import Recorder, Recording, select
from kernels.step_plan import Node, Product, StepPlan, bind
from kernels.step_source import LOAD_SYMBOL
from nets.recorded_engine import RecordedEngine
from nets.step_shape import shape_of

REPEATS, PLAYS = 20, 5
CLAIM = "time of every node of a recorded training step on one GPU, and of the step"


class Keeping:
    """A recorder that keeps what it loaded last."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self.loaded: list[tuple[StepPlan, Recording]] = []

    def load(self, plan: StepPlan) -> Recording:
        """See Recorder."""
        recording = self._recorder.load(plan)
        self.loaded = [(plan, recording)]
        return recording


def described(node: Node) -> str:
    """A line's begin: the launch, or the sizes of the product."""
    if isinstance(node, Product):
        m, n, k = node.sizes
        turned = "NT"[node.a.transposed] + "NT"[node.b.transposed]
        return f"branch {node.branch} product m {m} n {n} k {k} {turned} of {node.models}, {node.flops / 1e6:.1f} MFLOP"
    return f"branch {node.branch} {node.symbol}, {node.blocks} blocks of {node.threads}"


def microseconds(cupy: Any, call: Callable[[], object]) -> float:
    """Of one of REPEATS calls in a graph; the best of some plays."""
    stream = cupy.cuda.Stream(non_blocking=True)
    with stream:
        call()
        stream.synchronize()
        stream.begin_capture()
        for _ in range(REPEATS):
            call()
        graph = stream.end_capture()
        return min(elapsed(cupy, graph.launch) for _ in range(PLAYS)) / REPEATS


def elapsed(cupy: Any, call: Callable[[], object]) -> float:
    """Microseconds of a call's work on the current stream, begun while the device is busy with another such call."""
    before, after = cupy.cuda.Event(), cupy.cuda.Event()
    call()
    before.record()
    call()
    after.record()
    after.synchronize()
    return float(cupy.cuda.get_elapsed_time(before, after)) * 1e3


def look(title: str, device: str) -> dict[str, Any]:
    """Figures of one workload; prints the nodes one by one."""
    from kernels.cupy_recorder import CudaProducts

    backend, members = select(device), members_of(workload_of(title))
    shape, recorder = shape_of(members), backend.recorder
    if shape is None or recorder is None or backend.compiler is None:
        raise SystemExit(f"{title}: nothing records its steps on {device}")
    keeping = Keeping(recorder)
    engine = RecordedEngine(members, backend, keeping, shape)
    engine.advance(1)  # numbers as they are in a run
    engine.drain()
    ((plan, recording),) = keeping.loaded
    steps = [getattr(node, "symbol", "") for node in plan.programs[0]].count(LOAD_SYMBOL)
    cupy, cursor = backend.xp, recording.buffers["cursor"]
    cursor.fill(0)
    backend.synchronize()
    print(f"{title}: products in {shape.arithmetic}", flush=True)
    program, nodes = plan.programs[1], []  # that of one step
    for node, call in zip(program, bind(program, recording.buffers, backend.compiler, CudaProducts()), strict=True):
        if isinstance(node, Product) or "cursor" not in node.writes:  # the cursor stays at the chunk's begin
            nodes.append({"node": described(node), "us": round(microseconds(cupy, call), 2)})
            print(f"  {nodes[-1]['us']:8} us  {nodes[-1]['node']}", flush=True)
    total = round(sum(node["us"] for node in nodes), 2)
    alone = round(min(_played(cupy, recording, cursor) for _ in range(PLAYS)) / steps, 2)
    print(f"  {total:8} us  in all; {alone} us a step in a recording of {steps}", flush=True)
    return {"nodes": nodes, "sum_us": total, "recorded_us": alone}


def _played(cupy: Any, recording: Recording, cursor: Any) -> float:
    """Microseconds of the longest recording, from the begin of a chunk, in which there is room for two of them."""
    cursor.fill(0)
    return elapsed(cupy, lambda: recording.play(0))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("workloads", nargs="*", default=["W4", "W5"])
    parser.add_argument("--device", default="cuda:0")
    given = parser.parse_args()
    require(given.device)
    figures: dict[str, Any] = {}
    for title in given.workloads:
        figures[title] = look(title, given.device)
        write_result("gpu_nodes", CLAIM, "python -m bench.gpu.nodes", figures)


if __name__ == "__main__":
    main()
