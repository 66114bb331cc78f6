"""One implementation of one workload, alive for the whole comparison: JSON lines in, JSON lines out."""

from __future__ import annotations

import json
import resource
import sys
import time
from typing import Any

from bench.cpu.ceiling import CEILING, Ceiling
from bench.cpu.workloads import WORKLOADS


def main() -> None:
    name, workload = sys.argv[1:]
    w = WORKLOADS[workload]
    trainer: Any
    if name == "mlpq":
        from bench.cpu.ours import Mlpq

        trainer = Mlpq(w)
    elif name == CEILING:
        trainer = Ceiling(w)
    else:
        from bench.cpu.peers import PEERS

        trainer = PEERS[name](w)
    for line in sys.stdin:
        asked = json.loads(line)
        cpu, start, losses = _cpu_s(), time.perf_counter(), []
        for _ in range(asked["times"]):
            losses = trainer.run(asked["epochs"])
        took, cpu = (time.perf_counter() - start) / asked["times"], (_cpu_s() - cpu) / asked["times"]
        print(json.dumps({"seconds": took, "cpu_s": cpu, "losses": losses, "note": trainer.note}), flush=True)


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
