"""iotpi: Raspberry Pi systems of independent modules and one hub.

A module, in six lines::

    import iotpi

    @iotpi.sensor("temperature", unit="celsius", every=60)
    def read():
        return 21.5

    iotpi.run("my-module")

``sensor``, ``action``, ``run`` and the other functions here are the methods of one default :class:`Module`. A program
with several modules, or a test, creates its own. :class:`Client` sends requests to a hub, :class:`iotpi.aio.Client`
does so for asyncio. Every exception is an :class:`Error`. The package logs to the logger ``iotpi``.
"""

from . import aio
from ._iotpi import __version__
from ._query import AsyncQuery, Query
from ._run_all import run_all
from ._streams import AsyncStream, Stream
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
    UnknownEvent,
)
from .module import Module, action, adapt, camera, declare, make_safe, record, run, sensor, serve, state, stop
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
from .samples import Sample, Series

__all__ = [
    "AsyncQuery",
    "AsyncStream",
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
    "Query",
    "RateLimited",
    "Reading",
    "ReadingStored",
    "Recent",
    "Refused",
    "Resync",
    "Sample",
    "Series",
    "SeriesDelivery",
    "StorageFull",
    "Stored",
    "Stream",
    "Timeout",
    "TooLarge",
    "Unauthenticated",
    "Unavailable",
    "UnknownEvent",
    "Unprocessable",
    "Watching",
    "__version__",
    "action",
    "adapt",
    "aio",
    "camera",
    "declare",
    "make_safe",
    "record",
    "run",
    "run_all",
    "sensor",
    "serve",
    "state",
    "stop",
]
