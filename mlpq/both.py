"""One method for both clients: an operation is written once, as a coroutine; who holds it says how it is called.

A class that is `Blocking` drives the coroutine to its end and returns its result; a class that is `Asyncio` hands it
out to be awaited. The same holds for streams: an ordinary iterator here, an asynchronous one there. Type checkers see
through it: `Client.train` returns a `Job`, `AsyncClient.train` a coroutine of an `AsyncJob`.
"""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable, Coroutine, Generator
from typing import Any, Concatenate, Generic, ParamSpec, Self, TypeVar, overload

from mlpq.transport import iterate, run

P = ParamSpec("P")
T = TypeVar("T")


class Blocking:
    """Its operations return when they are done."""


class Asyncio:
    """Its operations are awaited."""


class Items(Generic[T]):
    """An iterator whose connection can be given back early with `close`."""

    def __init__(self, items: AsyncIterator[T]) -> None:
        self._items = iterate(items)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> T:
        return next(self._items)

    def close(self) -> None:
        """Stop here."""
        self._items.close()

    def _ipython_display_(self) -> None:
        """At the end of a notebook's cell it runs to its end and shows the items that have a card."""
        from IPython.display import display

        for item in self:
            if hasattr(item, "_repr_html_"):
                display(item)


class AsyncItems(Generic[T]):
    """An asynchronous iterator; `await` it for a list of everything that it still has."""

    def __init__(self, items: AsyncIterator[T]) -> None:
        self._items = items

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        return await anext(self._items)

    def __await__(self) -> Generator[Any, None, list[T]]:
        return self._all().__await__()

    async def _all(self) -> list[T]:
        return [item async for item in self._items]

    async def aclose(self) -> None:
        """Stop here."""
        close = getattr(self._items, "aclose", None)
        if close is not None:
            await close()


class operation(Generic[P, T]):  # noqa: N801 - a decorator
    """A method that is a coroutine in an `Asyncio` class, and an ordinary call in a `Blocking` one."""

    def __init__(self, coroutine: Callable[Concatenate[Any, P], Coroutine[Any, Any, T]]) -> None:
        self.coroutine = coroutine
        self.__doc__ = coroutine.__doc__

        @functools.wraps(coroutine)
        def blocking(this: Any, /, *args: P.args, **kwargs: P.kwargs) -> T:
            return run(coroutine(this, *args, **kwargs))

        self.blocking = blocking

    @overload
    def __get__(self, holder: Blocking, owner: Any) -> Callable[P, T]: ...
    @overload
    def __get__(self, holder: Asyncio, owner: Any) -> Callable[P, Coroutine[Any, Any, T]]: ...
    @overload
    def __get__(self, holder: None, owner: Any) -> Callable[Concatenate[Any, P], Any]: ...
    def __get__(self, holder: Any, owner: Any) -> Any:
        """The method as the holder's class calls it."""
        call: Any = self.blocking if issubclass(owner, Blocking) else self.coroutine
        return call.__get__(holder, owner)


class iteration(Generic[P, T]):  # noqa: N801 - a decorator
    """A method that is an asynchronous generator in an `Asyncio` class, and an iterator in a `Blocking` one."""

    def __init__(self, generator: Callable[Concatenate[Any, P], AsyncIterator[T]]) -> None:
        self.__doc__ = generator.__doc__

        @functools.wraps(generator)
        def blocking(this: Any, /, *args: P.args, **kwargs: P.kwargs) -> Items[T]:
            return Items(generator(this, *args, **kwargs))

        @functools.wraps(generator)
        def asynchronous(this: Any, /, *args: P.args, **kwargs: P.kwargs) -> AsyncItems[T]:
            return AsyncItems(generator(this, *args, **kwargs))

        self.blocking, self.asynchronous = blocking, asynchronous

    @overload
    def __get__(self, holder: Blocking, owner: Any) -> Callable[P, Items[T]]: ...
    @overload
    def __get__(self, holder: Asyncio, owner: Any) -> Callable[P, AsyncItems[T]]: ...
    @overload
    def __get__(self, holder: None, owner: Any) -> Callable[Concatenate[Any, P], Any]: ...
    def __get__(self, holder: Any, owner: Any) -> Any:
        """The method as the holder's class calls it."""
        call: Any = self.blocking if issubclass(owner, Blocking) else self.asynchronous
        return call.__get__(holder, owner)
