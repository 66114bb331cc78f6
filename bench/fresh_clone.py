"""A fresh clone -> `make demo` finished, the installation included: what a newcomer waits for."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from pathlib import Path

from bench.harness import write_result

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    environment = {
        key: value for key, value in os.environ.items() if not key.startswith(("MLPQ_", "VIRTUAL_ENV", "REDIS_URL"))
    }
    with tempfile.TemporaryDirectory(prefix="mlpq-clone-") as folder:
        clone = Path(folder) / "mlpq"
        start = time.monotonic()
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
        subprocess.run(["make", "demo"], cwd=clone, env=environment, check=True)
        first_s = time.monotonic() - start
        start = time.monotonic()
        subprocess.run(["make", "demo"], cwd=clone, env=environment, check=True)
        again_s = time.monotonic() - start
    figures = {"first_time_s": round(first_s, 1), "again_s": round(again_s, 1)}
    write_result("fresh_clone", "git clone, make demo, weights in hand", "python -m bench fresh_clone", figures)


if __name__ == "__main__":
    main()
