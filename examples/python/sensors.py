"""Several sensors in one module, one of them with a custom type. A failed measurement is recorded with its reason."""

from datetime import timedelta

import iotpi

module = iotpi.Module("boiler", description="Temperature and level of the boiler")


@module.sensor("temperature", unit="fahrenheit", every=timedelta(seconds=10))
def temperature() -> float:
    return 142.7  # the hub stores degrees Celsius


@module.sensor("water-level", unit="percent", every=30)
def level() -> float:
    return 83.0


@module.sensor("pressure", unit="bar", every=30)
def pressure() -> float:
    raise OSError("the pressure sensor does not answer")  # a reading without a value


module.run()
