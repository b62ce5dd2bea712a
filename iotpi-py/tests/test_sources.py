"""Sensor functions of several series, and readings that a program records when something happens."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import iotpi
import pytest
from iotpi import Sample, Series
from iotpi.samples import samples_of
from iotpi.testing import HubProcess

Start = Callable[[iotpi.Module], None]

AIR = [Series("temperature", "fahrenheit"), Series("humidity")]


@pytest.mark.parametrize(
    ("result", "samples"),
    [
        ((212, 40), [("temperature", 212.0, "fahrenheit"), ("humidity", 40.0, None)]),
        ({"humidity": 40, "temperature": 212}, [("humidity", 40.0, None), ("temperature", 212.0, "fahrenheit")]),
        ({AIR[0]: 212, "humidity": None}, [("temperature", 212.0, "fahrenheit"), ("humidity", None, None)]),
        ([Sample(type="humidity", value=40), Sample(type="temperature", value=100, unit="celsius")],
         [("humidity", 40.0, None), ("temperature", 100.0, "celsius")]),
        (None, [("temperature", None, "fahrenheit"), ("humidity", None, None)]),
        # A series that is missing was not measured.
        ({"humidity": 40}, [("humidity", 40.0, None), ("temperature", None, "fahrenheit")]),
    ],
)  # fmt: skip
def test_a_function_of_several_series_returns_them_in_order_by_name_or_as_samples(result: object, samples: Any) -> None:
    assert [(name, value, unit) for name, _, value, unit, _ in samples_of(result, AIR)] == samples


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (21.5, "returned 1 of 2 values"),
        ((1, 2, 3), r"returned 3 of 2 values \(temperature, humidity\)"),
        ({"temprature": 1}, "Did you mean `temperature`"),
        ("warm", "1 of 2"),
        (("warm", 40), "could not convert"),
    ],
)
def test_a_result_that_does_not_fit_is_an_error_that_names_the_series(result: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        samples_of(result, AIR)


def test_one_read_gives_several_series_with_one_time(hub: HubProcess, client: iotpi.Client, module_id: str) -> None:
    module = iotpi.Module(module_id)

    @module.sensor(Series("temperature", "fahrenheit"), "humidity", "pressure", every=3600)
    def read() -> dict[str, float | None]:
        return {"temperature": 212, "humidity": 40, "pressure": None}

    module.run(url=hub.url, token=hub.token("module", module_id), once=True)

    latest = {reading.type: reading for reading in client.latest(module_id)}
    assert {name: (reading.value, reading.unit) for name, reading in latest.items()} == {
        "temperature": (pytest.approx(100), "celsius"),
        "humidity": (40, "percent"),
        "pressure": (None, "pascal"),
    }
    assert len({reading.timestamp for reading in latest.values()}) == 1
    manifest = client.module(module_id).manifest
    assert manifest is not None
    assert [measure["type"] for measure in manifest["measures"]] == ["temperature", "humidity", "pressure"]


def test_a_failed_read_is_recorded_for_each_series(hub: HubProcess, client: iotpi.Client, module_id: str) -> None:
    module = iotpi.Module(module_id)

    @module.sensor("temperature", "humidity")
    def read() -> tuple[float, float]:
        raise OSError("no acknowledge")

    with pytest.raises(iotpi.ModuleFailed):
        module.run(url=hub.url, token=hub.token("module", module_id), once=True)

    latest = client.latest(module_id)
    assert [(reading.type, reading.value) for reading in latest] == [("humidity", None), ("temperature", None)]
    assert all("no acknowledge" in (reading.reason or "") for reading in latest)


def test_an_event_is_recorded_from_another_thread(client: iotpi.Client, module_id: str, start: Start) -> None:
    module = iotpi.Module(module_id)
    module.declare("contact", unit="boolean")
    module.declare(Series("level", "percent"))
    manifest: iotpi.Manifest | None = None
    with client.live(kinds=["module", "reading"], modules=[module_id]) as events:
        start(module)
        for event in events:
            match event:
                case iotpi.ModuleChanged(module=changed) if changed.manifest:
                    manifest = changed.manifest
                    break

        edge = threading.Thread(target=module.record, args=("contact", True))
        edge.start()
        edge.join(10)
        module.record("level", 40, timestamp=1795472000.0)
        module.record("contact", None, reason="the wire is cut")
        recorded = []
        for event in events:
            if isinstance(event, iotpi.ReadingStored):
                recorded.append(event.reading)
            if len(recorded) == 3:
                break

    assert [(reading.type, reading.value, reading.unit) for reading in recorded] == [
        ("contact", 1, "boolean"),
        ("level", 40, "percent"),
        ("contact", None, "boolean"),
    ]
    assert (recorded[1].timestamp, recorded[2].reason) == (1795472000.0, "the wire is cut")
    assert manifest is not None
    assert manifest["measures"] == [{"type": "contact", "unit": "boolean"}, {"type": "level", "unit": "percent"}]
    # They have numbers: the hub counts them.
    account = client.delivery(module_id).total
    assert account is not None
    assert account.received == 3


def test_what_is_recorded_before_the_start_is_delivered_then(
    hub: HubProcess, client: iotpi.Client, module_id: str, tmp_path: Path
) -> None:
    module = iotpi.Module(module_id)
    module.declare("contact", unit="boolean")
    module.record("contact", False, timestamp=1795472000.0)
    token = hub.token("module", module_id)

    with pytest.raises(iotpi.Unavailable):
        module.run(url="http://127.0.0.1:1", token=token, once=True, outbox=tmp_path)
    module.record("contact", True, timestamp=1795472001.0)
    module.run(url=hub.url, token=token, once=True, outbox=tmp_path)

    assert [reading.value for reading in client.readings("contact", module=module_id)] == [1, 0]


def test_a_reading_that_cannot_be_recorded_is_refused_at_once(module_id: str) -> None:
    module = iotpi.Module(module_id)

    with pytest.raises(iotpi.InvalidArgument, match="say its unit"):
        module.record("contact", 1)
    with pytest.raises(iotpi.InvalidArgument, match="not a finite number"):
        module.record("temperature", float("nan"))
    with pytest.raises(iotpi.Unprocessable, match="cannot be measured"):
        module.record("humidity", 1, unit="celsius")
    for _ in range(10_000):
        module.record("contact", True)
    with pytest.raises(iotpi.Unavailable, match="wait for the module to run"):
        module.record("contact", True)


PIPES = [Series("temperature", channel="supply"), Series("temperature", channel="return"), Series("temperature")]


@pytest.mark.parametrize(
    "result",
    [
        (60, 40, 20),
        {PIPES[2]: 20, PIPES[1]: 40, PIPES[0]: 60},
        [
            Sample(type="temperature", value=20),
            Sample(type="temperature", value=60, channel="supply"),
            Sample(type="temperature", value=40, channel="return"),
        ],
    ],
)
def test_several_sensors_of_one_type_have_channels(
    hub: HubProcess, client: iotpi.Client, module_id: str, result: object
) -> None:
    module = iotpi.Module(module_id)
    module.sensor(*PIPES)(lambda: result)

    module.run(url=hub.url, token=hub.token("module", module_id), once=True)

    found = {reading.channel: reading.value for reading in client.latest(module_id)}
    assert found == {"supply": 60, "return": 40, None: 20}
    manifest = client.module(module_id).manifest
    assert manifest is not None
    assert [measure.get("channel") for measure in manifest["measures"]] == ["supply", "return", None]


def test_series_of_several_channels_are_not_named_by_their_type() -> None:
    with pytest.raises(ValueError, match="several channels; use Series as the keys"):
        samples_of({"temperature": 20}, PIPES)


def test_a_channel_is_recorded_and_queried(client: iotpi.Client, module_id: str, hub: HubProcess) -> None:
    module = iotpi.Module(module_id)
    module.sensor("temperature", channel="supply")(lambda: 60)
    module.sensor("temperature", unit="fahrenheit", channel="return")(lambda: 104)
    module.declare("pulses", unit="count", channel="meter-1")
    module.record("pulses", 7, channel="meter-1")
    module.run(url=hub.url, token=hub.token("module", module_id), once=True)
    client.record("temperature", 20, module=module_id)
    client.record("temperature", 59, module=module_id, channel="supply")

    def values(channel: str | None = None) -> list[float | None]:
        return [r.value for r in client.readings("temperature", module=module_id, channel=channel)]

    assert values("supply") == [59, 60]
    assert values("return") == [pytest.approx(40)]
    assert values("") == [20]
    assert len(values()) == 4
    [hour] = client.history("temperature", "1d", module=module_id, channel="supply")
    assert (hour.channel, hour.count) == ("supply", 2)
    [pulse] = client.readings("pulses", module=module_id)
    assert (pulse.channel, pulse.value, pulse.unit) == ("meter-1", 7, "count")
    assert list(client.gaps(module_id, channel="supply")) == []
    assert client.readings("temperature", module=module_id).to_polars()["channel"].drop_nulls().n_unique() == 2
    with pytest.raises(iotpi.InvalidArgument, match="on channel `supply`"):
        module.sensor("temperature", channel="supply")
    with pytest.raises(iotpi.InvalidArgument, match="is not an id"):
        module.sensor("temperature", channel="Supply Pipe")
