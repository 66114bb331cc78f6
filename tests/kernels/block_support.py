"""Persistent programs built for the host and run on NumPy arrays: a backend whose compiler is the host's.

Everything above the launch is the real thing: the generated source, the engine, the trainer.
"""

from __future__ import annotations

import ctypes
import hashlib
import re
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from kernels.numpy_backend import NumpyBackend
from kernels.persistent import SHARED_BYTES
from kernels.persistent_source import SYMBOL
from tests.kernels.host_compiler import CHECKED_BOUNDS, FLOAT_ALONE, LIBRARY, compile_for_host

Array = np.ndarray[Any, Any]

SHIM = Path(__file__).with_name("block_shim.hpp")
RUNTIME = SHIM.with_suffix(".cpp")
FLOAT = "typedef float real;"
ORDERS = (0, 1, 2, 3)
"""Thread orders: ascending, descending, two seeds of shuffles."""
_DRIVER = """
static void call(void** a) {{ {symbol}({arguments}); }}
extern "C" int {launch}(
    unsigned blocks, unsigned threads, unsigned long shared, unsigned order, int late, void** arguments) {{
  return shim::run(blocks, threads, shared, order, late, call, arguments);
}}
"""
_SIGNATURE = re.compile(r'extern "C" __global__ void (?:__launch_bounds__\(.*?\) )?(\w+)\(([^)]*)\)', re.S)
_MAIN = """
int main(int, char** words) {{ return shim::run_guarded(words[1], *words[2] == 'e', {count}, call); }}
"""


_DEFINED = re.compile(r"^#define (\w+)", re.M)
_TYPEDEF = re.compile(r"typedef ((?:unsigned )?\w+(?: long)?) (\w+);")
_DTYPES = {
    "int": "int32",
    "long long": "int64",
    "unsigned long long": "uint64",
    "unsigned short": "uint16",
    "float": "float32",
    "double": "float64",
}


class BarriersDiffer(AssertionError):
    """Some threads waited at a barrier that others never reached."""


def build(source: str, output: Path, *, guarded: bool = False) -> Path:
    """Compile a program behind the shim; double arithmetic in float code is an error.

    The result is a library, or with `guarded` a program of its own in which a step beyond an array is found.
    """
    kind = ("-O1", *CHECKED_BOUNDS) if guarded else LIBRARY
    return _compile(f"{source}{_driver(source, guarded=guarded)}", output, kind)


def _compile(text: str, output: Path, kind: Sequence[str]) -> Path:
    code = output.with_suffix(".cpp")
    code.write_text(f'#include "{SHIM}"\n{text}')
    strict = FLOAT_ALONE if FLOAT in text else ()
    compile_for_host(*kind, "-Wno-unused-function", *strict, "-o", str(output), str(code), str(_runtime()))
    return output


def _driver(source: str, launch: str = "launch", *, guarded: bool = False) -> str:
    """C that calls the program's one kernel with the addresses of its arguments."""
    ((symbol, parameters),) = _SIGNATURE.findall(source)
    types = [one.strip().rpartition(" ")[0] for one in parameters.split(",")]
    casts = [f"({kind})a[{k}]" if "*" in kind else f"*({kind}*)a[{k}]" for k, kind in enumerate(types)]
    main = _MAIN.format(count=len(types)) if guarded else ""
    return _DRIVER.format(symbol=symbol, launch=launch, arguments=", ".join(casts)) + main


def argument_dtypes(source: str) -> list[str | None]:
    """What a kernel takes, by NumPy's names; None for structures. A device is given bytes and asks nothing."""
    ((_, parameters),) = _SIGNATURE.findall(source)
    named = {name: kind for kind, name in _TYPEDEF.findall(source)}
    found = []
    for one in parameters.split(","):
        kind = one.strip().rpartition(" ")[0].removeprefix("const ").rstrip("*")
        while kind in named:
            kind = named[kind]
        found.append(_DTYPES.get(kind))
    return found


@lru_cache(maxsize=1)
def _runtime() -> Path:
    """The fibers, built once per test run."""
    path = Path(_FOLDER.name) / "runtime.o"
    compile_for_host("-O2", "-c", "-fPIC", "-o", str(path), str(RUNTIME))
    return path


