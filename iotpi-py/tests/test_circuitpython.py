"""The drivers of docs/howto/python-drivers.md: real packages on simulated buses."""

from __future__ import annotations

import re
import struct
import time
from array import array
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import iotpi
import pytest
from iotpi.testing import RecordingHub
from simulated_buses import (
    ByteRegisters,
    Commands,
    Ds18b20Bus,
    SimulatedBus,
    WordRegisters,
    big_endian,
    bme280,
    little_endian,
    measured_20_bits,
    mpu6050,
    sensirion,
)

pytest.importorskip("adafruit_bus_device", reason="the drivers are missing: pip install 'iotpi[dev]'")

GUIDE = Path(__file__).parents[2] / "docs" / "howto" / "python-drivers.md"


def bme680() -> SimulatedBus:
    """Typical parameters; the temperature is that of the datasheet's formula, section 3.3.1."""
    parameters = struct.pack(
        "<hbBHhbBhhbbHhhBBBHbbbBbHhbb",
        *(26370, 3, 0, 36477, -10370, 88, 0, 7149, -111, 34, 30, 0, -1020, -2478, 30, 0),
        *(63, 777, 0, 45, 20, 120, -100, 26125, -6000, -30, 18),
    )
    raw = measured_20_bits(330_000) + measured_20_bits(500_000) + big_endian(21_000)
    gas = (512 << 6 | 0x30).to_bytes(2, "big")
    return ByteRegisters(
        {0xD0: b"\x61", 0x8A: parameters[:24], 0xE1: parameters[24:], 0x1F: raw, 0x2A: gas},
        # New data; asleep after each measurement.
        fixed={0x1D: 0x80, 0x74: 0x00},
    )


def vl53l0x() -> SimulatedBus:
    return ByteRegisters(
        {0xC0: b"\xee\xaa\x10", 0x50: b"\x06", 0x70: b"\x04", 0x51: b"\x00\x96", 0x71: b"\x01\xfe"},
        # A measurement starts and ends at once; it found 123 mm.
        fixed={0x00: 0, 0x13: 0x07, 0x83: 0x01, 0x1E: 0, 0x1F: 123},
    )


def ads1115(module: ModuleType) -> Any:
    # The conversion has ended; 4.096 V are 32,768 steps.
    bus = WordRegisters({0x00: big_endian(16384)}, fixed={0x01: b"\x85\x83"})
    return import_module("adafruit_ads1x15.analog_in").AnalogIn(module.ADS1115(bus), 0)


def dht22(module: ModuleType) -> Any:
    """The example of the AM2302's datasheet: 65.2 % and 35.1 degrees."""

    class WithoutPin(module.DHT22):  # type: ignore[misc, name-defined]
        def _get_pulses_bitbang(self) -> array[int]:
            bits = f"{0x028C015FEE:040b}"
            return array("H", [width for bit in bits for width in (50, 70 if bit == "1" else 26)] + [50])

    return WithoutPin(pin=None, use_pulseio=False)


def ds18b20(module: ModuleType) -> Any:
    """A value of the table in the datasheet: 0x0191 is 25.0625 degrees."""
    address = import_module("adafruit_onewire.bus").OneWireAddress(bytearray(b"\x28\x16\x03\xa2\x79\x0c\x1b\x00"))
    return module.DS18X20(Ds18b20Bus(bytes.fromhex("91014b467fff0c10")), address)


def on(bus: Callable[[], SimulatedBus], name: str) -> Callable[[ModuleType], Any]:
    return lambda module: getattr(module, name)(bus())


