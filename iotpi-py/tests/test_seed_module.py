"""The module the system was first described with knows nothing of this package and still works."""

from __future__ import annotations

import runpy
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from iotpi.testing import HubProcess

SCRIPT = Path(__file__).parent / "seed_module.py"


class OneRoundIsOver(Exception):
    pass


@pytest.fixture
def open_hub(tmp_path: Path) -> Iterator[HubProcess]:
    """A hub that takes readings from this machine without a token, as the demo does."""
    hub = HubProcess(tmp_path, config='[auth]\nanonymous_ingest = ["127.0.0.0/8"]\n')
    yield hub
    hub.stop()


def test_the_script_works_as_it_stands_but_for_the_host(
    open_hub: HubProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / SCRIPT.name
    script.write_text(SCRIPT.read_text().replace("http://backend-host:8000", open_hub.url))
    library = ModuleType("sensor_library")
    vars(library)["read_temperature"] = lambda: 21.5
    monkeypatch.setitem(sys.modules, "sensor_library", library)

    def end_of_the_round(secs: float) -> None:
        raise OneRoundIsOver

    before = time.time()
    with monkeypatch.context() as patched:
        patched.setattr(time, "sleep", end_of_the_round)
        with pytest.raises(OneRoundIsOver):
            runpy.run_path(str(script), run_name="__main__")

    [reading] = open_hub.client("viewer").latest("temp-sensor-01")
    assert (reading.type, reading.value, reading.unit) == ("temperature", 21.5, "celsius")
    assert before <= reading.timestamp <= time.time()
