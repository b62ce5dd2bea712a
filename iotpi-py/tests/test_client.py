"""The client against a real hub."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import iotpi
import pytest
import requests
from iotpi.testing import HubProcess
from pictures import commented

# A quiet hour long ago: whole, UTC-aligned, and nobody else's.
HOUR = datetime(2026, 3, 1, 12, tzinfo=UTC)


def readings(module: str, values: list[float | None], type: str = "temperature") -> list[iotpi.Reading]:
    """One a minute from the beginning of the hour."""
    return [
        iotpi.Reading(
            module_id=module,
            type=type,
            value=value,
            unit="celsius",
            timestamp=(HOUR + timedelta(minutes=minute)).timestamp(),
            reason="unplugged" if value is None else None,
        )
        for minute, value in enumerate(values)
    ]


def test_a_hub_says_how_it_is(client: iotpi.Client) -> None:
    health = client.health()

    assert health.status == "ok"
    assert health.uptime_secs >= 0


def test_a_reading_comes_back_as_it_was_recorded(client: iotpi.Client, module_id: str) -> None:
    client.record("temperature", 21.5, module=module_id, unit="celsius", timestamp=HOUR)

    [reading] = client.readings("temperature", module=module_id)

    assert (reading.value, reading.unit, reading.time) == (21.5, "celsius", HOUR)
    assert reading.received_at is not None
    assert client.latest(module_id) == [reading]


def test_a_reading_in_another_unit_is_converted(client: iotpi.Client, module_id: str) -> None:
    client.record("temperature", 212, module=module_id, unit="fahrenheit")

    [reading] = client.latest(module_id)

    assert reading.value == pytest.approx(100)
    assert reading.unit == "celsius"


def test_a_failed_measurement_is_kept_with_its_reason(client: iotpi.Client, module_id: str) -> None:
    client.record("temperature", None, module=module_id, reason="no acknowledge")

    [reading] = client.latest(module_id)

    assert (reading.value, reading.reason) == (None, "no acknowledge")


def test_what_was_read_may_be_recorded_again(client: iotpi.Client, module_id: str) -> None:
    client.record_many(readings(module_id, [1, None, 3]))
    recorded = client.readings("temperature", module=module_id, ascending=True)

    assert client.record_many(recorded) == 3


def test_a_numbered_reading_is_stored_once(client: iotpi.Client, module_id: str) -> None:
    numbered = [replace(reading, epoch=7, seq=seq) for seq, reading in enumerate(readings(module_id, [1, 2]), 1)]

    first = client.record("temperature", 1, module=module_id, timestamp=HOUR, epoch=7, seq=1)
    again = client.record("temperature", 1, module=module_id, timestamp=HOUR, epoch=7, seq=1)
    both = client.record_many(numbered)

    assert [(stored, stored.repeated) for stored in (first, again, both)] == [(1, 0), (0, 1), (1, 1)]
    assert [reading.value for reading in client.readings("temperature", module=module_id)] == [2, 1]
    with pytest.raises(iotpi.Error, match="seq"):
        client.record_many([replace(numbered[0], seq=None)])


def test_true_is_one_of_the_unit_boolean(client: iotpi.Client, module_id: str) -> None:
    client.record("door", True, module=module_id)

    (reading,) = client.latest(module_id)

    assert (reading.value, reading.unit) == (1, "boolean")
    with pytest.raises(iotpi.Unprocessable, match="true or false"):
        client.record("temperature", True, module=module_id)


def test_a_value_that_cannot_be_meant_in_the_canonical_unit_needs_its_unit(
    client: iotpi.Client, module_id: str
) -> None:
    with pytest.raises(iotpi.Unprocessable, match="hectopascal"):
        client.record("pressure", 1013.25, module=module_id)

    client.record("pressure", 1013.25, module=module_id, unit="hPa")

    assert client.latest(module_id)[0].value == 101_325


def test_a_reading_of_a_clock_ahead_is_kept_at_its_arrival(client: iotpi.Client, module_id: str) -> None:
    client.record("temperature", 1, module=module_id, timestamp=datetime(2036, 2, 7, tzinfo=UTC))

    (reading,) = client.latest(module_id)

    assert reading.time_source == "arrival"
    assert reading.timestamp == reading.received_at


def test_a_reading_without_a_clock_is_placed_by_its_age(client: iotpi.Client, module_id: str) -> None:
    client.record("temperature", 1, module=module_id, timestamp=HOUR)
    client.record("humidity", 2, module=module_id, age=90)
    client.record("pressure", 100_000, module=module_id)

    humidity, pressure, temperature = client.latest(module_id)

    sources = (temperature.time_source, humidity.time_source, pressure.time_source)
    assert sources == ("module", "estimated", "hub")
    assert humidity.received_at is not None
    assert humidity.received_at - humidity.timestamp == pytest.approx(90, abs=0.01)


def test_what_arrived_and_what_is_lost_is_told(hub: HubProcess, client: iotpi.Client, module_id: str) -> None:
    client.record("temperature", 1, module=module_id, timestamp=HOUR, epoch=7, seq=1)
    client.record("temperature", 6, module=module_id, timestamp=HOUR, epoch=7, seq=6)
    begins, ends = HOUR.timestamp() + 2, HOUR.timestamp() + 4
    lost: list[dict[str, Any]] = [
        {"first_seq": 2, "last_seq": 3, "series": [{"type": "temperature", "lost": 2, "since": begins, "until": ends}]},
        {"first_seq": 4, "last_seq": 4},
    ]
    for gap in lost:
        said = requests.post(
            f"{hub.url}/api/modules/{module_id}/gaps",
            json={"epoch": 7, "reason": "full", **gap},
            headers={"Authorization": f"Bearer {hub.token('module', module_id)}"},
            timeout=10,
        )
        assert said.status_code == 204, said.text

    [known, unknown] = client.gaps(module_id)
    account = client.delivery(module_id)

    assert (known.type, known.since, known.until, known.lost, known.reason) == ("temperature", begins, ends, 2, "full")
    assert (unknown.type, unknown.lost) == (None, 1)
    assert list(client.gaps(module_id, type="temperature", until=ends)) == [known]
    total = account.total
    assert total is not None
    assert (total.expected, total.received, total.lost, total.missing) == (6, 2, 3, 1)
    assert account.series == [iotpi.SeriesDelivery(type="temperature", expected=4, received=2, lost=2)]
    assert client.module(module_id).delivery == total
    with client.live(modules=[module_id]) as events:
        _, recent = next(events), next(events)
    assert isinstance(recent, iotpi.Recent)
    assert [module.delivery for module in recent.modules] == [total]
    with pytest.raises(iotpi.NotFound):
        client.delivery("nobody")


def test_a_module_that_does_not_number_has_no_account(client: iotpi.Client, module_id: str) -> None:
    client.record("temperature", 1, module=module_id)

    assert client.module(module_id).delivery is None
    account = client.delivery(module_id)
    assert account.total is None
    assert account.series == [iotpi.SeriesDelivery(type="temperature", expected=0, received=0, lost=0)]
    assert list(client.gaps(module_id)) == []


def test_a_bad_reading_is_pointed_at_and_none_is_stored(client: iotpi.Client, module_id: str) -> None:
    good = readings(module_id, [1, 2])
    bad = iotpi.Reading(module_id=module_id, type="temperature", value=3, unit="lux", timestamp=HOUR.timestamp())

    with pytest.raises(iotpi.Unprocessable) as raised:
        client.record_many([*good, bad])

    assert raised.value.pointer is not None
    assert raised.value.pointer.startswith("/2")
    assert client.latest(module_id) == []


def test_readings_are_filtered_and_ordered(client: iotpi.Client, module_id: str) -> None:
    client.record_many(readings(module_id, [0, 1, 2, 3, 4]))

    def values(**filter: object) -> list[float | None]:
        found = client.readings("temperature", module=module_id, **filter)  # type: ignore[arg-type]
        return [reading.value for reading in found]

    assert values() == [4, 3, 2, 1, 0]
    assert values(ascending=True, limit=2) == [0, 1]
    since, until = HOUR + timedelta(minutes=1), HOUR + timedelta(minutes=3)
    assert values(since=since, until=until.timestamp()) == [2, 1]


def test_readings_are_iterated_over_to_the_last_page(client: iotpi.Client, module_id: str) -> None:
    values: list[float | None] = [float(n) for n in range(1200)]
    client.record_many(readings(module_id, values[:1000]))
    client.record_many(readings(module_id, values)[1000:])

    everything = client.readings("temperature", module=module_id, ascending=True)
    most = client.readings("temperature", module=module_id, limit=1100)

    # Each iteration is a new query.
    assert [reading.value for reading in everything] == values
    assert [reading.value for reading in everything] == values
    assert [reading.value for reading in most] == values[:99:-1]


def test_a_client_is_a_context_manager(hub: HubProcess) -> None:
    with hub.client("operator") as client:
        client.latest()

    with pytest.raises(ValueError, match="closed"):
        client.latest()
    with pytest.raises(ValueError, match="closed"):
        client.readings("temperature")


def test_history_sums_up_an_hour(client: iotpi.Client, module_id: str) -> None:
    client.record_many(readings(module_id, [10, 20, None, 30]))

    [hour] = client.history("temperature", "1h", module=module_id, since=HOUR, until=HOUR + timedelta(hours=1))

    assert (hour.time, hour.min, hour.avg, hour.max) == (HOUR, 10, 20, 30)
    assert (hour.count, hour.missing) == (3, 1)
    [quarter] = client.history("temperature", "6h", module=module_id)
    assert (quarter.time, quarter.count) == (HOUR, 3)
    with pytest.raises(iotpi.InvalidArgument, match="6h"):
        client.history("temperature", "2h", module=module_id)  # type: ignore[arg-type]


def test_a_datetime_without_a_time_zone_is_refused(client: iotpi.Client) -> None:
    with pytest.raises(ValueError, match="has no time zone"):
        client.readings("temperature", since=datetime(2026, 3, 1))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_number_json_cannot_say_is_refused_here(client: iotpi.Client, value: float) -> None:
    with pytest.raises(iotpi.InvalidArgument, match="not a finite number"):
        client.record("temperature", value, module="a")


def test_each_refusal_has_its_exception(client: iotpi.Client, hub: HubProcess) -> None:
    with pytest.raises(iotpi.NotFound):
        client.module("nobody")
    with pytest.raises(iotpi.InvalidArgument):
        client.module("No Body")
    with pytest.raises(iotpi.InvalidArgument):
        client.readings("temperature", limit=0)
    with pytest.raises(iotpi.NotFound):
        client.control("nobody", "set")
    client.record("temperature", 1, module="obeys-nothing")
    with pytest.raises(iotpi.Unprocessable):
        client.control("obeys-nothing", "set")
    with pytest.raises(iotpi.Unauthenticated):
        iotpi.Client(hub.url).modules()
    with pytest.raises(iotpi.Unauthenticated):
        iotpi.Client(hub.url, "iotpi_wrong").modules()
    with pytest.raises(iotpi.PermissionDenied):
        hub.client("viewer").record("temperature", 1, module="a")


def test_url_and_token_come_from_the_environment(hub: HubProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IOTPI_URL", hub.url)
    monkeypatch.setenv("IOTPI_TOKEN", hub.token("viewer", "environment"))

    client = iotpi.Client()

    assert client.url == hub.url
    assert repr(client) == f"iotpi.client.Client('{hub.url}')"
    assert isinstance(client.modules(), list)


def test_a_picture_is_shown_and_seen(client: iotpi.Client, module_id: str, jpeg: bytes) -> None:
    with pytest.raises(iotpi.NotFound):
        client.snapshot(module_id)

    assert client.publish(module_id, jpeg) == 0

    assert client.snapshot(module_id) == jpeg
    [camera] = [camera for camera in client.cameras() if camera.module_id == module_id]
    assert (camera.width, camera.height, camera.bytes) == (1, 1, len(jpeg))


def test_what_is_no_picture_is_refused(client: iotpi.Client, module_id: str) -> None:
    with pytest.raises(iotpi.Unprocessable, match="not a JPEG"):
        client.publish(module_id, b"hello")


def test_pictures_come_as_they_are_shown(client: iotpi.Client, module_id: str, jpeg: bytes) -> None:
    client.publish(module_id, jpeg)

    with client.frames(module_id) as frames:
        assert next(frames) == jpeg
        assert client.publish(module_id, commented(jpeg, 1)) == 1
        assert next(frames) == commented(jpeg, 1)


def test_live_says_the_present_and_then_what_happens(client: iotpi.Client, module_id: str) -> None:
    client.record_many(readings(module_id, [1, 2, 3]))

    with client.live(kinds=["reading"], modules=[module_id], recent=2) as events:
        hello, recent = next(events), next(events)
        client.record("temperature", 4, module=module_id)
        stored = next(events)

    assert isinstance(hello, iotpi.Hello)
    assert isinstance(recent, iotpi.Recent)
    assert [reading.value for reading in recent.readings] == [2, 3]
    assert isinstance(stored, iotpi.ReadingStored)
    assert (stored.reading.value, stored.seq > recent.seq) == (4, True)


def test_closing_ends_an_iteration_in_another_thread(client: iotpi.Client, module_id: str) -> None:
    events = client.live(modules=[module_id])
    waiting, seen = threading.Event(), []

    def listen() -> None:
        for event in events:
            seen.append(type(event))
            if isinstance(event, iotpi.Recent):
                waiting.set()

    listening = threading.Thread(target=listen)
    listening.start()
    assert waiting.wait(10)

    events.close()

    listening.join(10)
    assert not listening.is_alive()
    assert seen == [iotpi.Hello, iotpi.Recent]
    assert list(events) == []


def test_what_live_does_not_understand_is_an_exception(client: iotpi.Client) -> None:
    with pytest.raises(iotpi.InvalidArgument, match="reading, module, command, camera"):
        client.live(kinds=["sensor"])  # type: ignore[list-item]
    with pytest.raises(iotpi.InvalidArgument, match="0 to 1,000"):
        client.live(recent=1001)


def test_a_client_is_shared_by_threads(client: iotpi.Client, module_id: str) -> None:
    def record(number: int) -> None:
        client.record(f"sensor-{number}", number, module=module_id, unit="count")

    threads = [threading.Thread(target=record, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)

    assert sorted(reading.value or 0 for reading in client.latest(module_id)) == list(range(8))
