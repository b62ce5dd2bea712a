"""``async def`` functions run concurrently on one event loop: a slow sensor does not delay an action."""

import asyncio
from typing import Any

import iotpi

module = iotpi.Module("shed")
fan = {"on": False}


@module.sensor("humidity", unit="percent", every=10)
async def humidity() -> float:
    await asyncio.sleep(0.1)  # a slow bus
    return 61.0


@module.action("fan", absolute=True)
async def switch(on: bool) -> dict[str, Any]:
    """Switches the fan."""
    fan["on"] = on
    return fan


@module.state
def state() -> dict[str, Any]:
    return fan


module.run()
