"""The files of a run: checkpoints to resume from, and the result, each whole on the disk before anyone is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from store.checkpoints import Checkpoints
from store.files import LocalArtifacts
from store.records import Claim
from worker import failpoints, log
from worker.outbox import Outbox

State = dict[str, np.ndarray[Any, Any]]


class Files:
    """Writes and reads the files of claimed jobs below `data_dir`."""

    def __init__(self, data_dir: Path) -> None:
        self._artifacts = LocalArtifacts(data_dir)
        self._checkpoints = Checkpoints(self._artifacts)

    def resume(self, claim: Claim, outbox: Outbox) -> State | None:
        """The newest checkpoint that is what was written, or None to start anew; says what was passed over."""
        restored = self._checkpoints.load_latest(claim.job)
        for problem in restored.problems:
            log.warning("checkpoint_passed_over", job=claim.job_id, detail=problem)
            outbox.add(("log", {"level": "warning", "message": problem}))
        if restored.manifest is not None:
            log.info("resuming", job=claim.job_id, step=restored.manifest["step"], epoch=restored.manifest["epoch"])
        return restored.arrays

    def save_checkpoint(self, claim: Claim, state: State, step: int, epoch: int) -> dict[str, Any]:
        """Write a checkpoint durably; returns its manifest. Raises: DiskFull."""
        with failpoints.writing("checkpoint"):
            return self._checkpoints.put(claim.job_id, claim.fence, step, epoch, state)
