"""A heater that may do harm. The action runs at most once, and the heater goes off 60 s after its issuer is gone."""

from typing import Any

import iotpi

module = iotpi.Module("heater", description="The heater in the greenhouse")
heating = False


@module.action("heat", hazardous=True, while_alive=60)
def heat(watts: int) -> dict[str, Any]:
    """Heats until the issuer is gone."""
    global heating
    heating = watts > 0
    return {"heating": heating}


@module.state
def state() -> dict[str, Any]:
    return {"heating": heating}


@module.make_safe
def make_safe() -> None:
    """Called at the start, at the end, and when the issuer or the hub is gone."""
    global heating
    heating = False


# The outbox directory also has the log of hazardous commands, so a crash does not repeat one.
module.run(outbox="heater-outbox")
