"""Queries whose answer may have many pages: one class for each client."""

from __future__ import annotations

import warnings
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from ._dataframes import to_pandas, to_polars
from ._requests import PageReader, Request

if TYPE_CHECKING:
    import pandas
    import polars

T = TypeVar("T")


class Query(Generic[T]):
    """The records that match a query. Iterate over it; each iteration requests them anew, up to 1,000 at a time.

    ``list(query)`` requests all of them. If there are none and a similar type or module has some, a warning says so.
    """

    def __init__(
        self, kind: type[T], start: Callable[[], PageReader[T]], hint: Callable[[], Request[str]] | None = None
    ) -> None:
        self._kind = kind
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

    def to_pandas(self, time_zone: str = "UTC") -> pandas.DataFrame:
        """Requests all records and returns them as a data frame of pandas (``pip install 'iotpi[pandas]'``).

        The columns are the fields of the records. Times are ``datetime64`` in the time zone, such as ``Europe/Berlin``;
        a missing number is NaN.

        Raises:
            ModuleNotFoundError: pandas is not installed.
        """
        return to_pandas(self._kind, self, time_zone)

    def to_polars(self, time_zone: str = "UTC") -> polars.DataFrame:
        """Requests all records and returns them as a data frame of polars (``pip install 'iotpi[polars]'``).

        The columns are the fields of the records. Times are ``Datetime`` in the time zone, such as ``Europe/Berlin``; a
        missing value is null.

        Raises:
            ModuleNotFoundError: polars is not installed.
        """
        return to_polars(self._kind, self, time_zone)


class AsyncQuery(Generic[T]):
    """The records that match a query. Use ``async for``; each iteration requests them anew, up to 1,000 at a time.

    ``await query`` returns all of them as a list. If there are none and a similar type or module has some, a warning
    says so.
    """

    def __init__(
        self, kind: type[T], start: Callable[[], PageReader[T]], hint: Callable[[], Request[str]] | None = None
    ) -> None:
        self._kind = kind
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

    async def to_pandas(self, time_zone: str = "UTC") -> pandas.DataFrame:
        """As :meth:`Query.to_pandas`."""
        return to_pandas(self._kind, await self, time_zone)

    async def to_polars(self, time_zone: str = "UTC") -> polars.DataFrame:
        """As :meth:`Query.to_polars`."""
        return to_polars(self._kind, await self, time_zone)
