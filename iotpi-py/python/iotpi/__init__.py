"""iotpi: Raspberry Pi systems of independent modules and one hub.

A module, in six lines::

    import iotpi

    @iotpi.sensor("temperature", unit="celsius", every=60)
    def read():
        return 21.5

    iotpi.run("my-module")

``sensor``, ``action``, ``camera``, ``state``, ``make_safe`` and ``run`` here are those of one :class:`Module` that is
there from the start; a program with several modules, or a test, makes its own. :class:`Client` asks a hub and tells it
things, :class:`iotpi.aio.Client` does the same for asyncio, and everything that goes wrong is an :class:`Error`.
What runs behind the scenes logs to the logger ``iotpi``.
"""

from . import aio
from ._iotpi import __version__
from ._streams import Stream
from .client import Client, FramePublisher
from .errors import (
    Conflict,
    Error,
    Internal,
    InvalidArgument,
    ModuleFailed,
    NotFound,
    PermissionDenied,
    RateLimited,
    Refused,
    StorageFull,
    Timeout,
    TooLarge,
    Unauthenticated,
    Unavailable,
    Unprocessable,
)
from .events import (
    CameraSeen,
    CommandChanged,
    Event,
    Hello,
    ModuleChanged,
    ModuleRemoved,
    ReadingStored,
    Recent,
    Resync,
)
from .module import Module, action, camera, make_safe, run, sensor, state
from .records import (
    Bucket,
    CameraInfo,
    Command,
    Delivery,
    DeliveryAccount,
    Gap,
    HubHealth,
    Latency,
    Manifest,
    ModuleInfo,
    Reading,
    SeriesDelivery,
    Stored,
    Watching,
)

__all__ = [
    "Bucket",
    "CameraInfo",
    "CameraSeen",
    "Client",
    "Command",
    "CommandChanged",
    "Conflict",
    "Delivery",
    "DeliveryAccount",
    "Error",
    "Event",
    "FramePublisher",
    "Gap",
    "Hello",
    "HubHealth",
    "Internal",
    "InvalidArgument",
    "Latency",
    "Manifest",
    "Module",
    "ModuleChanged",
    "ModuleFailed",
    "ModuleInfo",
    "ModuleRemoved",
    "NotFound",
    "PermissionDenied",
    "RateLimited",
    "Reading",
    "ReadingStored",
    "Recent",
    "Refused",
    "Resync",
    "SeriesDelivery",
    "StorageFull",
    "Stored",
    "Stream",
    "Timeout",
    "TooLarge",
    "Unauthenticated",
    "Unavailable",
    "Unprocessable",
    "Watching",
    "__version__",
    "action",
    "aio",
    "camera",
    "make_safe",
    "run",
    "sensor",
    "state",
]
