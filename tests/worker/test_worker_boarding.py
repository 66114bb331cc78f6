"""Who looks for company finds whoever fits, at any place of the queue."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from redis import Redis

from store.jobs import JobStore
from store.records import Claim
from tests.processes import wait_until
from tests.store.store_parts import new_job, stackable
from worker.boarding import Boarding, Gate
from worker.planner import Room
from worker.run import Run


def test_one_that_fits_is_found_behind_many_that_do_not(redis: Redis) -> None:
    """Those before it were in a crash, which the stack was not: no look at a few of them would find it."""
    store, taken = JobStore(redis), list[str]()
    first, *crashed = store.create_many([new_job(stack=stackable()) for _ in range(201)])[0]
    for claim in store.claim_also("gone", [job.id for job in crashed]):
        store.crashed(claim.job_id, claim.fence, "crashed", "gone")
    last = store.create(new_job(stack=stackable()))[0]

    def claimed(claims: Sequence[Claim]) -> list[Run]:
        taken.extend(claim.job_id for claim in claims)
        return [Run(claim) for claim in claims]

    gate = Gate(store, "w", "cpu", 8.0, "s", lambda _: Room(16, 1e9, 2.0), set(), claimed, lambda _: True)
    boarding = Boarding(gate, [Run(store.claim_also("w", [first.id])[0])], threading.Event(), 1000)
    wait_until(lambda: taken, 5.0, "it is found")
    boarding.close(further=False)
    assert taken == [last.id]
