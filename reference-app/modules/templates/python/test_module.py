"""The module, without a hub: `python -m pytest`."""

from iotpi.testing import RecordingHub
from module import module


def test_the_module_records_a_temperature() -> None:
    hub = RecordingHub()

    with hub.running(module):
        reading = hub.wait_for_readings("my-module", 1)[0]

    assert (reading.type, reading.value) == ("temperature", 21.5)
