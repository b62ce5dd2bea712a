"""The messages of the live connection. Use ``match`` on the class to distinguish them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .records import CameraInfo, Command, ModuleInfo, Reading, camera_info, module_info


@dataclass(frozen=True, slots=True)
class Hello:
    """The first message: the hub's wall clock (Unix seconds) and version."""

    hub_time: float
    version: str


@dataclass(frozen=True, slots=True)
class Recent:
    """The current state as of event ``seq``, after ``Hello`` and after each ``Resync``. Readings are oldest first."""

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
    """A command changed its state."""

    seq: int
    command: Command


@dataclass(frozen=True, slots=True)
class CameraSeen:
    """A camera delivers frames or stopped delivering; at most once a second for each camera."""

    seq: int
    camera: CameraInfo


@dataclass(frozen=True, slots=True)
class Resync:
    """This program was too slow and missed ``missed`` events; a ``Recent`` follows."""

    seq: int
    missed: int


@dataclass(frozen=True, slots=True)
class UnknownEvent:
    """A message of a type that this version does not know, from a newer hub; ``fields`` is its content."""

    type: str
    fields: Mapping[str, Any]


Event = (
    Hello | Recent | ReadingStored | ModuleChanged | ModuleRemoved | CommandChanged | CameraSeen | Resync | UnknownEvent
)


def event_of(message: str) -> Event:
    """Converts a message of the hub, which the native module has checked, to an event."""
    body: dict[str, Any] = json.loads(message)
    match body["type"]:
        case "hello":
            return Hello(body["hub_time"], body["version"])
        case "recent":
            return Recent(
                body["seq"],
                [Reading(**reading) for reading in body["readings"]],
                [module_info(**module) for module in body["modules"]],
                [camera_info(**camera) for camera in body["cameras"]],
            )
        case "reading":
            return ReadingStored(body["seq"], Reading(**body["reading"]))
        case "module":
            return ModuleChanged(body["seq"], module_info(**body["module"]))
        case "module_removed":
            return ModuleRemoved(body["seq"], body["module_id"])
        case "command":
            return CommandChanged(body["seq"], Command(**body["command"]))
        case "camera":
            return CameraSeen(body["seq"], camera_info(**body["camera"]))
        case "resync":
            return Resync(body["seq"], body["missed"])
        case unknown:
            return UnknownEvent(unknown, {name: value for name, value in body.items() if name != "type"})
