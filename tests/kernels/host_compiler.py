"""The host's C++ compiler, with which the tests build CUDA kernels: one on the path, else that of the wheel `ziglang`.

Sources are built without the C++ library, which only some machines have and which takes zig a minute to build: they
see C's headers, and say what else they need themselves.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

ON_THE_PATH = ("g++", "c++", "clang++")
_WARNINGS = ("-Wall", "-Werror", "-Wno-unknown-pragmas")
_FLAGS = ("-std=c++17", "-nostdinc++", "-fno-exceptions", "-ffp-contract=off", *_WARNINGS)
_ZIG_FLAGS = ("-nostdlib++", "-mcpu=baseline", "-fno-sanitize=undefined")
"""What the others do by themselves: code for any machine of this kind, and no checks of their own."""
FLOAT_ALONE = ("-Werror=double-promotion", "-Werror=float-conversion")
"""Refuses double arithmetic in code for float32."""
LIBRARY = ("-O0", "-shared", "-fPIC", "-nodefaultlibs")
"""A library that finds C's functions in the process that loads it: to link them takes longer than to compile. What it
computes is little, and to make that quicker takes longer than it does."""
CHECKED_BOUNDS = ("-fsanitize=bounds", "-fsanitize-undefined-trap-on-error")
"""Steps beyond an array of known size end the program."""


def find() -> tuple[str, ...] | None:
    """The command of a C++ compiler, or None."""
    for name in ON_THE_PATH:
        if found := shutil.which(name):
            return (found,)
    if find_spec("ziglang") is not None:
        return (sys.executable, "-m", "ziglang", "c++")
    return None


def compile_for_host(*arguments: str) -> None:
    """Run the compiler; a warning is an error. Raises RuntimeError with what it said."""
    command = find()
    if command is None:
        raise RuntimeError(
            f"no C++ compiler: neither one of {', '.join(ON_THE_PATH)} nor the wheel ziglang is installed"
        )
    zig = _ZIG_FLAGS if "ziglang" in command else ()
    built = subprocess.run(
        [*command, *_FLAGS, *zig, *arguments], capture_output=True, text=True, check=False, env=_environment()
    )
    if built.returncode:
        raise RuntimeError(f"{' '.join(command)} refused the program:\n{built.stderr[:4000]}")


def _environment() -> Mapping[str, str]:
    """Where zig keeps its own libraries for the next run, and where it drops what it makes of our sources."""
    user = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    kept = user / "mlpq" / "zig"
    try:
        kept.mkdir(parents=True, exist_ok=True)
    except OSError:
        kept = Path(_scratch().name) / "kept"
    return {**os.environ, "ZIG_GLOBAL_CACHE_DIR": str(kept), "ZIG_LOCAL_CACHE_DIR": _scratch().name}


@lru_cache(maxsize=1)
def _scratch() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="mlpq-zig-")
