"""Queries whose answer may have many pages: one class for each client."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Generator, Iterator
from typing import Any, Generic, TypeVar

from ._requests import PageReader

T = TypeVar("T")


class Query(Generic[T]):
    """The records that match a query. Iterate over it; each iteration requests them anew, up to 1,000 at a time.

    ``list(query)`` requests all of them.
    """

    def __init__(self, start: Callable[[], PageReader[T]]) -> None:
        # Wrong arguments are reported here and not at the first iteration.
        start()
        self._start = start

    def __iter__(self) -> Iterator[T]:
        pages = self._start()
        while (page := pages.next().wait()) is not None:
            yield from page


class AsyncQuery(Generic[T]):
    """The records that match a query. Use ``async for``; each iteration requests them anew, up to 1,000 at a time.

    ``await query`` returns all of them as a list.
    """

    def __init__(self, start: Callable[[], PageReader[T]]) -> None:
        # Wrong arguments are reported here and not at the first iteration.
        start()
        self._start = start

    async def __aiter__(self) -> AsyncIterator[T]:
        pages = self._start()
        while (page := await pages.next()) is not None:
            for item in page:
                yield item

    def __await__(self) -> Generator[Any, None, list[T]]:
        return self._all().__await__()

    async def _all(self) -> list[T]:
        return [item async for item in self]
