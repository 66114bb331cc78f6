"""What a deployment consists of on this machine: where it listens, which devices train, which programs run."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mlpq.addresses import is_loopback
from mlpq.errors import DeploymentError, InvalidArgumentError
from mlpq.up.program import Program

DEFAULT_DATA_DIR = Path("mlpq-data")

API_GRACE_S = 8.0
WORKER_GRACE_S = 25.0
VALKEY_GRACE_S = 10.0
"""Seconds between SIGTERM and SIGKILL; a worker writes a checkpoint and gives its job back meanwhile."""

MIN_KEY_CHARACTERS = 16

STAGE_WORKER, STAGE_API, STAGE_VALKEY = 0, 1, 2

_MAKE_A_KEY = 'export MLPQ_API_KEY=$(python3 -c "import secrets; print(secrets.token_urlsafe(32))")'
_SERVER_MODULES = ("service.app", "worker.start", "store.jobs", "nets.spec", "kernels.operations")
"""One module of each room: the bare names also belong to folders and packages of other people."""

_SERVER_PACKAGES = ("fastapi", "uvicorn", "redis", "rq")


@dataclass(frozen=True)
class Options:
    """What `mlpq up` was asked for. `port` 0 takes a free one; `workers` None means one per device."""

    host: str = "127.0.0.1"
    port: int = 8000
    data_dir: Path = DEFAULT_DATA_DIR
    redis_url: str | None = None
    workers: int | None = None
    device: str = "auto"


def require_server() -> None:
    """Refuse to go on where the server part is not installed.

    Raises:
        DeploymentError: naming every missing module.
    """
    missing = [name.partition(".")[0] for name in (*_SERVER_MODULES, *_SERVER_PACKAGES) if not _is_installed(name)]
    if missing:
        raise DeploymentError(
            f"the server is not installed here: missing {', '.join(missing)}",
            "the package alone is the client; clone the repository and `pip install -e '.[server]'` there, "
            "or point MLPQ_URL at a running service",
        )


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def require_key(host: str, environment: Mapping[str, str]) -> None:
    """Refuse to listen beyond this machine without an API key, or with one that can be guessed.

    Raises:
        DeploymentError: with the command that makes one.
    """
    if is_loopback(host) or environment.get("MLPQ_ALLOW_NO_KEY") == "1":
        return
    keys = [key.strip() for key in environment.get("MLPQ_API_KEY", "").split(",") if key.strip()]
    if keys and min(map(len, keys)) < MIN_KEY_CHARACTERS:
        what = f"--host {host} lets other machines in, and a key in MLPQ_API_KEY has"
        raise DeploymentError(f"{what} fewer than {MIN_KEY_CHARACTERS} characters", f"make one: {_MAKE_A_KEY}")
    if keys:
        return
    raise DeploymentError(f"--host {host} lets other machines in, and no API key is set", f"make one: {_MAKE_A_KEY}")


def choose_port(host: str, port: int) -> int:
    """`port` if it is free on `host`, or any free one for 0.

    Raises:
        DeploymentError: it is taken, or the host is no address of this machine.
    """
    try:
        return _bind_once(host, port)
    except PermissionError:
        raise DeploymentError(f"port {port} needs more rights than yours", "choose one above 1023") from None
    except socket.gaierror:
        raise DeploymentError(f"--host {host} is no known address", "use 127.0.0.1, 0.0.0.0 or ::1") from None
    except OSError as error:
        if error.errno not in (48, 98):  # EADDRINUSE on macOS and Linux
            raise DeploymentError(f"cannot listen on {host} port {port}: {error.strerror}") from None
    free = _bind_once(host, 0)
    raise DeploymentError(
        f"port {port} on {host} is already taken by another program", f"stop it, or choose another port: --port {free}"
    )


def _bind_once(host: str, port: int) -> int:
    family, kind, protocol, _, address = socket.getaddrinfo(
        host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    with socket.socket(family, kind, protocol) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(address)
        return int(probe.getsockname()[1])


def count_gpus() -> int:
    """How many CUDA devices the workers could use; asked in a short process, so this one never touches CUDA."""
    if importlib.util.find_spec("cupy") is None or not _has_nvidia_driver():
        return 0
    code = "import cupy; print(cupy.cuda.runtime.getDeviceCount())"
    try:
        asked = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
        return int(asked.stdout.strip() or 0)
    except (subprocess.SubprocessError, ValueError):
        return 0


def _has_nvidia_driver() -> bool:
    return (
        any(Path(place).exists() for place in ("/dev/nvidiactl", "/dev/dxg")) or shutil.which("nvidia-smi") is not None
    )


def choose_devices(device: str, workers: int | None, n_gpus: int) -> list[str]:
    """The device of each worker: one per GPU, else one on the CPU; more workers share the devices in turn.

    Raises:
        InvalidArgumentError: that is no name of a device, or the number of workers is out of range.
        DeploymentError: the device does not exist here.
    """
    if not re.fullmatch(r"auto|cpu|cuda:\d+", device):
        raise InvalidArgumentError(f"--device is {device!r}; must be auto, cpu or cuda:0, cuda:1, …")
    if workers is not None and not 0 <= workers <= 256:
        raise InvalidArgumentError(f"--workers is {workers}; must be 0..256")
    if device.startswith("cuda") and int(device.partition(":")[2]) >= n_gpus:
        found = f"{n_gpus} CUDA device{'s' * (n_gpus != 1)} that can be used here"
        hint = "drop --device, or install a GPU extra: pip install 'mlpq[gpu]' (CUDA 12) or 'mlpq[gpu13]' (CUDA 13)"
        raise DeploymentError(f"--device is {device}; there are {found}", hint)
    devices = [device] if device != "auto" else [f"cuda:{index}" for index in range(n_gpus)] or ["cpu"]
    count = len(devices) if workers is None else workers
    return [devices[index % len(devices)] for index in range(count)]


def api_program(options: Options, redis_url: str, environment: Mapping[str, str]) -> Program:
    """The HTTP service."""
    command = [sys.executable, "-m", "service", "--host", options.host, "--port", str(options.port)]
    return Program(
        name="api",
        command=command,
        environment=_child_environment(environment, redis_url, options.data_dir),
        log=log_folder(options.data_dir) / "api.log",
        stage=STAGE_API,
        grace_s=API_GRACE_S,
    )


def worker_programs(
    options: Options, redis_url: str, devices: Sequence[str], environment: Mapping[str, str]
) -> list[Program]:
    """The workers, one program per entry of `devices`; they never see the API key, and share the processors."""
    without_key = {name: value for name, value in environment.items() if name != "MLPQ_API_KEY"}
    without_key = _blas_share(len(devices), processors()) | without_key
    return [
        Program(
            name=f"worker-{index}",
            command=[sys.executable, "-m", "worker", *("--device", device, "--name", f"worker-{index}")],
            environment=_child_environment(without_key, redis_url, options.data_dir),
            log=log_folder(options.data_dir) / f"worker-{index}.log",
            stage=STAGE_WORKER,
            grace_s=WORKER_GRACE_S,
        )
        for index, device in enumerate(devices)
    ]


def processors() -> int:
    """How many processors this process, and so its children, may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _blas_share(n_workers: int, n_processors: int) -> dict[str, str]:
    """Several workers split the processors between their BLAS threads; a single one takes what it finds."""
    return {} if n_workers < 2 else {"OPENBLAS_NUM_THREADS": str(max(1, n_processors // n_workers))}


def valkey_program(command: Sequence[str], data_dir: Path, environment: Mapping[str, str]) -> Program:
    """The embedded server."""
    log = log_folder(data_dir) / "valkey.log"
    return Program("valkey", command, environment, log, STAGE_VALKEY, VALKEY_GRACE_S)


def log_folder(data_dir: Path) -> Path:
    """Where the logs of a deployment are."""
    return data_dir / "logs"


def _child_environment(environment: Mapping[str, str], redis_url: str, data_dir: Path) -> dict[str, str]:
    """The store's address travels in the environment, as it may hold a password that `ps` would show."""
    return {**environment, "REDIS_URL": redis_url, "MLPQ_DATA_DIR": os.fspath(data_dir), "PYTHONUNBUFFERED": "1"}
