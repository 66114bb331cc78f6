"""What went wrong, as a stable code and a sentence for the person whose job it was."""

from __future__ import annotations

from dataclasses import dataclass

from kernels.errors import DiskFull, InvalidInput, MlpqError, OutOfMemory

_HINT = "a smaller batch_size, fewer or narrower hidden layers, or precision float32 need less"


@dataclass(frozen=True)
class Failure:
    """`code`, `message` and `param` of the job's `error`; `recycle` asks for a fresh training process afterwards."""

    code: str
    message: str
    recycle: bool = False
    param: str | None = None
    """Pointer to the field of the job that is to blame, if one is."""

    def as_error(self) -> dict[str, str]:
        """The job's `error` object."""
        named = {} if self.param is None else {"param": self.param}
        return {"code": self.code, "message": self.message, **named}


def classify(error: BaseException, device: str) -> Failure:
    """The failure that `error` means to the owner of the job, when it ended a run on `device` ("cpu", "cuda:0").

    Anything unforeseen is `internal`: the message names the class alone, since its text may hold paths and data;
    the log has the rest.
    """
    on_gpu = device.startswith("cuda")
    name = type(error).__name__
    if isinstance(error, OutOfMemory | MemoryError) or name == "OutOfMemoryError":
        code, place = ("gpu_oom", "the GPU") if on_gpu else ("out_of_memory", "this machine")
        if isinstance(error, OutOfMemory):  # foreseen: nothing was allocated
            return Failure(code, f"{error} on {place}; {_HINT}")
        return Failure(code, f"{place} ran out of memory in this run; {_HINT}", recycle=True)
    if isinstance(error, DiskFull):
        return Failure("disk_full", "no space is left on the data volume; nothing was published")
    if isinstance(error, InvalidInput):
        return Failure(error.code, str(error), param=error.errors[0].pointer if error.errors else None)
    if isinstance(error, MlpqError):
        return Failure(error.code, str(error))
    if _is_cuda_error(error):
        return Failure("gpu_error", f"the GPU reported {name}; the training process was replaced", recycle=True)
    return Failure("internal", f"an unexpected {name} ended the run; the worker's log has the details", recycle=on_gpu)


def _is_cuda_error(error: BaseException) -> bool:
    module = type(error).__module__.partition(".")[0]
    return module in {"cupy", "cupy_backends", "cuda"}
