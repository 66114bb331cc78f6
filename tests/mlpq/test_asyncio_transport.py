"""The operations are written once: over a transport of asyncio the same coroutines serve an event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx2

from mlpq.api import Api
from mlpq.events import EndEvent, MetricEvent
from mlpq.transport import ConnectionLostError, Reply, Request, Stream
from mlpq.watching import Watch


class AsyncioTransport:
    """`mlpq.transport.Transport` over `httpx2.AsyncClient`."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._http = httpx2.AsyncClient(base_url=url, timeout=30, trust_env=False)

    async def send(self, request: Request) -> Reply:
        async with self.stream(request) as answer:
            return Reply(answer.status, answer.headers, b"".join([chunk async for chunk in answer.chunks]))

    @asynccontextmanager
    async def stream(self, request: Request) -> AsyncIterator[Stream]:
        body = b"".join(request.body()) if callable(request.body) else request.body
        built = self._http.build_request(
            request.method, request.path, params=dict(request.query), headers=dict(request.headers), content=body
        )
        try:
            answer = await self._http.send(built, stream=True)
        except httpx2.TransportError as error:
            raise ConnectionLostError(str(error)) from error
        try:
            headers = {name.lower(): value for name, value in answer.headers.items()}
            yield Stream(answer.status_code, headers, answer.aiter_bytes())
        finally:
            await answer.aclose()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def close(self) -> None:
        await self._http.aclose()


def test_many_jobs_are_submitted_and_watched_at_once_on_one_event_loop(service_url: str) -> None:
    async def train(api: Api, seed: int) -> tuple[list[int], float | None]:
        job = await api.submit({"dataset": "iris", "training": {"epochs": 5, "seed": seed}})
        events = [event async for event in Watch(api, job.id, 0, patience_s=30).events()]
        assert isinstance(events[-1], EndEvent)
        return [event.epoch for event in events if isinstance(event, MetricEvent)], (await api.job(job.id)).metrics[
            "val_loss"
        ]

    async def train_all() -> list[tuple[list[int], float | None]]:
        api = Api(AsyncioTransport(service_url), patience_s=15)
        try:
            return await asyncio.gather(*(train(api, seed) for seed in range(4)))
        finally:
            await api.transport.close()

    results = asyncio.run(train_all())
    assert [epochs for epochs, _ in results] == [[1, 2, 3, 4, 5]] * 4
    assert len({loss for _, loss in results}) == 4
