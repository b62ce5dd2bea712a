"""Fixtures for pytest. Put ``pytest_plugins = ["iotpi.testing.fixtures"]`` into ``conftest.py`` to use them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ..client import Client
from . import HubProcess, RecordingHub


@pytest.fixture(scope="session")
def iotpi_hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubProcess]:
    """A real hub for all tests; without the program ``iotpi-hub`` the tests that use it fail."""
    with HubProcess(tmp_path_factory.mktemp("iotpi-hub")) as hub:
        yield hub


@pytest.fixture(scope="session")
def iotpi_client(iotpi_hub: HubProcess) -> Client:
    """A client of the real hub with the role ``operator``."""
    return iotpi_hub.client()


@pytest.fixture
def recording_hub() -> RecordingHub:
    """A new hub in the test's own process."""
    return RecordingHub()
