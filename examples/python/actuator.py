"""A lamp with two actions. Their parameters become a JSON Schema, which the hub checks."""

from typing import Annotated, Any

import iotpi

module = iotpi.Module("hall-lamp", description="The lamp in the hall")
lamp: dict[str, Any] = {"on": False, "brightness": 100}


@module.action("switch", absolute=True)
def switch(on: bool) -> dict[str, Any]:
    """Switches the lamp."""
    lamp["on"] = on
    return lamp


@module.action("dim", absolute=True)
def dim(brightness: Annotated[int, {"minimum": 0, "maximum": 100}]) -> dict[str, Any]:
    """Sets the brightness in per cent."""
    if not lamp["on"]:
        raise iotpi.Refused("the lamp is off")
    lamp["brightness"] = brightness
    return lamp


@module.state
def state() -> dict[str, Any]:
    return lamp


@module.make_safe
def make_safe() -> None:
    lamp["on"] = False


module.run()
