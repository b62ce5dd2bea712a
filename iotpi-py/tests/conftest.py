from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import iotpi
import pytest
from iotpi.testing import HubProcess

pytest_plugins = ["iotpi.testing.fixtures"]

PROJECT = Path(__file__).resolve().parents[2]
# The programs of the tests use the same hub.
os.environ.setdefault("IOTPI_HUB_BIN", str(PROJECT / "target" / "debug" / "iotpi-hub"))

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def hub(iotpi_hub: HubProcess) -> HubProcess:
    """One hub for all tests that are content with modules of their own."""
    return iotpi_hub


@pytest.fixture(scope="session")
def client(iotpi_client: iotpi.Client) -> iotpi.Client:
    """A client that may do what a person at the dashboard may."""
    return iotpi_client


@pytest.fixture
def module_id() -> str:
    """A module nobody else uses."""
    return f"module-{next(_numbers)}"


@pytest.fixture
def jpeg() -> bytes:
    """A picture of one pixel."""
    return (Path(__file__).parent / "pixel.jpg").read_bytes()


@pytest.fixture
def start(hub: HubProcess) -> Iterator[Callable[[iotpi.Module], None]]:
    """Runs modules in threads until the test is over; what they raise fails the test."""
    running: list[tuple[iotpi.Module, threading.Thread]] = []
    raised: list[BaseException] = []

    def start(module: iotpi.Module) -> None:
        assert module.id is not None
        token = hub.token("module", module.id)

        def run() -> None:
            try:
                module.run(url=hub.url, token=token)
            except BaseException as error:
                raised.append(error)

        thread = threading.Thread(target=run, name=f"running {module.id}")
        thread.start()
        running.append((module, thread))

    yield start
    for module, thread in running:
        module.stop()
        thread.join(10)
        assert not thread.is_alive(), f"{module.id} did not stop"
    assert raised == []
