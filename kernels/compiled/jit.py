"""How functions are compiled: typed decorators, the floating-point freedoms given away, the cache on disk.

No function may assume that NaN or infinity do not occur: divergence must stay visible. `exact` functions are
computed as written but for fused multiply-adds; `loose` ones may also reorder sums, so that reductions vectorise.
What a function computes still depends on its arguments alone: every call runs the same machine code.

What is generated is written to a file in the cache's folder, named by a digest of its text: numba keeps compiled code
beside a file's time and size.

Numba notices a change of the file that a compiled function is in, not of the files of the functions that it calls;
the cache therefore lies in a folder named by a digest of all of this package's sources.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import os
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, ParamSpec, TypeVar

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

P = ParamSpec("P")
R = TypeVar("R")

EXACT: Final = frozenset({"contract"})
LOOSE: Final = frozenset({"contract", "reassoc", "nsz", "arcp"})

CACHE_VARIABLE: Final = "MLPQ_COMPILED_DIR"
"""Where compiled code is kept between processes; default: beside the sources, or the user's cache folder."""


def _digest() -> str:
    sources = sorted(Path(__file__).parent.glob("*.py"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:16]


def _cache_folder() -> Path:
    """The first of the candidates that can be written, private to the user: code is loaded from it."""
    user = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    named = os.environ.get(CACHE_VARIABLE)
    candidates = [Path(named)] if named else [Path(__file__).parent / "__pycache__", user / "mlpq"]
    for base in candidates:
        folder = base / f"compiled-{_digest()}"
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                return folder
        except OSError:
            continue
    return Path(tempfile.mkdtemp(prefix="mlpq-compiled-"))  # nothing outlives this process


CACHE_FOLDER: Final = _cache_folder()
setattr(numba.config, "CACHE_DIR", str(CACHE_FOLDER))  # noqa: B010 - made by numba when it is imported


def exact(function: Callable[P, R]) -> Callable[P, R]:
    """Compile without the interpreter's lock; arithmetic as written, multiply-adds may be fused."""
    return _compiled(function, EXACT)


def loose(function: Callable[P, R]) -> Callable[P, R]:
    """Compile without the interpreter's lock; sums may be reordered, so that they vectorise."""
    return _compiled(function, LOOSE)


def inlined(function: Callable[P, R]) -> Callable[P, R]:
    """A part of the functions that call it, compiled as they are, never by itself: for long functions called once."""
    made: Callable[P, R] = numba.njit(inline="always")(function)
    return made


def _compiled(function: Callable[P, R], freedoms: frozenset[str]) -> Callable[P, R]:
    made: Callable[P, R] = numba.njit(nogil=True, cache=True, error_model="numpy", fastmath=set(freedoms))(function)
    return made


def machine_function(arguments: Sequence[Any], function: Callable[..., None]) -> int:
    """Compile as `exact` to a C function; its address, which code that numba compiles can call but not contain.

    Arguments are numbers of numba's types, or for `pointer_to` arrays of any length.
    """
    compile_it: Callable[..., Any] = numba.cfunc
    signature = types.void(*arguments)
    made = compile_it(signature, nopython=True, cache=True, error_model="numpy", fastmath=set(EXACT))(function)
    return int(made.address)


def written(name: str, text: str) -> Callable[..., None]:
    """The function `name` of a generated module; the module's file is written once and then stays as it is."""
    path = CACHE_FOLDER / f"{name}_{hashlib.sha256(text.encode()).hexdigest()[:16]}.py"
    if not path.exists():
        with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=CACHE_FOLDER, delete=False) as file:
            file.write(text)
        os.utime(file.name, (0, 0))  # numba compares the time, which copies do not always keep in full
        Path(file.name).replace(path)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module  # numba looks it up by name when it loads what it compiled
    spec.loader.exec_module(module)
    made: Callable[..., None] = getattr(module, name)
    return made


@contextmanager
def alone() -> Iterator[None]:
    """One process compiles at a time: two that save one function at once can spoil numba's cache for good.

    A thread may enter again what it is in already.
    """
    with _ALONE:
        if _HELD:
            yield
            return
        with (CACHE_FOLDER / "lock").open("a") as lock:  # appending leaves the file as it was
            fcntl.flock(lock, fcntl.LOCK_EX)
            _HELD.append(True)
            try:
                yield
            finally:
                _HELD.clear()


_ALONE: Final = threading.RLock()
_HELD: Final[list[bool]] = []


def pointer_to(dtype: np.dtype[Any]) -> Any:
    """The type of an argument of a machine function that is an array: its first number's address."""
    made: Callable[[Any], Any] = types.CPointer
    return made(numba.from_dtype(dtype))


def call_address(context: Any, builder: Any, signature: Any, given: Any) -> Any:
    """The instructions that call the machine function at the first argument: arrays go by their first number."""
    arguments = []
    for kind, value in zip(signature.args[1:], given[1:], strict=True):
        is_array = isinstance(kind, types.Array)
        arguments.append(context.make_array(kind)(context, builder, value).data if is_array else value)
    kind = ir.FunctionType(ir.VoidType(), [argument.type for argument in arguments])
    builder.call(builder.inttoptr(given[0], kind.as_pointer()), arguments)
    return context.get_dummy_value()


def emitted(function: Callable[..., Any]) -> Callable[..., Any]:
    """Inside compiled code the decorated function is the instructions that it writes: numba's `intrinsic`."""
    made: Callable[..., Any] = intrinsic(function)
    return made


@emitted
def lent(_typing: Any, array: Any) -> Any:
    """The same array, which the caller of all compiled code keeps: references to it and its slices are not counted.

    Counting is an indivisible operation of the processor, for every slice and every function that is given one.
    """

    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        made = context.make_array(signature.args[0])(context, builder, given[0])
        made.meminfo = ir.Constant(made.meminfo.type, None)
        made.parent = ir.Constant(made.parent.type, None)
        return made._getvalue()

    return array(array), generate
