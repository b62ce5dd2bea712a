"""A module with one sensor. It registers, sends a reading every 60 s, and keeps readings while the hub is unreachable."""

import iotpi


@iotpi.sensor("temperature", unit="celsius", every=60)
def read() -> float:
    return 21.5  # read your sensor here


iotpi.run("attic")
