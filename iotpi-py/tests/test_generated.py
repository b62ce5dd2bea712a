"""Files that follow from others: the asyncio client, and the records that the hub's description defines."""

from __future__ import annotations

import importlib
import json
import sys
import typing
from pathlib import Path
from typing import Any

import pytest
from iotpi import events, records

PACKAGE = Path(__file__).resolve().parents[1]
SCHEMAS: dict[str, Any] = json.loads((PACKAGE.parent / "openapi.json").read_text())["components"]["schemas"]
LIVE: list[dict[str, Any]] = json.loads((PACKAGE.parent / "iotpi-hub/tests/golden/live.json").read_text())["hub"]

RECORDS: list[tuple[type[Any], str, set[str]]] = [
    # `epoch` and `seq` are sent with a reading and not returned.
    (records.Reading, "Reading", {"epoch", "seq"}),
    (records.Bucket, "Bucket", set()),
    (records.Gap, "Gap", set()),
    (records.Delivery, "Delivery", set()),
    (records.SeriesDelivery, "SeriesDelivery", set()),
    (records.DeliveryAccount, "DeliveryAccount", set()),
    (records.Command, "Command", set()),
    (records.ModuleInfo, "ModuleInfo", set()),
    # `GET /api/cameras` adds them to the camera of an event.
    (records.CameraInfo, "CameraInfo", {"age", "watching"}),
    (records.Latency, "Latency", set()),
    (records.Watching, "ViewerInfo", set()),
    (records.Manifest, "Manifest", set()),
    (records.Measure, "Measure", set()),
    (records.ActionSpec, "ActionSpec", set()),
    (records.CameraSpec, "CameraSpec", set()),
]
WORDS = [
    (records.CommandState, "CommandState"),
    (records.ModuleHealth, "Health"),
    (records.GapReason, "GapReason"),
    (records.TimeSource, "TimeSource"),
    (records.WatchedVia, "ViewerKind"),
]

# Answers to requests that this client does not send, and errors, which the native module raises.
NOT_EVENTS = {"time", "problem"}


def test_the_asyncio_client_is_generated_from_the_blocking_one() -> None:
    sys.path.insert(0, str(PACKAGE))
    try:
        generate_aio = importlib.import_module("generate_aio")
    finally:
        sys.path.remove(str(PACKAGE))

    assert generate_aio.TARGET.read_text() == generate_aio.generate(), "run iotpi-py/generate_aio.py"


@pytest.mark.parametrize(("record", "schema", "extra"), RECORDS, ids=[name for _, name, _ in RECORDS])
def test_a_record_has_the_fields_of_its_schema(record: type[Any], schema: str, extra: set[str]) -> None:
    fields = set(typing.get_type_hints(record))

    assert fields == set(SCHEMAS[schema]["properties"]) | extra


@pytest.mark.parametrize(("words", "schema"), WORDS, ids=[name for _, name in WORDS])
def test_the_words_of_a_field_are_those_of_its_schema(words: Any, schema: str) -> None:
    # A word that a newer hub sends is "other".
    assert set(typing.get_args(words)) == {*SCHEMAS[schema]["enum"], "other"}


@pytest.mark.parametrize("message", [one for one in LIVE if one["type"] not in NOT_EVENTS], ids=lambda one: one["type"])
def test_every_message_of_the_golden_live_protocol_is_an_event(message: dict[str, Any]) -> None:
    event = events.event_of(json.dumps(message))

    assert isinstance(event, typing.get_args(events.Event))


def test_a_message_of_a_newer_hub_is_an_unknown_event() -> None:
    event = events.event_of('{"type": "unheard_of", "seq": 7}')

    assert event == events.UnknownEvent("unheard_of", {"seq": 7})
