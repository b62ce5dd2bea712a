"""The hubs for users' tests: the recording hub behaves like the real one, and a suite of a user's runs with both."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import iotpi
import pytest
from iotpi.testing import HubProcess, Outcome, RecordingHub


def lamp(id: str, jpeg: bytes) -> iotpi.Module:
    module = iotpi.Module(id, description="A lamp")
    light = {"on": False}

    @module.action("set")
    def switch(on: bool) -> dict[str, bool]:
        light["on"] = on
        return light

    @module.action("refuse")
    def refuse() -> None:
        raise iotpi.Refused("not at night")

    @module.action("fail")
    def fail() -> None:
        raise RuntimeError("stuck")

    module.state(lambda: light)
    module.sensor("temperature", "humidity", every=3600)(lambda: (21.5, None))
    module.declare("pressed", unit="boolean")
    module.camera(width=1, height=1)(lambda: jpeg)
    return module


ACTIONS: list[tuple[str, dict[str, object]]] = [("set", {"on": True}), ("refuse", {}), ("fail", {})]


def test_the_recording_hub_answers_and_records_as_a_real_one(
    hub: HubProcess, client: iotpi.Client, module_id: str, jpeg: bytes, recording_hub: RecordingHub
) -> None:
    module = lamp(module_id, jpeg)
    with recording_hub.running(module):
        module.record("pressed", True)
        recorded = recording_hub.wait_for_readings(module_id, 3)
        outcomes = [recording_hub.control(module_id, action, params) for action, params in ACTIONS]
    manifest, states = recording_hub.manifest(module_id), recording_hub.states(module_id)
    frames = recording_hub.frames(module_id)

    real = lamp(module_id, jpeg)
    real.record("pressed", True)
    token = hub.token("module", module_id)
    real.run(url=hub.url, token=token, once=True)
    commands = [client.control(module_id, action, params) for action, params in ACTIONS]
    for _ in commands:
        real.run(url=hub.url, token=token, once=True)
    finished = [client.command(command.id) for command in commands]

    def bare(readings: list[iotpi.Reading]) -> set[iotpi.Reading]:
        return {replace(reading, timestamp=0, received_at=None, time_source="module") for reading in readings}

    assert bare(recorded) == bare(client.latest(module_id))
    assert outcomes == [Outcome(command.state, command.result, command.error) for command in finished]
    assert [outcome.succeeded for outcome in outcomes] == [True, False, False]
    known = client.module(module_id)
    assert manifest == known.manifest
    assert states[0] == {"on": False}
    assert states[-1] == known.state == {"on": True}
    assert frames
    assert set(frames) == {client.snapshot(module_id)} == {jpeg}


def test_readings_survive_an_absence_of_the_recording_hub(recording_hub: RecordingHub, module_id: str) -> None:
    module = iotpi.Module(module_id)
    module.declare("count", unit="count")
    with recording_hub.running(module):
        module.record("count", 1)
        recording_hub.wait_for_readings(module_id)
        recording_hub.set_away(True)
        module.record("count", 2)
        recording_hub.set_away(False)
        readings = recording_hub.wait_for_readings(module_id, 2)

    assert [reading.value for reading in readings] == [1, 2]
    assert recording_hub.values("count") == [1, 2]


def test_a_module_that_does_not_answer_is_a_timeout(recording_hub: RecordingHub, module_id: str) -> None:
    with pytest.raises(iotpi.Timeout):
        recording_hub.control(module_id, "set", timeout=0.01)
    with pytest.raises(iotpi.Timeout):
        recording_hub.wait_for_readings(module_id, timeout=0.01)


def test_a_failed_sensor_is_an_error_of_one_run(recording_hub: RecordingHub, module_id: str) -> None:
    module = iotpi.Module(module_id)
    module.sensor("temperature")(lambda: 1 / 0)

    with pytest.raises(iotpi.ModuleFailed, match="ZeroDivisionError"):
        recording_hub.run_once(module)

    assert recording_hub.values("temperature") == [None]


SUITE = """
import iotpi

def test_a_module(recording_hub):
    module = iotpi.Module("attic")
    module.sensor("temperature")(lambda: 21.5)
    recording_hub.run_once(module)
    assert recording_hub.values("temperature") == [21.5]

def test_with_a_real_hub(iotpi_hub, iotpi_client):
    iotpi_client.record("temperature", 21.5, module="attic")
    assert [reading.value for reading in iotpi_client.readings("temperature")] == [21.5]
"""


def test_the_fixtures_work_in_a_suite_of_a_user(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["iotpi.testing.fixtures"]\n')
    (tmp_path / "test_suite.py").write_text(SUITE)

    suite = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", tmp_path, tmp_path],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert suite.returncode == 0, suite.stdout + suite.stderr
    assert "2 passed" in suite.stdout


def test_a_missing_hub_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("IOTPI_HUB_BIN")
    monkeypatch.setenv("PATH", os.fspath(tmp_path))

    with pytest.raises(FileNotFoundError, match="IOTPI_HUB_BIN"):
        HubProcess(tmp_path)
