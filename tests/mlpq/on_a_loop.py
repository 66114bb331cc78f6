"""`AsyncClient` behind the calls of `Client`, so that one text of a test runs over both: a loop awaits each call."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Iterator
from typing import Any, Self

from mlpq import AsyncClient, AsyncJob, AsyncSweep, Client
from mlpq.both import AsyncItems


class OnALoop:
    """An object of the asynchronous API; what its calls return is awaited or read on the loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, held: Any) -> None:
        self.__dict__.update(_loop=loop, _held=held)

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._held, name)
        return self._called(found) if inspect.ismethod(found) else found

    def __enter__(self) -> Self:
        self._loop.run_until_complete(self._held.__aenter__())
        return self

    def __exit__(self, *error: object) -> None:
        self._loop.run_until_complete(self._held.__aexit__(*error))
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()

    def _called(self, method: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            found = method(*args, **kwargs)
            if isinstance(found, AsyncItems):
                return self._items(found)
            return self._handle(self._loop.run_until_complete(found) if inspect.iscoroutine(found) else found)

        return call

    def _items(self, items: AsyncItems[Any]) -> Iterator[Any]:
        try:
            while True:
                try:
                    yield self._handle(self._loop.run_until_complete(items.__anext__()))
                except StopAsyncIteration:
                    return
        finally:
            if not self._loop.is_closed():
                self._loop.run_until_complete(items.aclose())

    def _handle(self, value: Any) -> Any:
        if value is self._held:
            return self
        if isinstance(value, list):
            return [self._handle(one) for one in value]
        return OnALoop(self._loop, value) if isinstance(value, AsyncJob | AsyncSweep) else value


KINDS = ("blocking", "asyncio")


def connect(kind: str, *args: Any, **kwargs: Any) -> Any:
    """A `Client`, or an `AsyncClient` that looks like one."""
    if kind == "blocking":
        return Client(*args, **kwargs)
    return OnALoop(asyncio.new_event_loop(), AsyncClient(*args, **kwargs))
