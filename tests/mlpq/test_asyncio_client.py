"""What only an event loop can do, and that both clients are one: the same calls with the same arguments and texts."""

from __future__ import annotations

import asyncio
import inspect
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from mlpq import AsyncClient, AsyncJob, Client, EndEvent, Job, MetricEvent
from mlpq.both import AsyncItems, Items, iteration, operation

PAIRS = [(Client, AsyncClient), (Job, AsyncJob)]


def test_many_jobs_are_submitted_and_watched_at_once_on_one_event_loop(service_url: str) -> None:
    async def train(client: AsyncClient, seed: int) -> tuple[list[int], float | None]:
        job = await client.train("iris", epochs=5, seed=seed)
        epochs = []
        async for event in job.events():
            if isinstance(event, MetricEvent):
                epochs.append(event.epoch)
        assert isinstance(event, EndEvent)
        return epochs, job.final_metrics["val_loss"]

    async def train_all() -> list[tuple[list[int], float | None]]:
        async with AsyncClient(service_url) as client:
            return await asyncio.gather(*(train(client, seed) for seed in range(4)))

    results = asyncio.run(train_all())
    assert [epochs for epochs, _ in results] == [[1, 2, 3, 4, 5]] * 4
    assert len({loss for _, loss in results}) == 4


def test_waiting_leaves_the_loop_free_and_a_list_is_awaited_whole(service_url: str) -> None:
    async def wait() -> tuple[int, list[str]]:
        async with AsyncClient(service_url) as client:
            job = await client.train("digits", epochs=100_000)
            waiting = asyncio.create_task(job.wait(check=False))
            turns, until = 0, time.monotonic() + 0.3
            while time.monotonic() < until:
                await asyncio.sleep(0.01)
                turns += 1
            await job.cancel()
            assert (await waiting).status == "cancelled"
            return turns, [record.id for record in await client.datasets()]

    turns, names = asyncio.run(wait())
    assert turns > 10
    assert {"iris", "digits"} <= {*names}


@pytest.mark.parametrize(("blocking", "asynchronous"), PAIRS)
def test_both_have_the_same_calls(blocking: type, asynchronous: type) -> None:
    everything = {name: made for part in reversed(blocking.__mro__) for name, made in vars(part).items()}
    written = {name: made for name, made in everything.items() if isinstance(made, operation | iteration)}
    assert len(written) > 15
    for name, made in written.items():
        one, other = getattr(blocking, name), getattr(asynchronous, name)
        assert inspect.signature(one) == inspect.signature(other)
        assert one.__doc__ == other.__doc__ == made.__doc__
        assert not inspect.iscoroutinefunction(one)
        assert inspect.iscoroutinefunction(other) == isinstance(made, operation)
    public = {name for name, value in everything.items() if inspect.isfunction(value) and name[0] != "_"}
    assert public <= {"to_json"}, "a public call that is the same for both must not wait for the service"


def test_streams_are_of_the_kind_of_their_client(service_url: str) -> None:
    with Client(service_url) as client:
        assert isinstance(client.datasets(), Items)
    assert isinstance(AsyncClient(service_url).datasets(), AsyncItems)


TYPED = """
    from collections.abc import Coroutine
    from typing import Any, assert_type
    from mlpq import AsyncClient, AsyncJob, Client, DatasetRecord, Event, Job, Prediction

    def blocking(client: Client) -> None:
        job = client.train("iris", hidden=[8])
        assert_type(job, Job)
        assert_type(job.wait(timeout_s=3).fork(epochs=2), Job)
        assert_type(client.submit({}).predict([[1]]), Prediction)
        for event in job.events():
            assert_type(event, Event)
        assert_type(next(client.jobs()), Job)
        client.train("iris", hiden=[8])  # type: ignore[call-arg]

    async def asynchronous(client: AsyncClient) -> None:
        _: Coroutine[Any, Any, AsyncJob] = client.train("iris")
        job = await client.train("iris", hidden=[8])
        assert_type(await (await job.wait()).pause(), AsyncJob)
        async for event in job.events():
            assert_type(event, Event)
        assert_type(await client.datasets(), list[DatasetRecord])
        job.cancel()  # type: ignore[unused-coroutine]
"""


def test_type_checkers_tell_the_two_apart(tmp_path: Path) -> None:
    (tmp_path / "typed.py").write_text(textwrap.dedent(TYPED))
    command = [
        sys.executable,
        "-m",
        "mypy",
        str(tmp_path / "typed.py"),
    ]  # with the settings and the cache of `make check`
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
