"""The command `iotpi`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import iotpi
import pytest
from iotpi import cli
from iotpi.testing import HubProcess

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(hub: HubProcess, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs one command as an operator and returns the exit code and what it prints."""

    def run(command: str, *arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = cli.main([command, "--url", hub.url, "--token", hub.token("operator", "shell"), *arguments])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


def test_health_is_one_line(run: Run) -> None:
    code, printed, _ = run("health")

    assert code == 0
    assert printed.startswith("ok  version ")
    assert json.loads(run("health", "--json")[1])["status"] == "ok"


def test_readings_are_the_newest_or_those_of_one_type(run: Run, client: iotpi.Client, module_id: str) -> None:
    for value in (20, 21, None):
        client.record("temperature", value, module=module_id, reason=None if value else "no acknowledge")

    newest = run("readings", "--module", module_id)[1].splitlines()
    of_one_type = run("readings", "temperature", "--module", module_id, "--limit", "2", "--since", "1h", "--json")[1]

    assert len(newest) == 1
    assert newest[0].endswith(f"{module_id}  temperature  no value: no acknowledge")
    assert [json.loads(line)["value"] for line in of_one_type.splitlines()] == [None, 21]
    assert run("readings", "temperature", "--module", module_id, "--since", "2030-01-01T00:00:00Z")[1] == ""


def test_modules_are_listed_and_controlled(run: Run, hub: HubProcess, client: iotpi.Client, module_id: str) -> None:
    module = iotpi.Module(module_id)

    @module.action("set")
    def switch(on: bool, colour: str = "red") -> dict[str, object]:
        if not on:
            raise iotpi.Refused("it stays on")
        return {"on": on, "colour": colour}

    token = hub.token("module", module_id)
    module.run(url=hub.url, token=token, once=True)
    running = threading.Thread(target=module.run, kwargs={"url": hub.url, "token": token})
    running.start()
    try:
        listed = run("modules")[1].splitlines()
        succeeded = run("control", module_id, "set", "on=true", "colour=green", "--json")
        rejected = run("control", module_id, "set", "on=false")
    finally:
        module.stop()
        running.join(10)

    [line] = [line for line in listed if line.startswith(module_id + " ")]
    assert line.split()[1] == "online"
    assert line.endswith("set")
    assert succeeded[0] == 0
    assert json.loads(succeeded[1])["result"] == {"on": True, "colour": "green"}
    assert rejected[:2] == (1, "rejected  refused: it stays on\n")


def test_an_error_is_one_line_and_an_exit_code(run: Run, module_id: str) -> None:
    code, printed, error = run("control", "nobody", "set")

    assert (code, printed) == (1, "")
    assert error.startswith("iotpi: ")
    assert error.count("\n") == 1


@pytest.mark.parametrize("wrong", [["control", "a", "set", "on"], ["readings", "--since", "noon"], ["nothing"], []])
def test_wrong_usage_is_explained(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        cli.main(wrong)

    assert raised.value.code == 2
    assert "usage: iotpi" in capsys.readouterr().err


@pytest.mark.parametrize("program", [[sys.executable, "-m", "iotpi"], [str(Path(sys.executable).with_name("iotpi"))]])
def test_both_programs_use_the_environment(program: list[str], hub: HubProcess) -> None:
    environment = {**os.environ, "IOTPI_URL": hub.url, "IOTPI_TOKEN": hub.token("viewer", "shell-viewer")}

    ran = subprocess.run([*program, "health"], env=environment, capture_output=True, text=True, timeout=60, check=True)

    assert ran.stdout.startswith("ok ")
