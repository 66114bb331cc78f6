"""`python -m worker`: take jobs from the queue and train them until told to stop."""

from __future__ import annotations

import argparse
import os
import re
import socket
import sys
from pathlib import Path

from worker.settings import LEAST_URGENT, NICE, RECYCLE_AFTER_RUNS, Settings

_DEVICE = re.compile(r"auto|cpu|cuda:\d{1,3}")
_EPILOG = """\
One worker trains on one device; start one per GPU. It keeps a warm training process, renews a lease on what it
trains, and reports to the job store. SIGTERM or Ctrl-C writes a checkpoint, gives the job back to the queue without
counting an attempt, and exits with status 0 within seconds; a second one ends everything at once.

exit status: 0 stopped as asked, 2 wrong arguments, 3 the device or the store cannot be used
"""


def _device(text: str) -> str:
    if _DEVICE.fullmatch(text) is None:
        raise argparse.ArgumentTypeError(f"is {text!r}; must be auto, cpu or cuda:<number>")
    return text


def _nice(text: str) -> int:
    if not (text.isdecimal() and int(text) <= LEAST_URGENT):
        raise argparse.ArgumentTypeError(f"is {text!r}; must be a whole number from 0 to {LEAST_URGENT}")
    return int(text)


def parse(arguments: list[str] | None = None) -> Settings:
    """The command line and the environment, checked; exits with status 2 and a sentence when they are wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m worker",
        description=__doc__,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--redis-url",
        default=os.environ.get("REDIS_URL"),
        metavar="URL",
        help="redis://host:6379/0, rediss://… or unix:///path.sock (default: $REDIS_URL)",
    )
    parser.add_argument(
        "--data-dir",
        default=os.environ.get("MLPQ_DATA_DIR"),
        metavar="DIR",
        help="where data sets and results lie, shared with the API (default: $MLPQ_DATA_DIR)",
    )
    parser.add_argument(
        "--device",
        type=_device,
        default="auto",
        help="cpu, cuda:N, or auto: the GPU if there is one (default: auto)",
    )
    parser.add_argument(
        "--name", default=socket.gethostname(), help="how logs and the worker list call it (default: the host)"
    )
    parser.add_argument(
        "--recycle-after",
        type=int,
        default=RECYCLE_AFTER_RUNS,
        metavar="N",
        help="runs after which the training process is replaced by a fresh one (default: %(default)s)",
    )
    parser.add_argument(
        "--nice",
        type=_nice,
        default=os.environ.get("MLPQ_NICE") or str(NICE),
        metavar="N",
        help="how far training gives way to other programs: 0, not at all, to 19 (default: $MLPQ_NICE, else 10)",
    )
    given = parser.parse_args(arguments)
    for option in ("redis_url", "data_dir"):
        if not getattr(given, option):
            parser.error(f"--{option.replace('_', '-')} is missing, and so is its environment variable")
    return Settings(
        given.redis_url, Path(given.data_dir), given.device, given.name[:64], given.recycle_after, given.nice
    )


def main() -> int:
    """Run one worker; returns its exit status."""
    settings = parse()
    from worker.start import run  # --help and wrong arguments answer before Redis and RQ are imported

    return run(settings)


if __name__ == "__main__":
    sys.exit(main())
