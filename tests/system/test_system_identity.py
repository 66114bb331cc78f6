"""Two deployments on one Redis database: the second one refuses to start, and nobody takes what is another's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from store.identity import Ownership, identity_of
from store.transitions import Status
from tests.processes import Processes, Service, wait_until
from tests.site import QUICK, Site


def readiness(service: Service) -> tuple[int, dict[str, Any]]:
    try:
        with urllib.request.urlopen(f"{service.url}/readyz", timeout=5) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as refusal:
        return refusal.code, json.load(refusal)


def test_api_and_worker_refuse_a_database_of_another_directory_and_touch_nothing(site: Site, tmp_path: Path) -> None:
    Ownership(site.store.redis, site.data_dir).check()
    job = site.submit(QUICK)
    other = tmp_path / "other"
    with Processes(tmp_path, site.server.url, other) as strangers:
        worker, service = strangers.worker(), strangers.service()
        assert worker.popen.wait(30) == 3
        assert service.popen.wait(30) == 2
    for said in (worker.log, service.log):
        (line,) = [line for line in said.splitlines() if "serves the data directory" in line]
        assert all(word in line for word in (str(site.data_dir), str(other), identity_of(other), "--redis-url"))
    assert site.store.get(job).status is Status.QUEUED
    site.processes.worker()
    assert site.wait(job).status is Status.SUCCEEDED


def test_after_a_loss_those_who_run_adopt_the_database_before_others_can(own_site: Site, tmp_path: Path) -> None:
    service, worker = own_site.processes.service().ready(), own_site.processes.worker().ready()
    own_site.store.redis.flushall()
    wait_until(lambda: own_site.store.redis.exists("mlpq:data_dir"), 5, "the database is adopted")
    with Processes(tmp_path, own_site.server.url, tmp_path / "other") as strangers:
        assert strangers.service().popen.wait(30) == 2
    assert readiness(service)[0] == 200
    assert own_site.wait(own_site.submit(QUICK)).status is Status.SUCCEEDED
    assert worker.popen.poll() is None


def test_whoever_finds_the_database_with_another_lets_go_of_it(own_site: Site, tmp_path: Path) -> None:
    service, worker = own_site.processes.service().ready(), own_site.processes.worker().ready()
    redis = own_site.store.redis
    with redis.pipeline(transaction=True) as pipe:
        pipe.flushall()
        pipe.set("mlpq:data_dir", json.dumps({"id": "dir_other", "directory": "/other", "host": "elsewhere"}))
        pipe.execute()
    assert worker.popen.wait(20) == 3
    assert "/other" in worker.log
    status, problem = readiness(service)
    assert (status, problem["code"]) == (503, "foreign_store")
    assert "/other of elsewhere (dir_other)" in problem["detail"]
    redis.delete("mlpq:data_dir")
    wait_until(lambda: readiness(service)[0] == 200, 10, "the database is nobody's and so ours again")


def test_mlpq_up_refuses_it_before_it_starts_anything(own_site: Site, tmp_path: Path) -> None:
    Ownership(own_site.store.redis, tmp_path / "a").check()
    command = [sys.executable, "-m", "mlpq", "up", "--port", "0", "--data-dir", str(tmp_path / "b")]
    environment = os.environ | {"REDIS_URL": own_site.server.url}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 6
    said = " ".join(done.stderr.split())
    assert str(tmp_path / "a") in said
    assert "another database number in --redis-url" in said
    assert not list((tmp_path / "b").glob("logs/*"))
