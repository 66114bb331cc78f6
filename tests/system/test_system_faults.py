"""Every part is killed while jobs run through HTTP: what was accepted ends once, as if nothing had happened."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

import pytest

from mlpq import Client
from store.transitions import Status
from tests.history import History, assert_same_run
from tests.processes import wait_until
from tests.site import STEADY, Site


@pytest.mark.parametrize("seed", [1, 2])
def test_killing_everything_loses_and_doubles_nothing(
    seed: int, own_site: Site, reference: tuple[History, Path]
) -> None:
    chance = random.Random(seed)
    site = own_site
    service, worker = site.processes.service(), site.processes.worker()
    port = int(service.ready().url.rpartition(":")[2])
    worker.ready()
    victims = ["trainer", "api", "server", "worker"]
    chance.shuffle(victims)
    with Client(service.url, patience_s=60) as client:
        for victim in victims:
            site.accepted.append(client.submit({"dataset": "digits", **STEADY}).id)
            time.sleep(chance.uniform(0.0, 0.8))
            if victim == "trainer":
                os.kill(worker.ready().trainer_pid(), signal.SIGKILL)
            elif victim == "api":
                service.kill()
                service = site.processes.service(port=port)
            elif victim == "server":
                site.server.kill()
                time.sleep(chance.uniform(0.0, 1.0))
                site.server.start()
            else:
                worker.kill()
                worker = site.processes.worker()
        for job_id in site.accepted:
            job = client.job(job_id)
            assert job.id == job_id
    for job_id in site.accepted:
        assert site.wait(job_id, timeout_s=90).status is Status.SUCCEEDED
    for history in site.check():
        assert_same_run(history, site.data_dir, *reference)
    wait_until(lambda: len(site.processes.trainers()) == 1, what="one trainer lives")


def test_the_same_key_sent_again_after_the_api_died_is_the_same_job(own_site: Site) -> None:
    site = own_site
    service = site.processes.service().ready()
    port = int(service.url.rpartition(":")[2])
    with Client(service.url, patience_s=60) as client:
        ids = set()
        for number in range(12):
            if number == 5:
                service.kill()
                service = site.processes.service(port=port)
            ids.add(client.submit({"dataset": "iris", "name": f"job {number}"}).id)
    assert len(ids) == 12
    assert site.store.counts()[Status.QUEUED] == 12
