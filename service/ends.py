"""Wakes whoever waits for a job or a sweep to end.

The store tells on a channel of its own which job has ended; this process listens to it only while somebody waits. Who
hears nothing looks now and then: a message may have been lost.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterable, Iterator

from anyio.to_thread import run_sync
from fastapi import Request
from redis.asyncio import Redis
from redis.exceptions import RedisError

from service.metrics import Metrics
from store import keys

LOOK_S = 1.0
"""Between two looks of who hears nothing, at the job and whether the client is still there."""

LOOKS_PER_S = 25
"""Looks of all that hear nothing; where more wait, each looks more rarely."""

REST_S = 0.02
"""After every look: the jobs of a sweep may end within moments."""

NEWS_PER_S = 250
"""Looks at one job or sweep that is in the news; where more wait for it, each rests longer."""


class Ends:
    """Those that wait, by the id of the job or the sweep, and the task that hears of ends. Event loop only.

    Args:
        redis: a client of its own.
        metrics: where their number is told.
        most: who comes when so many wait does not.
    """

    def __init__(self, redis: Redis, metrics: Metrics, most: int) -> None:
        self._redis = redis
        self._metrics = metrics
        self._most = most
        self._waiting: dict[str, set[asyncio.Event]] = {}
        self._number = 0
        self._awaited = asyncio.Event()
        self._closing = False
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to listen where somebody waits; needs the running event loop."""
        self._task = asyncio.create_task(self._listen())

    def drain(self) -> None:
        """Let nobody wait any longer."""
        self._closing = True
        self._wake(tuple(self._waiting))

    async def stop(self) -> None:
        """End the task and the connection."""
        self.drain()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._redis.aclose()

    async def until(self, request: Request, name: str, ended: Callable[[], bool], wait_s: float) -> None:
        """Return when it has ended, when time is over, or when nobody waits for the answer any more.

        Args:
            request: the client's; `state.waited` is set where it had to wait.
            name: the id of the job or the sweep.
            ended: looks whether it has, on a thread; what it raises ends the waiting.
            wait_s: seconds.
        """
        if self._number >= self._most:
            return
        over_at = time.monotonic() + wait_s
        with self._registered(name) as news:
            while not self._closing and not await run_sync(ended):
                request.state.waited = True
                await self._hear(news, len(self._waiting[name]), over_at)
                if time.monotonic() >= over_at or await request.is_disconnected():
                    return

    @contextlib.contextmanager
    def _registered(self, name: str) -> Iterator[asyncio.Event]:
        """What is set when there is news of this name."""
        news = asyncio.Event()
        self._waiting.setdefault(name, set()).add(news)
        self._count(+1)
        self._awaited.set()
        try:
            yield news
        finally:
            self._count(-1)
            self._waiting[name].remove(news)
            if not self._waiting[name]:
                del self._waiting[name]

    def _count(self, more: int) -> None:
        self._number += more
        self._metrics.waiting.set(self._number)

    async def _hear(self, news: asyncio.Event, beside: int, over_at: float) -> None:
        """Return at news, when it is time to look, or at `over_at`; never at once, where many wait for the same."""
        await asyncio.sleep(min(max(REST_S, beside / NEWS_PER_S), over_at - time.monotonic()))
        silence_s = max(LOOK_S, self._number / LOOKS_PER_S)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(min(silence_s, over_at - time.monotonic())):
                await news.wait()
        news.clear()

    def _wake(self, names: Iterable[str]) -> None:
        for name in names:
            for news in self._waiting.get(name, ()):
                news.set()

    async def _listen(self) -> None:
        while True:
            await self._awaited.wait()
            try:
                await self._follow()
            except (RedisError, OSError):
                await asyncio.sleep(LOOK_S / 4)

    async def _follow(self) -> None:
        """Pass on what is told, until nobody waits."""
        async with self._redis.pubsub() as subscription:
            await subscription.subscribe(keys.ENDED)
            while self._waiting:
                message = await subscription.get_message(timeout=LOOK_S)
                if message is None:
                    continue
                if message["type"] == "subscribe":  # what came before was told to nobody
                    self._wake(self._waiting)
                else:
                    self._wake(message["data"].decode().split())
            self._awaited.clear()
