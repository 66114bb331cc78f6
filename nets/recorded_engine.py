"""The engine that plays recorded steps: a step's launches and products are planned once and enqueued by one call.

Axis legend: M places of the plan, L models still in the stack, B batch, P parameters, N steps of a chunk. Models that
leave keep their places, where nobody reads what they go on computing, until less than half of the places are in use.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from kernels.backend import Array, Backend, Recorder
from nets.batches import Pool
from nets.chunks import Chunk
from nets.dropout import limit_of
from nets.engine import Crossing
from nets.losses import LOSSES
from nets.member import Member
from nets.optimizers import OPTIMIZERS
from nets.plans import plan_of
from nets.stack_state import StackState
from nets.step_shape import StepShape

RECORDED_STEPS: Final = 16
"""Steps that one call enqueues."""
MAX_CHUNK_STEPS: Final = 512
MAX_CHUNK_ROWS: Final = 1 << 22
"""Most rows (steps · models · batch) whose numbers are kept at once."""


class RecordedEngine(StackState):
    """Engine over a plan of `nets.plans`, recorded by the backend. Raises RecordingFailed where that cannot be done."""

    name: Final = "recorded"

    def __init__(
        self,
        members: Sequence[Member],
        backend: Backend,
        recorder: Recorder,
        shape: StepShape,
        pool: Pool | None = None,
    ) -> None:
        pool = pool or Pool.of(members, "train", backend)
        spec = members[0].spec
        self._recorder, self._shape = recorder, shape
        self._optimizer = OPTIMIZERS[spec.optimizer.name]
        self._is_mean = LOSSES[spec.loss.name].is_mean(spec.loss.options)
        blank = np.zeros(shape.layout.count, shape.dtype)
        super().__init__(members, backend, pool, dict.fromkeys(self._optimizer.slots, blank))
        self._x = pool.x
        y = pool.y.astype(np.int32) if shape.loss.by_class else pool.y
        self._y = backend.to_device(np.ascontiguousarray(y))
        self._pending: list[Array] = []
        self._ahead: tuple[int, Chunk] | None = None
        self._load(self._kept)

    # ---- building

    def _load(self, state: Mapping[str, Array]) -> None:
        """Plan and record for as many places as there are models; all numbers of the models move in."""
        models, shape, backend = len(self._members), self._shape, self._backend
        self._capacity = max(1, min(MAX_CHUNK_STEPS, MAX_CHUNK_ROWS // (models * shape.batch)))
        self._recorded = min(RECORDED_STEPS, self._capacity)
        plan = plan_of(shape, models, self._capacity, (self._recorded, 1))
        self._ready = len(plan.programs) - 1
        self._recording = self._recorder.load(plan)
        self.details = {"products": shape.arithmetic, **self._recording.details}
        buffers = self._recording.buffers
        self._state = {name: buffers[name].reshape(models, -1) for name in state}
        for name, array in state.items():
            backend.xp.copyto(self._state[name], array)
        addresses = [backend.address(self._x), backend.address(self._y)]
        self._write("sources", np.array(addresses, np.int64))
        for name, array in self._constants().items():
            if name in buffers:
                self._write(name, array)
        if plan.programs[self._ready]:
            self._recording.play(self._ready)  # what products read of the parameters

    def _constants(self) -> dict[str, NDArray[np.generic]]:
        """What the models' steps have in common: optimizer's numbers, decay, limits, dropout."""
        members, dtype = self._members, self._shape.dtype
        options = [member.spec.optimizer.options for member in members]
        decays = np.array([self._optimizer.decay(one) for one in options])[:, None]
        limits = [member.spec.training.clip_norm for member in members]
        rates = [member.spec.net.dropout for member in members]
        return {
            "hyper": np.array([self._optimizer.numbers(one) for one in options]).astype(dtype),
            "decay": (decays * self._shape.layout.is_weight()).astype(dtype),
            "limits": np.array([np.inf if limit is None else limit for limit in limits]).astype(dtype),
            "seeds": np.array([member.spec.training.seed for member in members], np.uint64),
            "stays": np.array([limit_of(rate) for rate in rates], np.uint64),
            "scales": (1 / (1 - np.array(rates, np.float64))).astype(dtype),
        }

    def _write(self, name: str, host: NDArray[np.generic]) -> None:
        """Put numbers at the begin of a buffer."""
        flat = host.reshape(-1)
        self._backend.xp.copyto(self._recording.buffers[name][: flat.size], self._backend.to_device(flat))

    # ---- running

    def max_chunk(self) -> int:
        """See Engine."""
        return min(self._chunks.left(), self._capacity)

    def advance(self, n_steps: int) -> None:
        """See Engine."""
        self._bring(self._next(n_steps), n_steps)
        whole, single = divmod(n_steps, self._recorded)
        for program in [0] * whole + [1] * single:
            self._recording.play(program)
        self._chunks.steps = [step + n_steps for step in self._chunks.steps]
        losses = self._recording.buffers["losses"][: n_steps * self._models].reshape(n_steps, self._models)
        self._pending.append(losses[:, self._places].copy())
        self._look_ahead(n_steps)  # on the host, while the device works

    def _look_ahead(self, n_steps: int) -> None:
        """Make the next chunk, as long as this one unless an epoch ends in it; none behind the end of a run."""
        ahead = min(n_steps, self.max_chunk())
        goes_on = all(s + ahead <= m.total_steps for s, m in zip(self._chunks.steps, self._members, strict=True))
        self._ahead = (ahead, self._chunks.next(ahead)) if goes_on else None

    def _next(self, n_steps: int) -> Chunk:
        """The chunk of the next steps."""
        ahead, self._ahead = self._ahead, None
        return ahead[1] if ahead is not None and ahead[0] == n_steps else self._chunks.next(n_steps)

    @property
    def _models(self) -> int:
        """M."""
        return int(self._state["parameters"].shape[0])

    def _bring(self, chunk: Chunk, n_steps: int) -> None:
        """Rows and numbers of the chunk; the cursor at its begin. Empty places see any row, at weight 0."""
        models, shape = self._models, self._shape
        rows = np.zeros((n_steps, models, shape.batch), np.int32)
        numbers = np.zeros((n_steps, models, shape.width), shape.dtype)
        rows[:, self._places] = chunk.rows
        numbers[:, self._places, : shape.batch] = chunk.scaled
        numbers[:, self._places, shape.batch : -1] = chunk.rates
        numbers[:, self._places, -1] = chunk.valid if self._is_mean else 1
        first = np.zeros(models, np.uint64)
        first[self._places] = self._chunks.steps
        for name, array in {"rows": rows, "numbers": numbers, "first": first, "cursor": np.zeros(1, np.int64)}.items():
            self._write(name, array)

    def drain(self) -> NDArray[np.float64]:
        """See Engine: the one wait for the device."""
        pending, self._pending = self._pending, []
        return np.concatenate([self._backend.to_host(losses) for losses in pending])

    def crossed(self, position: int) -> Sequence[Crossing]:  # noqa: ARG002
        """See Engine."""
        return ()

    def keep(self, positions: Sequence[int]) -> None:
        """See Engine."""
        super().keep(positions)
        self._ahead = None
        if 2 * len(self._places) < self._models:
            self._load(self._moved_up())
