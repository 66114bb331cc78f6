"""Recorded steps on a host that runs every kernel's own source and every product from its descriptor's numbers."""

from __future__ import annotations

from nets.member import Member
from nets.recorded_engine import RecordedEngine
from nets.step_shape import shape_of
from tests.kernels.recorder_support import RecordingBackend


def engine_of(*members: Member, backend: RecordingBackend | None = None) -> RecordedEngine:
    backend = backend or RecordingBackend()
    shape = shape_of(members)
    assert shape is not None
    return RecordedEngine(members, backend, backend.recorder, shape)
