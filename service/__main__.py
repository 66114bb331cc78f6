"""`python -m service`: one API process."""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import replace
from pathlib import Path

from service.settings import EXIT_REFUSED, RefusedToStart, Settings, check_exposure, from_environment


def parse(arguments: list[str] | None = None) -> Settings:
    """Settings from the environment, overridden by the command line. Raises RefusedToStart."""
    given = from_environment()
    parser = argparse.ArgumentParser(prog="python -m service", description="The HTTP API of mlpq.")
    parser.add_argument("--host", default=given.host, help="address to listen on (default %(default)s)")
    parser.add_argument("--port", type=int, default=given.port, help="port; 0 picks a free one (default %(default)s)")
    parser.add_argument("--redis-url", default=given.redis_url, help="redis://, rediss:// or unix:// (REDIS_URL)")
    parser.add_argument("--data-dir", type=Path, default=given.data_dir, help="data sets and artifacts")
    chosen = parser.parse_args(arguments)
    return replace(
        given, host=chosen.host, port=chosen.port, redis_url=chosen.redis_url, data_dir=chosen.data_dir.resolve()
    )


def main(arguments: list[str] | None = None) -> int:
    """Run one API process; returns its exit status, 2 when it refused to start."""
    try:
        settings = parse(arguments)
        check_exposure(settings.host, os.environ)
    except (RefusedToStart, OSError) as refusal:
        sys.stderr.write(f"mlpq: {refusal}\n")
        return EXIT_REFUSED
    from service.start import run  # --help and refusals answer before FastAPI and NumPy are imported

    return run(settings)


if __name__ == "__main__":
    sys.exit(main())
