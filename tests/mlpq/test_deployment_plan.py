"""What a deployment decides before it starts anything."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from redis import Redis

from mlpq.addresses import page_url
from mlpq.embedded import EmbeddedServer
from mlpq.errors import DeploymentError, InvalidArgumentError
from mlpq.up import plan
from mlpq.up.existing_store import require_store


@pytest.mark.parametrize(
    ("device", "workers", "n_gpus", "expected"),
    [
        ("auto", None, 0, ["cpu"]),
        ("auto", None, 2, ["cuda:0", "cuda:1"]),
        ("auto", 3, 2, ["cuda:0", "cuda:1", "cuda:0"]),
        ("cpu", 2, 0, ["cpu", "cpu"]),
        ("cuda:1", None, 2, ["cuda:1"]),
        ("auto", 0, 0, []),
    ],
)
def test_workers_get_their_devices(device: str, workers: int | None, n_gpus: int, expected: list[str]) -> None:
    assert plan.choose_devices(device, workers, n_gpus) == expected


@pytest.mark.parametrize(
    ("device", "workers", "error", "message"),
    [
        ("cuda:1", None, DeploymentError, r"--device is cuda:1; there are 1 CUDA device that"),
        ("gpu", None, InvalidArgumentError, "must be auto, cpu or cuda:0"),
        ("cpu", 1000, InvalidArgumentError, r"must be 0\.\.256"),
        ("cpu", -1, InvalidArgumentError, r"must be 0\.\.256"),
    ],
)
def test_impossible_devices_are_refused(device: str, workers: int | None, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        plan.choose_devices(device, workers, 1)


def test_a_driver_without_a_device_gives_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "_has_nvidia_driver", lambda: True)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert plan.count_gpus() == 0


def test_a_taken_port_is_named_with_a_free_one() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(DeploymentError, match=f"port {port} on 127.0.0.1 is already taken") as caught:
            plan.choose_port("127.0.0.1", port)
    suggested = int(caught.value.hint.rpartition(" ")[2])
    assert plan.choose_port("127.0.0.1", suggested) == suggested


def test_an_address_of_another_machine_is_refused() -> None:
    with pytest.raises(DeploymentError, match="cannot listen on"):
        plan.choose_port("192.0.2.1", 8000)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.org"])
def test_other_machines_are_let_in_with_a_key_only(host: str) -> None:
    with pytest.raises(DeploymentError) as caught:
        plan.require_key(host, {})
    assert "export MLPQ_API_KEY=" in caught.value.hint
    plan.require_key(host, {"MLPQ_API_KEY": "x" * 43})
    with pytest.raises(DeploymentError, match="fewer than 16 characters"):
        plan.require_key(host, {"MLPQ_API_KEY": "x" * 43 + ",short"})


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "[::1]", "localhost"])
def test_loopback_needs_no_key(host: str) -> None:
    plan.require_key(host, {})


def test_workers_never_see_the_key_and_no_command_shows_the_store() -> None:
    options = plan.Options(data_dir=Path("/data"))
    environment = {"MLPQ_API_KEY": "secret", "PATH": "/bin"}
    url = "redis://user:password@store/0"
    api = plan.api_program(options, url, environment)
    workers = plan.worker_programs(options, url, ["cpu", "cpu"], environment)
    assert api.environment["MLPQ_API_KEY"] == "secret"
    for program in (api, *workers):
        assert program.environment["REDIS_URL"] == url
        assert "password" not in " ".join(program.command)
    assert all("MLPQ_API_KEY" not in worker.environment for worker in workers)


@pytest.mark.parametrize(("n_workers", "expected"), [(1, None), (2, "4"), (3, "2"), (20, "1")])
def test_several_workers_share_the_processors(
    n_workers: int, expected: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "processors", lambda: 8)
    options = plan.Options(data_dir=Path("/data"))
    programs = plan.worker_programs(options, "redis://store/0", ["cpu"] * n_workers, {})
    assert {program.environment.get("OPENBLAS_NUM_THREADS") for program in programs} == {expected}
    programs = plan.worker_programs(options, "redis://store/0", ["cpu"] * n_workers, {"OPENBLAS_NUM_THREADS": "7"})
    assert {program.environment["OPENBLAS_NUM_THREADS"] for program in programs} == {"7"}


def test_a_store_that_is_away_is_named_without_its_password() -> None:
    for url in ("redis://user:secret@127.0.0.1:9/0", "unix:///nowhere/valkey.sock"):
        with pytest.raises(DeploymentError) as caught:
            require_store(url)
        assert "secret" not in str(caught.value)
        assert url.rpartition("@")[2] in str(caught.value)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://:secret@127.0.0.1", "must start with redis://, rediss:// or unix://"),
        ("redis://:secret@[::1", "cannot be read; must be like redis://:PASSWORD@HOST:6379/0"),
        ("redis://:secret@127.0.0.1:99999", "cannot be read"),
        ("redis://:secret/@127.0.0.1", "cannot be read"),
    ],
)
def test_what_is_no_address_of_a_store_is_wrong_usage(url: str, words: str) -> None:
    with pytest.raises(InvalidArgumentError, match=words) as caught:
        require_store(url)
    assert "secret" not in str(caught.value)


def test_a_store_that_lets_nobody_in_is_told_before_anything_starts(tmp_path: Path) -> None:
    server = EmbeddedServer(tmp_path)
    server.start()
    try:
        with Redis.from_url(server.url) as client:
            client.config_set("requirepass", "s3c:ret/")
        place = server.url.removeprefix("unix://")
        for url, said in ((server.url, "NOAUTH"), (f"unix://:wrong@{place}", "WRONGPASS")):
            with pytest.raises(DeploymentError, match=said) as caught:
                require_store(url)
            assert "wrong" not in str(caught.value)
        require_store(f"unix://:s3c%3Aret%2F@{place}")
    finally:
        server.kill()


@pytest.mark.parametrize(
    ("host", "url"),
    [("0.0.0.0", "http://127.0.0.1:1"), ("::", "http://[::1]:1"), ("::1", "http://[::1]:1"), ("box", "http://box:1")],
)
def test_the_page_has_an_address_that_opens_here(host: str, url: str) -> None:
    assert page_url(host, 1) == url
