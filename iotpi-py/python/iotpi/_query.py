"""Queries whose answer may have many pages: one class for each client."""

from __future__ import annotations

import warnings
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from typing import Any, Generic, TypeVar

from ._requests import PageReader, Request

T = TypeVar("T")


class Query(Generic[T]):
    """The records that match a query. Iterate over it; each iteration requests them anew, up to 1,000 at a time.

    ``list(query)`` requests all of them. If there are none and a similar type or module has some, a warning says so.
    """

    def __init__(self, start: Callable[[], PageReader[T]], hint: Callable[[], Request[str]] | None = None) -> None:
        # Wrong arguments are reported here and not at the first iteration.
        start()
        self._start = start
        self._hint = hint

    def __iter__(self) -> Iterator[T]:
        pages = self._start()
        found = False
        while (page := pages.next().wait()) is not None:
            found = found or bool(page)
            yield from page
        if not found and self._hint is not None and (hint := self._hint().wait()):
            warnings.warn(hint, stacklevel=2)


class AsyncQuery(Generic[T]):
    """The records that match a query. Use ``async for``; each iteration requests them anew, up to 1,000 at a time.

    ``await query`` returns all of them as a list. If there are none and a similar type or module has some, a warning
    says so.
    """

    def __init__(self, start: Callable[[], PageReader[T]], hint: Callable[[], Request[str]] | None = None) -> None:
        # Wrong arguments are reported here and not at the first iteration.
        start()
        self._start = start
        self._hint = hint

    async def __aiter__(self) -> AsyncIterator[T]:
        pages = self._start()
        found = False
        while (page := await pages.next()) is not None:
            found = found or bool(page)
            for item in page:
                yield item
        if not found and self._hint is not None and (hint := await self._hint()):
            warnings.warn(hint, stacklevel=2)

    def __await__(self) -> Generator[Any, None, list[T]]:
        return self._all().__await__()

    async def _all(self) -> list[T]:
        return [item async for item in self]
