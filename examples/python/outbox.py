"""Readings that survive a restart: unsent ones are kept in a directory, for up to 7 days."""

import iotpi


@iotpi.sensor("illuminance", unit="lux", every=5)
def read() -> float:
    return 180.0


iotpi.run("lab", outbox="lab-outbox")
