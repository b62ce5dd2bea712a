"""Hubs for tests of modules and scripts.

:class:`RecordingHub` is a hub in the test's own process: it records what modules send, and sends them commands.
:class:`HubProcess` is the real program on a port of its own, with a new database.

The fixtures of :mod:`iotpi.testing.fixtures` provide both to pytest::

    # conftest.py
    pytest_plugins = ["iotpi.testing.fixtures"]

    # test_lamp.py
    def test_the_lamp_is_switched_on(recording_hub):
        with recording_hub.running(lamp):
            assert recording_hub.control("lamp", "set", {"on": True}).succeeded
"""

from .hub_process import HubProcess
from .recording_hub import Outcome, RecordingHub

__all__ = ["HubProcess", "Outcome", "RecordingHub"]
