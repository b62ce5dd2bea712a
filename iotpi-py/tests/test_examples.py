"""Every example of the documents runs, as it stands there, against a real hub."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import iotpi
import pytest
from examples import EXAMPLES, Example
from hub_process import HubProcess

MODULES = [example for example in EXAMPLES if example.module_id]
SCRIPTS = [example for example in EXAMPLES if not example.module_id]
PATIENCE_SECS = 60


def run(example: Example, hub: HubProcess, token: str, folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", example.code],
        cwd=folder,
        env={**os.environ, "IOTPI_URL": hub.url, "IOTPI_TOKEN": token, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def until_it_works(watcher: iotpi.Client, module: str) -> None:
    """Waits until all that the module's manifest promises was seen."""
    manifest = None
    measured: set[str] = set()
    seen = reported = False
    with watcher.live(modules=[module]) as events:
        for event in events:
            modules, readings, cameras = [], [], []
            match event:
                case iotpi.Recent():
                    modules, readings, cameras = event.modules, event.readings, event.cameras
                case iotpi.ModuleChanged():
                    modules = [event.module]
                case iotpi.ReadingStored():
                    readings = [event.reading]
                case iotpi.CameraSeen():
                    cameras = [event.camera]
            measured |= {reading.type for reading in readings}
            seen |= bool(cameras)
            for changed in modules:
                manifest, reported = changed.manifest, reported or changed.state is not None
            if manifest is None or measured < {measure["type"] for measure in manifest["measures"]}:
                continue
            if seen >= ("camera" in manifest) and reported >= bool(manifest["actions"]):
                return


@pytest.fixture(scope="module")
def watcher(hub: HubProcess) -> iotpi.Client:
    return hub.client("viewer", "watcher")


@pytest.fixture(scope="module")
def running(hub: HubProcess, watcher: iotpi.Client, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """All modules of the documents at once; each must end in order when it is told to."""
    folder = tmp_path_factory.mktemp("modules")
    processes = {}
    for example in MODULES:
        assert example.module_id is not None
        processes[example] = run(example, hub, hub.token("module", example.module_id), folder)
    try:
        for example in MODULES:
            assert example.module_id is not None
            until_it_works(watcher, example.module_id)
        yield [example.place for example in MODULES]
        for process in processes.values():
            process.send_signal(signal.SIGTERM)
        for example, process in processes.items():
            said, _ = process.communicate(timeout=PATIENCE_SECS)
            assert process.returncode == 0, f"{example}\n{said}"
    finally:
        for process in processes.values():
            process.kill()
            process.communicate()


def test_there_are_examples_of_both_sorts() -> None:
    assert MODULES
    assert SCRIPTS


def test_a_module_has_at_most_six_lines() -> None:
    first = next(example for example in MODULES if example.place.startswith("iotpi-py/README.md"))

    assert len(first.code.splitlines()) <= 6


@pytest.mark.parametrize("example", MODULES, ids=str)
def test_a_module_does_all_it_promises(example: Example, running: list[str]) -> None:
    assert example.place in running


@pytest.mark.parametrize("example", SCRIPTS, ids=str)
@pytest.mark.usefixtures("running")
def test_a_script_runs_to_its_end(example: Example, hub: HubProcess, tmp_path: Path) -> None:
    name = "example-" + example.place.rpartition(":")[2]
    process = run(example, hub, hub.token("operator", name), tmp_path)
    try:
        said, _ = process.communicate(timeout=PATIENCE_SECS)
    finally:
        process.kill()

    assert process.returncode == 0, said
    assert said, "an example shows something"
