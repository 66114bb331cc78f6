"""`python -m bench.gpu.nodes [W4 W5:bfloat16 ...]`: what every node of a recorded step costs on the present GPU.

Each node is played many times in a graph of its own, one after another, as it would follow the node before it. Their
sum is what a step would take on one branch; beside it stands what the recording takes, whose branches run side by side.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from bench.gpu.__main__ import workload_of
from bench.gpu.ours import members_of
from kernels.backend import select
from kernels.step_plan import Node, Product, bind
from nets.plans import plan_of
from nets.step_shape import shape_of

REPEATS = 20


def described(node: Node) -> str:
    """A line's begin: the launch, or the sizes of the product."""
    if isinstance(node, Product):
        m, n, k = node.sizes
        return f"branch {node.branch} product m {m} n {n} k {k} of {node.models}, {node.flops / 1e6:.1f} MFLOP"
    return f"branch {node.branch} {node.symbol}, {node.blocks} blocks of {node.threads}"


def microseconds(cupy: Any, call: Callable[[], object]) -> float:
    """Of one of REPEATS calls in a graph; the best of five plays."""
    stream, best = cupy.cuda.Stream(non_blocking=True), float("inf")
    with stream:
        call()
        stream.synchronize()
        stream.begin_capture()
        for _ in range(REPEATS):
            call()
        graph = stream.end_capture()
        graph.launch()
        for _ in range(5):
            best = min(best, elapsed(cupy, graph.launch))
    return best / REPEATS


def elapsed(cupy: Any, call: Callable[[], object]) -> float:
    """Microseconds of a call's work on the current stream."""
    before, after = cupy.cuda.Event(), cupy.cuda.Event()
    before.record()
    call()
    after.record()
    after.synchronize()
    return float(cupy.cuda.get_elapsed_time(before, after)) * 1e3


def look(title: str, device: str) -> None:
    """Print the nodes of one workload."""
    from kernels.cupy_recorder import CudaProducts

    backend, members = select(device), members_of(workload_of(title))
    shape, recorder = shape_of(members), backend.recorder
    if shape is None or recorder is None or backend.compiler is None:
        raise SystemExit(f"{title}: nothing records its steps here")
    plan, cupy = plan_of(shape, len(members), 1, (1,)), backend.xp
    recording = recorder.load(plan)
    print(f"{title}: products in {shape.arithmetic}", flush=True)
    total, calls = 0.0, bind(plan.programs[0], recording.buffers, backend.compiler, CudaProducts())
    for node, call in zip(plan.programs[0], calls, strict=True):
        if isinstance(node, Product) or "cursor" not in node.writes:  # the cursor stays at the chunk's begin
            took = microseconds(cupy, call)
            total += took
            print(f"  {took:8.2f} us  {described(node)}", flush=True)

    def play() -> None:
        recording.buffers["cursor"].fill(0)
        recording.play(0)

    alone = min(elapsed(cupy, play) for _ in range(20))
    print(f"  {total:8.2f} us  in all; {alone:.2f} us as a recording of one step", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("workloads", nargs="*", default=["W4", "W5"])
    parser.add_argument("--device", default="cuda:0")
    given = parser.parse_args()
    for title in given.workloads:
        look(title, given.device)


if __name__ == "__main__":
    main()
