"""Iteration over a hub's open streams: one class for each client."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from types import TracebackType
from typing import Generic, Self, TypeVar

from ._requests import Lines, Request

T = TypeVar("T")


class Stream(Generic[T]):
    """An open stream of items. Iterate over it, and close it when done (``with`` does)."""

    def __init__(self, opening: Request[Lines[T]]) -> None:
        self._lines = opening.wait()

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        line = self._lines.next().wait()
        if line is None:
            raise StopIteration
        return line

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connection. An iteration that waits in another thread ends."""
        self._lines.close()


class AsyncStream(Generic[T]):
    """An open stream of items. Use ``async for``, and close it when done (``async with`` does).

    It connects when it is entered or when the first item is requested.
    """

    def __init__(self, opening: Request[Lines[T]]) -> None:
        self._opening: Request[Lines[T]] | None = opening
        self._lines: Lines[T] | None = None

    def __aiter__(self) -> AsyncIterator[T]:
        return self

    async def __anext__(self) -> T:
        await self._open()
        line = None if self._lines is None else await self._lines.next()
        if line is None:
            raise StopAsyncIteration
        return line

    async def __aenter__(self) -> Self:
        await self._open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connection. An iteration that waits in another task ends."""
        self._opening = None
        if self._lines is not None:
            self._lines.close()

    async def _open(self) -> None:
        opening, self._opening = self._opening, None
        if opening is not None:
            self._lines = await opening
