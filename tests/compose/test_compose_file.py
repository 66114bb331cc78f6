"""What docker-compose.yml says: read by Docker Compose's own parser, and held against what is promised of it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.compose.stack import COMPOSE_FILE, ROOT, SERVICES, Podman, run

pytestmark = [pytest.mark.compose, pytest.mark.timeout(500)]

_PIN = re.compile(r"^([a-z0-9._-]+)==(\S+)", re.MULTILINE)


def _resolved(*options: str, **settings: str) -> dict[str, Any]:
    """The file as Docker Compose understands it, with these settings in its environment."""
    environment = {"PATH": os.environ["PATH"], **settings}
    shown = run(["docker-compose", "-f", str(COMPOSE_FILE), *options, "config"], environment)
    document: dict[str, Any] = yaml.safe_load(shown)
    return document


@pytest.fixture(scope="module")
def services(podman: Podman) -> dict[str, Any]:
    """The services of the file, the GPU's among them."""
    found: dict[str, Any] = _resolved("--profile", "gpu")["services"]
    return found


def test_the_gpu_worker_starts_only_with_its_profile(services: dict[str, Any]) -> None:
    profiles = {name: service.get("profiles", []) for name, service in services.items()}
    assert profiles == {**{name: [] for name in SERVICES}, "worker-gpu": ["gpu"]}


def test_every_service_is_confined(services: dict[str, Any]) -> None:
    for name, service in services.items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["init"] is True, name
        assert service["mem_limit"], name
        assert service["pids_limit"] > 0, name
        assert service["logging"]["options"]["max-size"], name
        assert service["restart"] == "unless-stopped", name
        assert service["healthcheck"]["test"][:2] == ["CMD", "mlpq-health"], name
        assert not {"privileged", "cap_add", "devices", "network_mode", "pid", "ipc", "user"} & set(service), name
        assert all(volume.split(":")[0] in ("mlpq-data", "redis-data") for volume in service["volumes"]), name


def test_only_the_api_is_published_and_only_on_loopback(services: dict[str, Any]) -> None:
    ports = {name: service.get("ports", []) for name, service in services.items()}
    assert ports == {"redis": [], "api": ["127.0.0.1:8000:8000/tcp"], "worker": [], "worker-gpu": []}
    assert _resolved(MLPQ_PORT="9123")["services"]["api"]["ports"] == ["127.0.0.1:9123:8000/tcp"]


def test_the_store_is_on_an_internal_network() -> None:
    document = _resolved("--profile", "gpu")
    assert document["networks"]["store"]["internal"] is True
    networks = {name: set(service["networks"]) for name, service in document["services"].items()}
    assert networks == {"redis": {"store"}, "api": {"store", "web"}, "worker": {"store"}, "worker-gpu": {"store"}}


def test_the_store_keeps_what_it_acknowledged(services: dict[str, Any]) -> None:
    command = services["redis"]["command"]
    given = dict(zip(command[1::2], command[2::2], strict=True))
    assert given["--appendonly"] == "yes"
    assert given["--appendfsync"] == "everysec"
    assert given["--maxmemory-policy"] == "noeviction"
    assert services["redis"]["volumes"] == ["redis-data:/var/lib/valkey:rw"]


def test_api_and_workers_share_the_data_and_wait_for_the_store(services: dict[str, Any]) -> None:
    for name in ("api", "worker", "worker-gpu"):
        assert services[name]["volumes"] == ["mlpq-data:/var/lib/mlpq:rw"]
        assert services[name]["depends_on"] == {"redis": {"condition": "service_healthy"}}
        assert services[name]["environment"]["REDIS_URL"] == "redis://redis:6379/0"


def test_the_stop_leaves_time_for_a_checkpoint(services: dict[str, Any]) -> None:
    from worker.settings import GIVE_BACK_S

    for name in ("worker", "worker-gpu"):
        grace = services[name]["stop_grace_period"]
        minutes, seconds = re.fullmatch(r"(?:(\d+)m)?(?:(\d+)s)?", grace).groups()  # type: ignore[union-attr]
        assert 60 * int(minutes or 0) + int(seconds or 0) > 2 * GIVE_BACK_S, grace


def test_a_key_is_handed_through_only_if_there_is_one() -> None:
    assert _resolved()["services"]["api"]["environment"]["MLPQ_API_KEY"] is None
    given = _resolved(MLPQ_API_KEY="a-key-for-the-test")["services"]["api"]["environment"]
    assert given["MLPQ_API_KEY"] == "a-key-for-the-test"


def test_the_gpu_worker_reserves_an_nvidia_device(services: dict[str, Any]) -> None:
    worker = services["worker-gpu"]
    reserved = worker["deploy"]["resources"]["reservations"]["devices"]
    assert reserved == [{"driver": "nvidia", "device_ids": ["0"], "capabilities": ["gpu"]}]
    assert worker["command"][-2:] == ["--device", "cuda:0"]
    assert worker["build"]["args"]["EXTRA"] == "gpu"
    assert worker["image"] != services["worker"]["image"]


def test_the_gpu_lock_is_the_server_lock_with_cuda_added() -> None:
    server = dict(_PIN.findall((ROOT / "requirements/server.txt").read_text()))
    gpu = dict(_PIN.findall((ROOT / "requirements/gpu.txt").read_text()))
    assert server.items() <= gpu.items()
    added = gpu.keys() - server.keys()
    assert {"cupy-cuda12x", "nvidia-cublas-cu12", "nvidia-cuda-nvrtc-cu12", "nvidia-cuda-runtime-cu12"} <= added


def test_the_gpu_lock_resolves_with_the_hashes_of_the_index(tmp_path: Path) -> None:
    locked = ROOT / "requirements/gpu.txt"
    fresh = tmp_path / "gpu.txt"
    shutil.copy(locked, fresh)
    makefile = (ROOT / "Makefile").read_text()
    command = next(line for line in makefile.splitlines() if line.endswith("-o requirements/gpu.txt")).split()
    command[0], command[-1] = str(Path(sys.executable).with_name("uv")), str(fresh)
    subprocess.run(command, cwd=ROOT, check=True, timeout=120)
    assert _PIN.findall(fresh.read_text()) == _PIN.findall(locked.read_text())
    assert set(re.findall(r"sha256:\w+", locked.read_text())) <= set(re.findall(r"sha256:\w+", fresh.read_text()))
