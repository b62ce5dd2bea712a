"""Every example of the documents and every program in ``examples`` runs unchanged against a real hub."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import iotpi
import pytest
from examples import EXAMPLES, PROGRAMS, Example
from iotpi import aio
from iotpi.testing import HubProcess

MODULES = [example for example in EXAMPLES if example.module_id]
SCRIPTS = [example for example in EXAMPLES if not example.module_id]
TIMEOUT_SECS = 30
TESTS = Path(__file__).parent
# The examples use the mock pins of gpiozero, a simulated I2C bus, and a stand-in of picamera2.
DEVICES = {"GPIOZERO_PIN_FACTORY": "mock", "PYTHONPATH": f"{TESTS / 'stand_ins'}:{TESTS}"}


def run(example: Example, hub: HubProcess, token: str, folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", example.code],
        cwd=folder,
        env={**os.environ, "IOTPI_URL": hub.url, "IOTPI_TOKEN": token, "PYTHONUNBUFFERED": "1", **DEVICES},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


async def until_complete(watcher: aio.Client, module: str) -> None:
    """Waits until the module delivered everything that its manifest names."""
    manifest: iotpi.Manifest | None = None
    measured: set[str] = set()
    delivered = reported = False
    async for event in watcher.live(modules=[module]):
        modules: list[iotpi.ModuleInfo] = []
        match event:
            case iotpi.Recent(modules=modules, readings=readings, cameras=cameras):
                measured |= {reading.type for reading in readings}
                delivered |= bool(cameras)
            case iotpi.ModuleChanged(module=changed):
                modules = [changed]
            case iotpi.ReadingStored(reading=reading):
                measured.add(reading.type)
            case iotpi.CameraSeen():
                delivered = True
        for changed in modules:
            manifest, reported = changed.manifest or manifest, reported or changed.state is not None
        if manifest is None or not {measure["type"] for measure in manifest["measures"]} <= measured:
            continue
        if delivered >= ("camera" in manifest) and reported >= bool(manifest["actions"]):
            return


def wait_for_all(hub: HubProcess) -> None:
    async def watch() -> None:
        watcher = aio.Client(hub.url, hub.token("viewer", "watcher"))
        async with asyncio.timeout(TIMEOUT_SECS):
            await asyncio.gather(*(until_complete(watcher, example.module_id or "") for example in MODULES))

    asyncio.run(watch())


@pytest.fixture(scope="module")
def running(hub: HubProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """All modules at once. Each must shut down cleanly on SIGTERM."""
    folder = tmp_path_factory.mktemp("modules")
    # The same example in two documents is one module.
    different = {example.code: example for example in MODULES}.values()
    processes: dict[Example, subprocess.Popen[str]] = {}
    try:
        for example in different:
            processes[example] = run(example, hub, hub.token("module", example.module_id or ""), folder)
        wait_for_all(hub)
        yield [example.code for example in different]
        for process in processes.values():
            process.send_signal(signal.SIGTERM)
        for example, process in processes.items():
            output, _ = process.communicate(timeout=TIMEOUT_SECS)
            assert process.returncode == 0, f"{example}\n{output}"
    finally:
        for example, process in processes.items():
            if process.returncode is None:
                process.kill()
                print(example, process.communicate()[0])


def test_there_are_examples_of_both_kinds() -> None:
    assert MODULES
    assert SCRIPTS
    assert len(PROGRAMS) >= 10


def test_a_module_has_at_most_six_lines() -> None:
    first = next(example for example in MODULES if example.place.startswith("iotpi-py/README.md"))

    assert len(first.code.splitlines()) <= 6


@pytest.mark.parametrize("example", MODULES, ids=str)
def test_a_module_delivers_everything_in_its_manifest(example: Example, running: list[str]) -> None:
    assert example.code in running


@pytest.mark.parametrize("example", SCRIPTS, ids=str)
@pytest.mark.usefixtures("running")
def test_a_script_runs_to_its_end(example: Example, hub: HubProcess, tmp_path: Path) -> None:
    name = "example-" + re.sub(r"\W", "-", example.place.rpartition("/")[2].lower())
    process = run(example, hub, hub.token("operator", name), tmp_path)
    try:
        output, _ = process.communicate(timeout=TIMEOUT_SECS)
    finally:
        process.kill()

    assert process.returncode == 0, output
    assert output, "an example prints something"
