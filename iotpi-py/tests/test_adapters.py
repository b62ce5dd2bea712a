"""Devices of other packages: real CircuitPython drivers on a simulated bus, real gpiozero devices on mock pins."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import adafruit_mpu6050
import gpiozero
import gpiozero.pins.mock
import iotpi
import pytest
from adafruit_bme280.basic import Adafruit_BME280_I2C
from iotpi.testing import RecordingHub
from simulated_buses import bme280, mpu6050
from stand_ins.picamera2 import Picamera2


def test_a_circuitpython_driver_is_a_sensor_of_all_its_quantities(recording_hub: RecordingHub) -> None:
    bus = bme280()
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


def test_each_axis_of_a_vector_is_a_channel(recording_hub: RecordingHub) -> None:
    driver = adafruit_mpu6050.MPU6050(mpu6050())
    module = iotpi.Module("gate")

    module.adapt(driver)
    module.adapt(driver, channel="hinge")
    recording_hub.run_once(module)

    channels = {(one.type, one.channel) for one in recording_hub.wait_for_readings("gate")}
    vectors = {(name, axis) for name in ("acceleration", "angular-rate") for axis in "xyz"}
    assert channels == {("temperature", None), *vectors} | {
        ("temperature", "hinge"), *((name, f"hinge-{axis}") for name, axis in vectors),
    }  # fmt: skip


def test_an_unplugged_circuitpython_device_is_a_reading_without_a_value(recording_hub: RecordingHub) -> None:
    bus = bme280()
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


def test_a_picamera2_is_the_camera(recording_hub: RecordingHub, jpeg: bytes) -> None:
    module = iotpi.Module("camera")
    camera = Picamera2()
    camera.jpeg = jpeg
    module.adapt(camera)

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
