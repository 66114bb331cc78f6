"""What a deployment spends while a benchmark runs: processor time by process, commands and memory of Redis, disk."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from redis import Redis

from bench.deployment import Deployment, command_line, descendants
from bench.harness import quantile
from store import keys

ROLES = (("training", b"worker.child"), ("workers", b"worker"), ("api", b"service"), ("valkey", b"valkey-server"))
"""What a process is, and what its command line holds; the first that fits."""

SAMPLE = 200
"""Jobs whose keys are measured in Redis."""


class Costs:
    """Counts from now on. `look` has to be called now and then: of a killed process the last look counts."""

    def __init__(self, running: Deployment) -> None:
        self._running = running
        self._redis = Redis.from_url(f"unix://{running.data_dir}/valkey/valkey.sock")
        self._cpu_s: dict[tuple[int, str], tuple[str, float]] = {}
        self.look()
        self._before = self._so_far()

    def look(self) -> None:
        """Note how much time each process has used."""
        for pid in descendants(self._running.pid):
            line = command_line(pid)
            role = next((role for role, name in ROLES if name in line), "others")
            with contextlib.suppress(OSError):
                fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
                self._cpu_s[pid, fields[19]] = role, (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def per_job(self, ids: Sequence[str]) -> dict[str, Any]:
        """What each of these jobs, all since the start, has cost in the mean, the benchmark's questions included.

        Returns:
            `cpu_ms` by process; `scripts` that Redis ran and `commands`, those of scripts among them; bytes: `redis` of
            memory in all, `record` and `events_memory` of the job's own two keys, `log` of the append-only file,
            `files`; `events` in the job's stream.
        """
        self.look()
        used = {name: (value - self._before[name]) / len(ids) for name, value in self._so_far().items()}
        some = ids[:: max(1, len(ids) // SAMPLE)]
        return {
            "cpu_ms": {role: round(1e3 * used[role], 2) for role, _ in ROLES},
            "scripts": round(used["scripts"], 2),
            "commands": round(used["commands"], 1),
            "events": self._median(some, lambda redis, name: redis.xlen(keys.events(name))),
            "bytes": {
                "redis": round(used["redis"]),
                "record": self._median(some, lambda redis, name: redis.memory_usage(keys.job(name), samples=0)),
                "events_memory": self._median(some, lambda redis, name: redis.memory_usage(keys.events(name))),
                "log": round(used["log"]),
                "files": round(used["files"]),
            },
        }

    def _median(self, ids: Sequence[str], asked: Any) -> float:
        return quantile([float(asked(self._redis, name)) for name in ids], 0.5)

    def _so_far(self) -> Counter[str]:
        stats: dict[str, dict[str, int]] = self._redis.info("commandstats")
        found = Counter[str](
            scripts=stats.get("cmdstat_evalsha", {}).get("calls", 0),
            commands=sum(one["calls"] for one in stats.values()),
            redis=self._redis.info("memory")["used_memory"],
            log=self._redis.info("persistence").get("aof_current_size", 0),
            files=sum(path.stat().st_blocks * 512 for path in self._running.data_dir.glob("artifacts/**/*")),
        )
        for role, seconds in self._cpu_s.values():
            found[role] += seconds  # type: ignore[assignment]
        return found