# A value of a datasheet, or a plausible range where the datasheet has no example.
Expected = dict[str, float | tuple[float, float]]
DRIVERS: dict[str, tuple[Callable[[ModuleType], Any], Expected]] = {
    # 175 * 26214 / 65535 - 45 and 125 * 29360 / 65535 - 6: datasheet, section 4.6.
    "adafruit_sht4x.SHT4x": (
        on(lambda: Commands({b"\xfd": sensirion(26214, 29360)}), "SHT4x"),
        {"temperature": 25.0, "humidity": 50.0},
    ),
    "adafruit_sht31d.SHT31D": (
        on(lambda: Commands({b"\x24\x00": sensirion(26214, 32768)}), "SHT31D"),
        {"temperature": 25.0, "humidity": 50.0},
    ),
    "adafruit_bme280.basic.Adafruit_BME280_I2C": (
        on(bme280, "Adafruit_BME280_I2C"),
        {"temperature": 25.08, "pressure": 100_653, "humidity": (0, 100)},
    ),
    "adafruit_bme680.Adafruit_BME680_I2C": (
        on(bme680, "Adafruit_BME680_I2C"),
        {"temperature": 25.78, "pressure": (30_000, 110_000), "humidity": (0, 100), "gas-resistance": (1, 100e6)},
    ),
    "adafruit_ads1x15.ads1115.ADS1115": (ads1115, {"voltage": 2.048}),
    # Steps of 4 mV, 2 mW and 0.1 mA: datasheet, sections 8.5.1 and 8.6.3.
    "adafruit_ina219.INA219": (
        on(
            lambda: WordRegisters(
                {0x00: b"\0\0", 0x02: big_endian(3000 << 3), 0x03: big_endian(3000)}, {0x04: big_endian(5000)}
            ),
            "INA219",
        ),
        {"voltage": 12.0, "power": 6.0, "current": 0.5},
    ),
    # The example of the datasheet, section 3.6.2.
    "adafruit_scd4x.SCD4X": (
        on(lambda: Commands({b"\xe4\xb8": sensirion(0x8006), b"\xec\x05": sensirion(0x01F4, 0x6667, 0x5EB9)}), "SCD4X"),
        {"co2": 500, "temperature": 25.0, "humidity": 37.0},
    ),
    # The driver measures in steps of half a lux.
    "adafruit_bh1750.BH1750": (on(lambda: Commands({b"": big_endian(0x8390)}), "BH1750"), {"illuminance": 14_033.3}),
    # The ambient temperature without its alarm bits: datasheet, section 5.1.3.
    "adafruit_mcp9808.MCP9808": (
        on(lambda: WordRegisters({0x05: b"\xc1\x94", 0x06: b"\x00\x54", 0x07: b"\x04\x00"}), "MCP9808"),
        {"temperature": 25.25},
    ),
    "adafruit_tsl2591.TSL2591": (
        on(lambda: ByteRegisters({0x12: b"\x50", 0x14: little_endian(1000, 300)}, mask=0x1F), "TSL2591"),
        {"illuminance": 82.9},
    ),
    "adafruit_veml7700.VEML7700": (
        on(lambda: WordRegisters({0x00: b"\0\0", 0x04: little_endian(1000)}), "VEML7700"),
        {"illuminance": (400, 700)},
    ),
    "adafruit_vl53l0x.VL53L0X": (on(vl53l0x, "VL53L0X"), {"distance": 0.123}),
    "adafruit_dht.DHT22": (dht22, {"temperature": 35.1, "humidity": 65.2}),
    "adafruit_ds18x20.DS18X20": (ds18b20, {"temperature": 25.0625}),
    "adafruit_mpu6050.MPU6050": (
        on(mpu6050, "MPU6050"),
        {"temperature": 25.0, "acceleration/z": 9.80665, "angular-rate/x": 0.17453},
    ),
}


@pytest.fixture(autouse=True)
def _drivers_do_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "sleep", lambda _: None)


def driver_of(name: str) -> Any:
    module_name, _, _ = name.rpartition(".")
    module = pytest.importorskip(module_name, reason="the driver is missing: pip install 'iotpi[dev]'")
    if hasattr(module, "sleep"):
        module.sleep = time.sleep
    make, _ = DRIVERS[name]
    return make(module)


@pytest.mark.parametrize("name", DRIVERS)
def test_the_values_of_a_driver_are_recorded_in_the_units_of_the_hub(name: str, recording_hub: RecordingHub) -> None:
    module = iotpi.Module("sensor")
    module.adapt(driver_of(name), every=10)

    recording_hub.run_once(module)

    readings = recording_hub.wait_for_readings("sensor")
    values = {one.type if one.channel is None else f"{one.type}/{one.channel}": one.value for one in readings}
    _, expected = DRIVERS[name]
    for key, wanted in expected.items():
        value = values[key]
        assert value is not None
        if isinstance(wanted, tuple):
            assert wanted[0] <= value <= wanted[1], key
        else:
            assert value == pytest.approx(wanted, rel=1e-3), key
    assert {key.partition("/")[0] for key in values} == {key.partition("/")[0] for key in expected}


def test_the_guide_lists_these_drivers() -> None:
    listed = re.findall(r"^\| `(adafruit_[\w.]+)`", GUIDE.read_text(), re.MULTILINE)

    assert listed == list(DRIVERS)
