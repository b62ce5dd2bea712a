"""The client with the answers of a hub of a later version: a proxy adds fields and replaces words."""

from __future__ import annotations

import json
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import iotpi
import pytest
from iotpi.events import Hello, Recent, event_of
from iotpi.testing import HubProcess

WORD = "of_a_later_version"
GAP_REASONS = ("full", "too_old", "unreadable", "refused", "killed")
LIVE_MESSAGES = Path(__file__).parents[2] / "iotpi-hub" / "tests" / "golden" / "live.json"


def changed(value: Any, words: bool) -> Any:
    """An answer as a later version may send it. Parameters, states and results are free-form."""
    if isinstance(value, list):
        return [changed(item, words) for item in value]
    if not isinstance(value, dict):
        return value
    after = {}
    for name, field in value.items():
        is_word = (name in ("health", "via", "mode", "time_source", "kind", "state") and isinstance(field, str)) or (
            name == "reason" and field in GAP_REASONS
        )
        if is_word and words:
            after[name] = WORD
        else:
            after[name] = field if name in ("params", "result", "state") else changed(field, words)
    return after if words else {**after, WORD: {"nested": [1, None]}}


@contextmanager
def newer_hub(hub: HubProcess, words: bool) -> Iterator[iotpi.Client]:
    class Proxy(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            request = urllib.request.Request(hub.url + self.path, headers=dict(self.headers))
            try:
                with urllib.request.urlopen(request) as answer:
                    status, body = answer.status, answer.read()
            except urllib.error.HTTPError as error:
                status, body = error.code, error.read()
            data = json.dumps(changed(json.loads(body), words)).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Proxy) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield iotpi.Client(f"http://127.0.0.1:{server.server_address[1]}", hub.token("operator", "test-operator"))
        finally:
            server.shutdown()
            thread.join(5)


@pytest.fixture
def filled(client: iotpi.Client, module_id: str, jpeg: bytes) -> str:
    """A module with readings, one of them without a time, and a camera."""
    client.record("soil", 1.5, module=module_id, unit="bunches")
    client.publish(module_id, jpeg)
    return module_id


def test_unknown_fields_in_every_object_change_nothing(hub: HubProcess, client: iotpi.Client, filled: str) -> None:
    with newer_hub(hub, words=False) as later:
        assert later.health().protocol == client.health().protocol == 1
        assert later.module(filled).id == filled
        assert filled in [module.id for module in later.modules()]
        assert later.latest(filled) == client.latest(filled)
        assert filled in [camera.module_id for camera in later.cameras()]
        assert list(later.gaps()) == list(client.gaps())


def test_unknown_words_are_other_and_an_unknown_problem_is_the_base_class(hub: HubProcess, filled: str) -> None:
    with newer_hub(hub, words=True) as later:
        assert later.module(filled).health == "other"
        assert later.latest(filled)[0].time_source == "other"
        with pytest.raises(iotpi.Error) as raised:
            later.module("nobody")
        assert type(raised.value) is iotpi.Error


def test_live_messages_of_a_later_version_are_events() -> None:
    messages = json.loads(LIVE_MESSAGES.read_text())["hub"]
    events = [event_of(json.dumps(message)) for message in messages if message["type"] not in ("time", "problem")]

    unknown = event_of(json.dumps({"type": "firmware", "seq": 7, "module_id": "led"}))

    assert isinstance(events[0], Hello)
    assert isinstance(events[1], Recent)
    assert unknown == iotpi.UnknownEvent("firmware", {"seq": 7, "module_id": "led"})
