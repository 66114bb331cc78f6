"""One implementation in a process of its own: JSON commands in, JSON answers out, one a line.

`load` builds it for a workload and takes the first step (the cold time, all implementations at once), `curve` gives
losses, `time` runs epochs for a while.
"""

from __future__ import annotations

import gc
import json
import sys
import time
from dataclasses import replace
from typing import Any

import numpy as np

from bench.gpu.workloads import WORKLOADS

_STATE: dict[str, Any] = {}


def load(name: str, workload: str, precision: str, inputs: str, device: str) -> dict[str, Any]:
    _STATE.clear()  # and with it the memory of the workload before
    gc.collect()
    if name.startswith("ours"):
        from bench.gpu.ours import OURS

        Implementation: Any = OURS[name]
    else:
        from bench.gpu.peers import PEERS

        Implementation = PEERS[name]
    with np.load(inputs) as arrays:
        given = dict(arrays)
    started = time.perf_counter()
    one = _STATE["one"] = Implementation(replace(WORKLOADS[workload], precision=precision), given, device)
    one.curve(1)
    return {"cold_s": time.perf_counter() - started, "about": one.about()}


def curve(steps: int) -> dict[str, Any]:
    losses = np.asarray(_STATE["one"].curve(steps), np.float64)
    return {"losses": losses[:, sorted({0, losses.shape[1] - 1})].tolist()}


def measure(seconds: float) -> dict[str, Any]:
    """Epochs and seconds of one repeat, at least `seconds` long; the number of epochs is found once."""
    one, epochs = _STATE["one"], _STATE.get("epochs", 1)
    while True:
        started = time.perf_counter()
        one.run(epochs)
        took = time.perf_counter() - started
        if took >= seconds:
            _STATE["epochs"] = epochs
            return {"epochs": epochs, "seconds": took, "peak_mb": one.peak_mb()}
        epochs = max(epochs + 1, int(epochs * min(8.0, 1.2 * seconds / took)))


def ceilings() -> dict[str, Any]:
    return {"ceilings": _STATE["one"].ceilings()}


COMMANDS = {"load": load, "curve": curve, "time": measure, "ceilings": ceilings}


def main() -> None:
    for line in sys.stdin:
        command, *arguments = json.loads(line)
        try:
            answer = COMMANDS[command](*arguments)
        except Exception as error:  # noqa: BLE001 - the driver leaves this implementation out, and says why
            answer = {"error": f"{type(error).__name__}: {error}"[:500]}
        print("=" + json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
