"""`python -m bench [name ...]`: run the named benchmarks, or all, each in its own process; then the README's table."""

from __future__ import annotations

import subprocess
import sys

from bench import table

ALL = (
    "defaults",
    "against_sklearn",
    "latency",
    "submit",
    "upload",
    "streams",
    "listing",
    "resume",
    "overhead",
    "page",
    "fresh_clone",
)


def main() -> int:
    names = sys.argv[1:] or list(ALL)
    unknown = [name for name in names if name not in ALL]
    if unknown:
        print(f"no benchmark named {', '.join(unknown)}; there are {', '.join(ALL)}", file=sys.stderr)
        return 2
    failed = []
    for name in names:
        print(f"== {name}", flush=True)
        if subprocess.run([sys.executable, "-m", f"bench.{name}"], check=False).returncode != 0:
            failed.append(name)
    table.main()
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
