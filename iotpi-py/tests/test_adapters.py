"""Devices of other packages: real CircuitPython drivers on a simulated bus, real gpiozero devices on mock pins."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from typing import Any

import gpiozero
import gpiozero.pins.mock
import iotpi
import pytest
from adafruit_bme280.basic import Adafruit_BME280_I2C
from iotpi.testing import RecordingHub


class SimulatedBus:
    """An I2C bus of CircuitPython with one device, whose registers answer reads."""

    def __init__(self, registers: dict[int, bytes]) -> None:
        self.memory = bytearray(256)
        for register, content in registers.items():
            self.memory[register : register + len(content)] = content
        self.unplugged = False
        self._register = 0

    def try_lock(self) -> bool:
        return True

    def unlock(self) -> None:
        pass

    def writeto(self, address: int, buffer: bytes, *, start: int = 0, end: int | None = None) -> None:
        if self.unplugged:
            raise OSError(121, "Remote I/O error")
        written = buffer[start:end]
        if written:
            self._register = written[0]
        if len(written) > 1:
            self.memory[self._register : self._register + len(written) - 1] = written[1:]

    def readfrom_into(self, address: int, buffer: bytearray, *, start: int = 0, end: int | None = None) -> None:
        if self.unplugged:
            raise OSError(121, "Remote I/O error")
        length = len(buffer[start:end])
        buffer[start:end] = self.memory[self._register : self._register + length]


def little_endian(*words: int) -> bytes:
    return b"".join((word & 0xFFFF).to_bytes(2, "little") for word in words)


def big_endian(value: int) -> bytes:
    """A measured value of 20 bits."""
    return (value << 4).to_bytes(3, "big")


# The compensation parameters and raw values of the example in the BMP280's datasheet, section 3.12.
BME280 = {
    0xD0: b"\x60",
    0x88: little_endian(27504, 26435, -1000, 36477, -10685, 3024, 2855, 140, -7, 15500, -14600, 6000),
    0xA1: b"\x4b",
    0xE1: little_endian(370) + b"\x00\x13\x27\x03\x1e",
    0xF7: big_endian(415148) + big_endian(519888) + b"\x7a\x00",
}


def test_a_circuitpython_driver_is_a_sensor_of_all_its_quantities(recording_hub: RecordingHub) -> None:
    bus = SimulatedBus(BME280)
    module = iotpi.Module("weather")

    module.adapt(Adafruit_BME280_I2C(bus), every=10)
    recording_hub.run_once(module)

    [temperature] = recording_hub.values("temperature")
    [pressure] = recording_hub.values("pressure")
    [humidity] = recording_hub.values("humidity")
    assert temperature == pytest.approx(25.08, abs=0.01)
    assert pressure == pytest.approx(100653, abs=3)
    assert humidity is not None
    assert 0 < humidity < 100
    manifest = recording_hub.manifest("weather")
    assert manifest is not None
    assert {measure["type"]: measure.get("every_secs") for measure in manifest["measures"]} == {
        "temperature": 10, "humidity": 10, "pressure": 10,
    }  # fmt: skip


def test_an_unplugged_circuitpython_device_is_a_reading_without_a_value(recording_hub: RecordingHub) -> None:
    bus = SimulatedBus(BME280)
    module = iotpi.Module("weather")
    module.adapt(Adafruit_BME280_I2C(bus))
    bus.unplugged = True

    with pytest.raises(iotpi.ModuleFailed, match="Remote I/O error"):
        recording_hub.run_once(module)

    assert recording_hub.values("temperature") == [None]


@pytest.fixture
def pins() -> Iterator[gpiozero.pins.mock.MockFactory]:
    factory = gpiozero.pins.mock.MockFactory(pin_class=gpiozero.pins.mock.MockPWMPin)
    before, gpiozero.Device.pin_factory = gpiozero.Device.pin_factory, factory
    yield factory
    factory.reset()
    gpiozero.Device.pin_factory = before


def test_a_button_records_its_edges(pins: gpiozero.pins.mock.MockFactory, recording_hub: RecordingHub) -> None:
    module = iotpi.Module("door")
    with gpiozero.Button(17) as button:
        module.adapt(button, "bell")
        with recording_hub.running(module):
            recording_hub.wait_for_readings("door")
            pins.pin(17).drive_low()
            pins.pin(17).drive_high()
            readings = recording_hub.wait_for_readings("door", 3)

        assert [(reading.type, reading.value, reading.unit) for reading in readings] == [
            ("bell", 0, "boolean"),
            ("bell", 1, "boolean"),
            ("bell", 0, "boolean"),
        ]
        with pytest.raises(iotpi.InvalidArgument, match="has a function for its events already"):
            iotpi.Module("other").adapt(button)


def test_outputs_are_actions_with_a_state_and_a_safe_state(
    pins: gpiozero.pins.mock.MockFactory, recording_hub: RecordingHub
) -> None:
    module = iotpi.Module("lights")
    order: list[str] = []

    @module.state
    def state() -> dict[str, object]:
        return {"mode": "manual"}

    @module.make_safe
    def make_safe() -> None:
        order.append("own")

    with gpiozero.LED(2) as led, gpiozero.PWMLED(3) as dimmer, gpiozero.Servo(4) as servo:
        module.adapt(led, "lamp")
        module.adapt(dimmer)
        module.adapt(servo, "arm")
        with recording_hub.running(module):
            assert recording_hub.control("lights", "lamp", {"on": True}).succeeded
            assert recording_hub.control("lights", "pwmled", {"value": 0.5}).succeeded
            assert recording_hub.control("lights", "arm", {"value": -1}).succeeded
            assert recording_hub.control("lights", "arm", {"value": 2}).state == "failed"
            assert (led.value, dimmer.value, servo.value) == (1, 0.5, -1)

        assert (led.value, dimmer.value, servo.value) == (0, 0, None)
    assert order == ["own"]
    assert {"mode": "manual", "lamp": True, "pwmled": 0.5, "arm": -1} in recording_hub.states("lights")
    manifest = recording_hub.manifest("lights")
    assert manifest is not None
    assert manifest["actions"][1]["params"]["properties"]["value"] == {"type": "number", "minimum": 0, "maximum": 1}


@pytest.mark.usefixtures("pins")
def test_sensors_of_gpiozero_are_read(recording_hub: RecordingHub, tmp_path: Any) -> None:
    (tmp_path / "temp").write_text("48312\n")
    module = iotpi.Module("pi")
    with gpiozero.CPUTemperature(sensor_file=str(tmp_path / "temp")) as cpu, gpiozero.DiskUsage() as disk:
        module.adapt(cpu)
        module.adapt(disk)
        recording_hub.run_once(module)

    assert recording_hub.values("temperature") == [pytest.approx(48.312)]
    [usage] = recording_hub.values("disk-usage")
    assert usage is not None
    assert 0 < usage <= 100


class Picamera2:
    """The methods of ``picamera2.Picamera2`` that the adapter uses; the package needs libcamera's Python bindings."""

    def __init__(self, jpeg: bytes) -> None:
        self.started = False
        self.jpeg = jpeg

    def create_video_configuration(self) -> dict[str, object]:
        return {"main": {"size": (1280, 720)}}

    def configure(self, configuration: dict[str, Any]) -> None:
        self.configuration = configuration

    def camera_configuration(self) -> dict[str, Any]:
        return self.configuration

    def start(self) -> None:
        self.started = True

    def capture_file(self, file_output: BytesIO, name: str = "main", format: str | None = None) -> None:
        assert (name, format) == ("main", "jpeg")
        file_output.write(self.jpeg)


Picamera2.__module__ = "picamera2.picamera2"


def test_a_picamera2_is_the_camera(recording_hub: RecordingHub, jpeg: bytes) -> None:
    module = iotpi.Module("camera")
    module.adapt(Picamera2(jpeg))

    recording_hub.run_once(module)

    assert recording_hub.frames("camera") == [jpeg]
    manifest = recording_hub.manifest("camera")
    assert manifest is not None
    assert manifest.get("camera") == {"width": 1280, "height": 720, "fps": 10}


@pytest.mark.usefixtures("pins")
def test_what_is_no_device_is_refused() -> None:
    with pytest.raises(iotpi.InvalidArgument, match="str is no device of gpiozero or picamera2"):
        iotpi.Module("a").adapt("a string")
    with (
        gpiozero.LEDBoard(2, 3) as board,
        pytest.raises(iotpi.InvalidArgument, match=r"no adapter for gpiozero\.LEDBoard"),
    ):
        iotpi.Module("a").adapt(board)
