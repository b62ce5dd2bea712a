"""Stands for Blinka's ``board``, which knows no bus on a PC: an SHT40 is connected."""

from simulated_buses import Commands, SimulatedBus, sensirion


def I2C() -> SimulatedBus:  # noqa: N802 - the name of Blinka
    return Commands({b"\xfd": sensirion(26214, 29360)})