class HostCompiler:
    """`kernels.backend.Compiler` on the host; every launch runs in the given thread order."""

    def __init__(self, order: int = 0, *, late_copies: bool = True, shared_bytes: int = SHARED_BYTES["90"]) -> None:
        self.order, self.late_copies, self.shared_bytes = order, late_copies, shared_bytes
        self.launches: list[tuple[str, int, int, int, list[Array]]] = []
        """(source, blocks, threads, shared bytes, arguments as they were) of every launch of a persistent program."""
        self.edit = lambda source: source

    def prepare(self, sources: Iterable[str]) -> None:
        """Build together what `compile` will be asked for: of each by itself the compiler's start is the most."""
        missing = sorted({self.edit(source) for source in sources} - _LAUNCHES.keys())
        for strict in (True, False):
            _build_all([one for one in missing if (FLOAT in one) == strict])

    def compile(self, source: str, symbol: str, shared_bytes: int) -> Any:
        assert f"void {symbol}(" in source or f") {symbol}(" in source
        assert shared_bytes <= self.shared_bytes
        source = self.edit(source)
        run, dtypes = _launch(source), argument_dtypes(source)

        def launch(blocks: int, threads: int, arguments: Sequence[Any]) -> None:
            arrays = [np.asarray(one) for one in arguments]
            for array, dtype in zip(arrays, dtypes, strict=True):
                assert dtype in (None, array.dtype.name), (symbol, dtypes, [one.dtype.name for one in arrays])
            if symbol == SYMBOL:
                assert f"THREADS = {threads};" in source
                assert all(array.flags.c_contiguous for array in arrays)
                self.launches.append((source, blocks, threads, shared_bytes, [array.copy() for array in arrays]))
            addresses = (ctypes.c_void_p * len(arrays))(*(array.ctypes.data for array in arrays))
            result = run(
                ctypes.c_uint(blocks),
                ctypes.c_uint(threads),
                ctypes.c_ulong(shared_bytes),
                ctypes.c_uint(self.order),
                ctypes.c_int(self.late_copies),
                addresses,
            )
            if result:
                raise BarriersDiffer(f"order {self.order}")

        return launch


class BlockBackend(NumpyBackend):
    """NumPy arrays, and programs for a device with one block of fibers at a time."""

    def __init__(self, compiler: HostCompiler | None = None) -> None:
        super().__init__()
        self.compiler = compiler or HostCompiler()  # type: ignore[misc]


_FOLDER = tempfile.TemporaryDirectory(prefix="mlpq-blocks-")
_LAUNCHES: dict[str, Any] = {}
"""What launches each program that was built in this run, by its source."""


def _launch(source: str) -> Any:
    if source not in _LAUNCHES:
        _build_all([source])
    return _LAUNCHES[source]


def _build_all(sources: Sequence[str]) -> None:
    """One library of all, each with its own names."""
    if not sources:
        return
    keys = [hashlib.sha256(source.encode()).hexdigest()[:16] for source in sources]
    path = Path(_FOLDER.name) / f"{len(_LAUNCHES)}.so"
    library = ctypes.CDLL(str(_compile("".join(map(_part, keys, sources)), path, LIBRARY)))
    _LAUNCHES.update({source: library[f"launch_{key}"] for key, source in zip(keys, sources, strict=True)})


def _part(key: str, source: str) -> str:
    inside = source.replace('extern "C" __global__', "__global__") + _driver(source, f"launch_{key}")
    forget = "".join(f"#undef {name}\n" for name in dict.fromkeys(_DEFINED.findall(source)))
    return f"namespace part_{key} {{\n{inside}\n}}\n{forget}"


def guarded_run(
    folder: Path, source: str, blocks: int, threads: int, shared: int, arguments: Iterable[Array]
) -> list[tuple[int, str]]:
    """Run one launch in a program of its own, every array between stretches of memory that nobody may touch.

    Returns exit status and words of two runs: with the arrays close to the second stretch, and to the first.
    """
    program = build(source, folder / "guarded", guarded=True)
    blob = np.array([blocks, threads, shared], np.int64).tobytes()
    for one in arguments:
        array = np.ascontiguousarray(one)
        blob += np.int64(array.nbytes).tobytes() + array.tobytes()
    (folder / "arguments").write_bytes(blob)
    runs = [
        subprocess.run([program, folder / "arguments", side], capture_output=True, text=True, check=False)
        for side in ("end", "start")
    ]
    return [(one.returncode, one.stderr) for one in runs]
