"""What engines have in common whose models' state lies on a device: reading it, and the last good copy.

Axis legend: M models, P numbers of an array.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from kernels.backend import Array, Backend
from nets.batches import OwnRows, Pool
from nets.chunks import Chunks
from nets.evaluate import Evaluator, Measured
from nets.member import Member, State
from nets.optimizers import idle_slots


class LiveParameters(ABC):
    """The part of an Engine that reads parameters. Each model has a place, its row in every array (M, P)."""

    _backend: Backend
    _places: list[int]
    grows: Final = False

    def admit(self, _members: Sequence[Member], _rows: OwnRows) -> None:
        """See Engine: arrays on a device have as many rows as the stack began with."""
        raise TypeError(f"{type(self).__name__} does not grow")

    @property
    @abstractmethod
    def _parameters(self) -> Array:
        """The parameters (M, P) of all places, as the last step left them."""

    def weights(self, positions: Sequence[int]) -> NDArray[Any]:
        """See Engine."""
        return self._backend.to_host(self._chosen(positions))

    def measure(self, evaluator: Evaluator, positions: Sequence[int], models: Sequence[int]) -> list[Measured]:
        """See Engine."""
        return evaluator.measure(self._chosen(positions), models)

    def _chosen(self, positions: Sequence[int]) -> Array:
        """The parameters (K, P) of some models, on the device: all of them as they are, fewer as a copy."""
        whole, places = self._parameters, [self._places[position] for position in positions]
        return whole if places == list(range(len(whole))) else whole[places]

    def finite(self) -> NDArray[np.bool_]:
        """See Engine."""
        return self._backend.to_host(self._backend.xp.isfinite(self._parameters).all(axis=1))[self._places]


class StackState(LiveParameters):
    """The part of an Engine whose state is named arrays that reads and keeps it.

    `_kept` is where the run begins; an engine sets `_state`, the live arrays of the same names, itself. `blanks` are
    the arrays beside the parameters, as a fresh run has them.
    """

    _state: dict[str, Array]

    def __init__(
        self, members: Sequence[Member], backend: Backend, pool: Pool, blanks: Mapping[str, NDArray[Any]]
    ) -> None:
        self._backend = backend
        self._members = list(members)
        self._places = list(range(len(members)))
        fresh = {"step": np.zeros(())} | dict(blanks)
        states = [fresh | (member.state or {"parameters": member.initial_parameters()}) for member in members]
        self._kept: dict[str, Array] = {
            name: backend.to_device(np.stack([state[name] for state in states])) for name in ("parameters", *blanks)
        }
        self._chunks = Chunks(members, pool, [int(state["step"]) for state in states])
        self._kept_steps = list(self._chunks.steps)

    @property
    def _parameters(self) -> Array:
        return self._state["parameters"]

    def steps(self) -> list[int]:
        """See Engine."""
        return list(self._chunks.steps)

    def state(self, position: int) -> State:
        """See Engine."""
        return self._on_host(self._state, self._chunks.steps, position)

    def keep_copy(self) -> None:
        """See Engine."""
        for name, array in self._state.items():
            self._backend.xp.copyto(self._kept[name], array)
        self._kept_steps = list(self._chunks.steps)

    def kept_state(self, position: int) -> State:
        """See Engine."""
        return self._on_host(self._kept, self._kept_steps, position)

    def _on_host(self, arrays: Mapping[str, Array], steps: Sequence[int], position: int) -> State:
        """One model's arrays; what its own optimizer does without is as it was, whatever its neighbours need."""
        place, optimizer = self._places[position], self._members[position].spec.optimizer
        state = {name: self._backend.to_host(array[place]) for name, array in arrays.items()}
        for name in idle_slots(optimizer.name, tuple(optimizer.options.items())):
            state[name] = np.zeros_like(state[name])
        return state | {"step": np.array(steps[position], np.int64)}

    def keep(self, positions: Sequence[int]) -> None:
        """See Engine. The places of the others stay, empty."""
        chosen = list(positions)
        self._members = [self._members[p] for p in chosen]
        self._places = [self._places[p] for p in chosen]
        self._kept_steps = [self._kept_steps[p] for p in chosen]
        self._chunks.keep(chosen)

    def _moved_up(self) -> dict[str, Array]:
        """The live arrays without empty places; the last good copy has none from now on."""
        places, self._places = self._places, list(range(len(self._places)))
        self._kept = {name: array[places] for name, array in self._kept.items()}
        return {name: array[places] for name, array in self._state.items()}
