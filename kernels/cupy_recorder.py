"""Whole training steps recorded as CUDA graphs: kernels by CuPy, products by cuBLASLt, buffers that stay.

A plan's programs are recorded once and then played by one call each. Before that every program is rehearsed, call by
call, on numbers that nobody needs: what CUDA loads when it is first used is loaded then, not while it is recorded.
Recordings are kept, those used last, for the next run of the same shape in this process.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final

import cupy

from kernels.backend import Compiler
from kernels.cublaslt import WORKSPACE_BYTES, CublasLt, Descriptors, Session
from kernels.errors import RecordingFailed
from kernels.step_plan import Node, Product, StepPlan, bind, rehearse, waits

MAX_KEPT: Final = 4
"""Recordings that are kept for later runs."""
MAX_KEPT_BYTES: Final = 1 << 30
"""Bytes that the buffers of all kept ones may take."""

_CUDA_ERRORS: Final = (cupy.cuda.runtime.CUDARuntimeError, cupy.cuda.driver.CUDADriverError)


class CudaProducts:
    """`kernels.step_plan.Products` by cuBLASLt, on the stream that is current when a call is made."""

    def __init__(self) -> None:
        self._library = CublasLt()
        self._sessions: dict[int, tuple[Session, Any]] = {}

    @property
    def version(self) -> str:
        """Of cuBLASLt."""
        return self._library.version

    def _session(self, branch: int) -> Session:
        """Products of different branches may run at once: each branch has a workspace of its own."""
        if branch not in self._sessions:
            workspace = cupy.cuda.alloc(WORKSPACE_BYTES)
            self._sessions[branch] = Session(self._library, int(workspace.ptr), _current_stream), workspace
        return self._sessions[branch][0]

    def bind(self, product: Product, a: Any, b: Any, d: Any) -> Callable[[], None]:
        """See Products: the algorithm is chosen here. The descriptors live as long as the call."""
        descriptors = Descriptors(self._library, product)
        call = self._session(product.branch).bound(descriptors, int(a.data.ptr), int(b.data.ptr), int(d.data.ptr))
        weakref.finalize(call, descriptors.close).atexit = False
        return call


def _current_stream() -> int:
    return int(cupy.cuda.get_current_stream().ptr)


class _Graphs:
    """A plan's buffers, and one graph for each of its programs."""

    def __init__(self, plan: StepPlan, compiler: Compiler, products: CudaProducts) -> None:
        self.plan, self.in_use = plan, False
        self.buffers: Mapping[str, Any] = {one.name: cupy.zeros(one.size, one.dtype) for one in plan.buffers}
        self.details = {"recorded": "cuda graph", "cublaslt": products.version}
        with _refusals():  # a kernel may ask for more shared memory than the device has
            programs = [bind(program, self.buffers, compiler, products) for program in plan.programs]
        batches = [one.size for one in plan.buffers if one.name.startswith(("inputs", "targets"))]
        rows = cupy.zeros(max(batches), "float64")
        self.buffers["sources"].fill(int(rows.data.ptr))  # something to read before there are data
        cupy.cuda.get_current_stream().synchronize()  # before any training: the other stream must see all of this
        self._graphs = [
            _recorded(nodes, calls, self.buffers) for nodes, calls in zip(plan.programs, programs, strict=True)
        ]

    def play(self, program: int) -> None:
        """One launch on the current stream."""
        graph = self._graphs[program]
        if graph is not None:
            graph.launch()


@contextmanager
def _refusals() -> Iterator[None]:
    """What CUDA refuses is raised as RecordingFailed."""
    try:
        yield
    except _CUDA_ERRORS as error:
        raise RecordingFailed(f"a training step was not recorded: {error}") from error


def _recorded(nodes: Sequence[Node], calls: Sequence[Callable[[], None]], buffers: Mapping[str, Any]) -> Any:
    """The graph of these calls, after one run of them; None for none. Raises RecordingFailed."""
    if not calls:
        return None
    branches = {0} | {node.branch for node in nodes}
    streams = {branch: cupy.cuda.Stream(non_blocking=True) for branch in branches}
    with _refusals():
        with streams[0]:
            rehearse(calls, buffers)
            streams[0].synchronize()
        return _captured(streams, nodes, calls)


def _captured(streams: Mapping[int, Any], nodes: Sequence[Node], calls: Sequence[Callable[[], None]]) -> Any:
    streams[0].begin_capture()
    try:
        _play_branches(streams, nodes, calls)
    except BaseException:
        with suppress(*_CUDA_ERRORS):  # a capture that broke ends with an error of its own; the first one tells more
            streams[0].end_capture()
        raise
    return streams[0].end_capture()


def _play_branches(streams: Mapping[int, Any], nodes: Sequence[Node], calls: Sequence[Callable[[], None]]) -> None:
    """Every branch on its stream, out of the first one and back into it."""
    needed = waits(nodes)
    awaited, events = {earlier for all_of_one in needed for earlier in all_of_one}, dict[int, Any]()
    others = [stream for branch, stream in streams.items() if branch != 0]
    begun = _marked(streams[0])
    for stream in others:
        stream.wait_event(begun)
    for number, (node, call) in enumerate(zip(nodes, calls, strict=True)):
        stream = streams[node.branch]
        for earlier in needed[number]:
            stream.wait_event(events[earlier])
        with stream:
            call()
        if number in awaited:
            events[number] = _marked(stream)
    for stream in others:
        streams[0].wait_event(_marked(stream))


def _marked(stream: Any) -> Any:
    event = cupy.cuda.Event(disable_timing=True)
    event.record(stream)
    return event


class CudaRecording:
    """`kernels.backend.Recording`: the right to use some graphs, until nobody holds it."""

    def __init__(self, graphs: _Graphs) -> None:
        self.buffers, self.details, self.play = graphs.buffers, graphs.details, graphs.play
        graphs.in_use = True
        weakref.finalize(self, setattr, graphs, "in_use", False).atexit = False


class CudaRecorder:
    """`kernels.backend.Recorder` on one device."""

    def __init__(self, compiler: Compiler) -> None:
        self._compiler = compiler
        self._products: CudaProducts | None = None
        self._kept: list[_Graphs] = []  # the last used is the last

    def load(self, plan: StepPlan) -> CudaRecording:
        """See Recorder."""
        graphs = next((one for one in self._kept if one.plan == plan and not one.in_use), None)
        if graphs is None:
            graphs = self._made(plan)
        else:
            self._kept.remove(graphs)
        self._kept.append(graphs)
        recording = CudaRecording(graphs)
        self._forget()
        return recording

    def _made(self, plan: StepPlan) -> _Graphs:
        if self._products is None:
            self._products = CudaProducts()
        graphs = self._tried(plan, self._products)
        if graphs is None:
            self._kept = [one for one in self._kept if one.in_use]
            cupy.get_default_memory_pool().free_all_blocks()
            graphs = _Graphs(plan, self._compiler, self._products)
        return graphs

    def _tried(self, plan: StepPlan, products: CudaProducts) -> _Graphs | None:
        """None where memory is short: by then the error is gone, and with it all that the attempt had taken."""
        try:
            return _Graphs(plan, self._compiler, products)
        except cupy.cuda.memory.OutOfMemoryError:
            return None

    def _forget(self) -> None:
        """Let go of what was used longest ago; an engine that still uses it keeps it alive by itself."""
        kept, size = list[_Graphs](), 0
        for one in reversed(self._kept):
            size += one.plan.bytes
            if one.in_use or (len(kept) < MAX_KEPT and size <= MAX_KEPT_BYTES):
                kept.append(one)
        self._kept = kept[::-1]
