"""What the live line says. `match` on the class to tell events apart."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from .records import CameraInfo, Command, ModuleInfo, Reading, camera_info, module_info


@dataclass(frozen=True, slots=True)
class Hello:
    """First of all: the hub's wall clock (Unix seconds) and version."""

    hub_time: float
    version: str


@dataclass(frozen=True, slots=True)
class Recent:
    """The present, as of event ``seq``: comes after ``Hello`` and after each ``Resync``. Readings oldest first."""

    seq: int
    readings: list[Reading]
    modules: list[ModuleInfo]
    cameras: list[CameraInfo]


@dataclass(frozen=True, slots=True)
class ReadingStored:
    """A reading was stored."""

    seq: int
    reading: Reading


@dataclass(frozen=True, slots=True)
class ModuleChanged:
    """A module registered, or its state or health changed."""

    seq: int
    module: ModuleInfo


@dataclass(frozen=True, slots=True)
class ModuleRemoved:
    """A module was removed."""

    seq: int
    module_id: str


@dataclass(frozen=True, slots=True)
class CommandChanged:
    """A command entered a state."""

    seq: int
    command: Command


@dataclass(frozen=True, slots=True)
class CameraSeen:
    """A camera delivers, or does no longer; at most once a second for each."""

    seq: int
    camera: CameraInfo


@dataclass(frozen=True, slots=True)
class Resync:
    """This program was too slow and missed so many events; a ``Recent`` follows."""

    seq: int
    missed: int


Event = Hello | Recent | ReadingStored | ModuleChanged | ModuleRemoved | CommandChanged | CameraSeen | Resync


def event_of(message: str) -> Event:
    """The event in a message of the hub, which the native half has checked."""
    said: dict[str, Any] = json.loads(message)
    match said["type"]:
        case "hello":
            return Hello(said["hub_time"], said["version"])
        case "recent":
            return Recent(
                said["seq"],
                [Reading(**reading) for reading in said["readings"]],
                [module_info(**module) for module in said["modules"]],
                [camera_info(**camera) for camera in said["cameras"]],
            )
        case "reading":
            return ReadingStored(said["seq"], Reading(**said["reading"]))
        case "module":
            return ModuleChanged(said["seq"], module_info(**said["module"]))
        case "module_removed":
            return ModuleRemoved(said["seq"], said["module_id"])
        case "command":
            return CommandChanged(said["seq"], Command(**said["command"]))
        case "camera":
            return CameraSeen(said["seq"], camera_info(**said["camera"]))
        case "resync":
            return Resync(said["seq"], said["missed"])
        case other:
            raise ValueError(f"no event is called {other!r}")
