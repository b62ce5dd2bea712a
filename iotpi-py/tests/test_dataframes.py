"""Query results as data frames of the real packages."""

from __future__ import annotations

import asyncio
import sys
from datetime import UTC, datetime

import iotpi
import pandas
import polars
import pytest
from iotpi import aio
from iotpi.testing import HubProcess

HOUR = datetime(2026, 3, 1, 12, tzinfo=UTC)
TIMES = [HOUR, HOUR.replace(minute=10, microsecond=250_000), HOUR.replace(minute=20)]


@pytest.fixture
def module(client: iotpi.Client, module_id: str) -> str:
    """A module with readings at those times; the last measurement failed."""
    for time, value in zip(TIMES, [20.5, 21.5, None], strict=True):
        client.record("temperature", value, module=module_id, timestamp=time, reason=None if value else "unplugged")
    return module_id


def test_readings_become_a_data_frame_of_pandas(client: iotpi.Client, module: str) -> None:
    frame = client.readings("temperature", module=module, ascending=True).to_pandas()

    assert list(frame.columns) == [
        "module_id", "type", "value", "unit", "timestamp", "received_at", "reason", "channel", "time_source",
    ]  # fmt: skip
    assert list(frame["timestamp"]) == [pandas.Timestamp(time) for time in TIMES]
    assert str(frame["timestamp"].dt.tz) == str(frame["received_at"].dt.tz) == "UTC"
    assert frame["value"].dtype == "float64"
    assert frame["value"].isna().tolist() == [False, False, True]
    assert frame["reason"].fillna("").tolist() == ["", "", "unplugged"]
    # What a notebook does with it.
    assert frame.set_index("timestamp")["value"].resample("1h").mean().tolist() == [21.0]


def test_readings_become_a_data_frame_of_polars(client: iotpi.Client, module: str) -> None:
    frame = client.readings("temperature", module=module, ascending=True).to_polars("Europe/Berlin")

    assert frame.schema["timestamp"] == frame.schema["received_at"] == polars.Datetime("us", "Europe/Berlin")
    assert frame["timestamp"].to_list() == TIMES
    assert frame["timestamp"].dt.hour().to_list() == [13, 13, 13]
    assert frame["value"].to_list() == [20.5, 21.5, None]


def test_history_and_gaps_become_data_frames_too(client: iotpi.Client, module: str) -> None:
    history = client.history("temperature", "1h", module=module)

    assert history.to_pandas("Europe/Berlin")[["start", "missing", "count", "avg"]].to_dict("records") == [
        {"start": pandas.Timestamp(HOUR), "missing": 1, "count": 2, "avg": 21.0}
    ]
    assert history.to_polars()["start"].to_list() == [HOUR]
    assert client.gaps(module).to_polars().schema["since"] == polars.Datetime("us", "UTC")


def test_no_readings_have_the_same_columns_and_types(client: iotpi.Client, module: str) -> None:
    some, none = client.readings("temperature", module=module), client.readings("humidity", module=module)

    assert none.to_pandas().empty
    assert dict(none.to_pandas().dtypes) == dict(some.to_pandas().dtypes)
    assert none.to_polars().schema == some.to_polars().schema


def test_the_asyncio_client_makes_data_frames(hub: HubProcess, module: str) -> None:
    query = aio.Client(hub.url, hub.token("viewer", "frames")).readings("temperature", module=module)

    async def ask() -> tuple[int, int]:
        return len(await query.to_pandas()), (await query.to_polars()).height

    assert asyncio.run(ask()) == (3, 3)


def test_a_missing_package_names_the_extra(client: iotpi.Client, module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)

    with pytest.raises(ModuleNotFoundError) as raised:
        client.readings("temperature", module=module).to_pandas()

    assert raised.value.__notes__ == ["install it with: pip install 'iotpi[pandas]'"]
