"""Devices of other packages as parts of a module: CircuitPython drivers, gpiozero devices, picamera2 cameras.

They are recognized by their classes and attributes; this module imports their packages only when a device of theirs
exists already.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial
from io import BytesIO
from typing import TYPE_CHECKING, Annotated, Any

from .errors import InvalidArgument
from .samples import Series

if TYPE_CHECKING:
    from .module import Module

# The properties of CircuitPython drivers, whose units are fixed:
# https://docs.circuitpython.org/en/latest/docs/design_guide.html#sensor-properties-and-units
_PROPERTIES = {
    "temperature": Series("temperature", "celsius"),
    "relative_humidity": Series("humidity", "percent"),
    "humidity": Series("humidity", "percent"),
    "pressure": Series("pressure", "hectopascal"),
    "CO2": Series("co2", "ppm"),
    "eCO2": Series("co2", "ppm"),
    "TVOC": Series("tvoc", "ppb"),
    "lux": Series("illuminance", "lux"),
    "distance": Series("distance", "centimetre"),
    "weight": Series("weight", "gram"),
    "voltage": Series("voltage", "volt"),
    "current": Series("current", "milliampere"),
    # Not in that list, but common: INA219 and INA260, BME680.
    "bus_voltage": Series("voltage", "volt"),
    "power": Series("power", "watt"),
    "gas": Series("gas-resistance", "ohm"),
}
# Those with three values. Each axis is a channel.
_VECTORS = {
    "acceleration": Series("acceleration", "metre_per_second_squared"),
    "gyro": Series("angular-rate", "radian_per_second"),
    "magnetic": Series("magnetic-field", "microtesla"),
}
_AXES = ("x", "y", "z")


def adapt(module: Module, device: Any, name: str | None, channel: str | None, every: float | timedelta) -> None:
    """Adds a device to a module.

    Raises:
        InvalidArgument: It is no device of a supported package.
    """
    packages = {cls.__module__.partition(".")[0] for cls in type(device).__mro__}
    if "gpiozero" in packages:
        _adapt_gpiozero(module, device, name or _snake_case(type(device).__name__), channel, every)
    elif "picamera2" in packages:
        _adapt_picamera2(module, device)
    else:
        _adapt_circuitpython(module, device, channel, every)


def _adapt_circuitpython(module: Module, driver: Any, channel: str | None, every: float | timedelta) -> None:
    # The class is asked, because reading a property would start a measurement.
    found: dict[str, tuple[str, list[Series]]] = {}
    for attribute, series in _PROPERTIES.items():
        if hasattr(type(driver), attribute):
            found.setdefault(series.type, (attribute, [replace(series, channel=channel)]))
    for attribute, series in _VECTORS.items():
        if hasattr(type(driver), attribute):
            axes = [axis if channel is None else f"{channel}-{axis}" for axis in _AXES]
            found[series.type] = (attribute, [replace(series, channel=axis) for axis in axes])
    if not found:
        raise InvalidArgument(
            f"{type(driver).__name__} is no device of gpiozero or picamera2, and has none of the properties of a "
            f"CircuitPython driver ({', '.join([*_PROPERTIES, *_VECTORS])})"
        )

    @module.sensor(*(one for _, series in found.values() for one in series), every=every)
    def read() -> list[Any]:
        return [value for attribute, series in found.values() for value in _values(driver, attribute, len(series))]


def _values(driver: Any, attribute: str, count: int) -> Sequence[Any]:
    value = getattr(driver, attribute)
    if value is None:
        return [None] * count
    return [value] if count == 1 else list(value)


def _adapt_gpiozero(module: Module, device: Any, name: str, channel: str | None, every: float | timedelta) -> None:
    import gpiozero

    sensors: dict[type[Any], tuple[str, Series]] = {
        gpiozero.DistanceSensor: ("distance", Series("distance", "metre")),
        gpiozero.CPUTemperature: ("temperature", Series("temperature", "celsius")),
        gpiozero.DiskUsage: ("usage", Series("disk-usage", "percent")),
        gpiozero.AnalogInputDevice: ("voltage", Series("voltage", "volt")),
    }
    for cls, (attribute, series) in sensors.items():
        if isinstance(device, cls):
            module.sensor(series, channel=channel, every=every)(partial(getattr, device, attribute))
            return
    if isinstance(device, gpiozero.InputDevice) and hasattr(device, "when_activated"):
        _record_events(module, device, "motion" if isinstance(device, gpiozero.MotionSensor) else name, channel)
    elif isinstance(device, gpiozero.Servo | gpiozero.Motor):
        _add_output(module, device, name, -1.0, device.detach if isinstance(device, gpiozero.Servo) else device.stop)
    elif isinstance(device, gpiozero.PWMOutputDevice):
        _add_output(module, device, name, 0.0, device.off)
    elif isinstance(device, gpiozero.OutputDevice):
        _add_switch(module, device, name)
    else:
        raise InvalidArgument(f"there is no adapter for gpiozero.{type(device).__name__}")


def _record_events(module: Module, device: Any, name: str, channel: str | None) -> None:
    if device.when_activated is not None or device.when_deactivated is not None:
        raise InvalidArgument(f"`{name}` has a function for its events already")
    module.declare(name, unit="boolean", channel=channel)
    device.when_activated = lambda: module.record(name, True, channel=channel)
    device.when_deactivated = lambda: module.record(name, False, channel=channel)
    module.record(name, bool(device.is_active), channel=channel)


def _add_switch(module: Module, device: Any, name: str) -> None:
    @module.action(name, absolute=True, description=f"Switches {name}")
    def switch(on: bool) -> None:
        device.on() if on else device.off()

    _add_device(module, name, lambda: bool(device.value), device.off)


def _add_output(module: Module, device: Any, name: str, minimum: float, off: Callable[[], None]) -> None:
    def set_value(value: float) -> None:
        device.value = value

    set_value.__annotations__["value"] = Annotated[float, {"minimum": minimum, "maximum": 1.0}]
    module.action(name, absolute=True, description=f"Sets {name}")(set_value)
    _add_device(module, name, lambda: device.value, off)


def _add_device(module: Module, name: str, value: Callable[[], Any], off: Callable[[], None]) -> None:
    module._device_states[name] = value
    module._device_offs.append(off)


def _adapt_picamera2(module: Module, camera: Any) -> None:
    # In video mode, frames are captured at the rate of the sensor.
    if not camera.started:
        camera.configure(camera.create_video_configuration())
        camera.start()
    width, height = camera.camera_configuration()["main"]["size"]

    @module.camera(width=width, height=height)
    def capture() -> BytesIO:
        file = BytesIO()
        camera.capture_file(file, format="jpeg")
        return file


def _snake_case(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", name).lower()
