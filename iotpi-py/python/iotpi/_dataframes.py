"""Records as columns of a data frame."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from types import ModuleType
from typing import TYPE_CHECKING, Any

from .records import Bucket, Gap, Reading

if TYPE_CHECKING:
    import pandas
    import polars

Record = Reading | Bucket | Gap

# Fields that are times, and fields that records from a hub never have.
_TIMES = {"timestamp", "received_at", "start", "since", "until", "recorded_at"}
_UNUSED = {"epoch", "seq"}
_COUNTS = {"missing", "count", "lost"}
_NUMBERS = {"value", "avg", "min", "max"}


def to_pandas(kind: type[Any], records: Iterable[Any], time_zone: str) -> pandas.DataFrame:
    """One row for each record; times are ``datetime64`` with a time zone, missing numbers are NaN."""
    pd = _import("pandas")
    columns: dict[str, Any] = {}
    for name, values in _columns(kind, records).items():
        if name in _TIMES:
            times = pd.to_datetime(pd.Series(_microseconds(values), dtype="Int64"), unit="us", utc=True)
            columns[name] = times.dt.tz_convert(time_zone)
        elif name in _NUMBERS:
            columns[name] = pd.Series(values, dtype="float64")
        elif name in _COUNTS:
            columns[name] = pd.Series(values, dtype="int64")
        else:
            columns[name] = pd.Series(values, dtype="string")
    frame: pandas.DataFrame = pd.DataFrame(columns)
    return frame


def to_polars(kind: type[Any], records: Iterable[Any], time_zone: str) -> polars.DataFrame:
    """One row for each record; times are ``Datetime`` with a time zone, missing values are null."""
    pl = _import("polars")
    columns: list[Any] = []
    for name, values in _columns(kind, records).items():
        if name in _TIMES:
            times = pl.Series(name, _microseconds(values), dtype=pl.Int64).cast(pl.Datetime("us", "UTC"))
            columns.append(times.dt.convert_time_zone(time_zone))
        else:
            dtype = pl.Float64 if name in _NUMBERS else pl.Int64 if name in _COUNTS else pl.String
            columns.append(pl.Series(name, values, dtype=dtype))
    frame: polars.DataFrame = pl.DataFrame(columns)
    return frame


def _columns(kind: type[Any], records: Iterable[Any]) -> dict[str, list[Any]]:
    names = [field.name for field in dataclasses.fields(kind) if field.name not in _UNUSED]
    columns: dict[str, list[Any]] = {name: [] for name in names}
    for record in records:
        for name in names:
            columns[name].append(getattr(record, name))
    return columns


def _microseconds(seconds: list[float | None]) -> list[int | None]:
    """The resolution of the hub's times."""
    return [None if value is None else round(value * 1_000_000) for value in seconds]


def _import(name: str) -> ModuleType:
    try:
        return __import__(name)
    except ModuleNotFoundError as error:
        error.add_note(f"install it with: pip install 'iotpi[{name}]'")
        raise
