"""The client for asyncio: the methods of :class:`iotpi.Client`, to be awaited.

Requests run on the package's own threads, none of them the event loop's. A task that is cancelled gives its request up;
whether the hub got it is then not known.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from types import TracebackType
from typing import Any, Generic, Self, TypeVar, cast

from . import _iotpi
from ._requests import Lines, Request, Requests
from .errors import Error
from .events import Event
from .records import (
    Bucket,
    BucketWidth,
    CameraInfo,
    Command,
    DeliveryAccount,
    EventKind,
    Gap,
    HubHealth,
    ModuleInfo,
    Moment,
    Reading,
    Stored,
    unix_seconds,
)

T = TypeVar("T")


class Client:
    """:class:`iotpi.Client` for asyncio: the same arguments, the same methods, the same errors.

    Args:
        url: The hub, ``http://HOST:PORT``; else ``IOTPI_URL``, else ``http://127.0.0.1:8000``.
        token: An API token, a module token or a JWT; else ``IOTPI_TOKEN``, else none.
        timeout: Seconds one request may take.

    Raises:
        InvalidArgument: ``url`` is not the address of a hub.
    """

    def __init__(self, url: str | None = None, token: str | None = None, timeout: float = 10.0) -> None:
        self._requests = Requests(url, token, timeout)

    def __repr__(self) -> str:
        return f"{type(self).__module__}.{type(self).__name__}({self.url!r})"

    @property
    def url(self) -> str:
        """The hub's address."""
        return self._requests.hub.url

    async def health(self) -> HubHealth:
        """How the hub is."""
        return await self._requests.health()

    async def readings(
        self,
        type: str,
        *,
        module: str | None = None,
        since: Moment | None = None,
        until: Moment | None = None,
        limit: int | None = 100,
        ascending: bool = False,
    ) -> list[Reading]:
        """Records of one sensor type, newest first."""
        return await self._requests.readings(type, module, since, until, limit, ascending)

    async def latest(self, module: str | None = None) -> list[Reading]:
        """Every series as its newest record, by module and type."""
        return await self._requests.latest(module)

    async def history(
        self,
        type: str,
        bucket: BucketWidth = "1h",
        *,
        module: str | None = None,
        since: Moment | None = None,
        until: Moment | None = None,
        limit: int | None = 1000,
    ) -> list[Bucket]:
        """Records of one sensor type summed up over UTC-aligned stretches of time."""
        return await self._requests.history(type, bucket, module, since, until, limit)

    async def record(
        self,
        type: str,
        value: float | None,
        *,
        module: str,
        unit: str | None = None,
        timestamp: Moment | None = None,
        reason: str | None = None,
        epoch: int | None = None,
        seq: int | None = None,
        age: float | None = None,
    ) -> Stored:
        """Delivers one reading; it is on the hub's disk when this returns."""
        return await self._requests.record(type, value, module, unit, timestamp, reason, epoch, seq, age)

    async def record_many(self, readings: Iterable[Reading]) -> Stored:
        """Delivers up to 1,000 readings of any types, all or none, and returns how many were stored."""
        return await self._requests.record_many(readings)

    async def gaps(
        self,
        module: str | None = None,
        *,
        type: str | None = None,
        since: Moment | None = None,
        until: Moment | None = None,
        limit: int | None = 100,
    ) -> list[Gap]:
        """Readings that will never arrive, as their modules said, by the moment they begin."""
        return await self._requests.gaps(module, type, since, until, limit)

    async def delivery(self, module: str) -> DeliveryAccount:
        """How many of a module's numbered readings arrived, were lost, or are missing."""
        return await self._requests.delivery(module)

    async def cameras(self) -> list[CameraInfo]:
        """The cameras, and who watches them."""
        return await self._requests.cameras()

    async def snapshot(self, module: str | None = None) -> bytes:
        """The newest picture of a camera, a JPEG file; without ``module``, of the only camera."""
        return await self._requests.snapshot(module)

    async def publish(
        self, module: str, jpeg: bytes, *, timestamp: Moment | None = None, sequence: int | None = None
    ) -> int:
        """Publishes one frame of a module's camera and returns the number of viewers. For many frames use
        :meth:`stream_frames`.
        """
        return await self._requests.publish(module, jpeg, timestamp, sequence)

    def stream_frames(self, module: str) -> FramePublisher:
        """Uploads frames of a module's camera on one connection, which is opened with the first frame."""
        return FramePublisher(self._requests.stream_frames(module))

    def frames(self, module: str | None = None) -> Stream[bytes]:
        """A camera's pictures as they come, JPEG files; those this program is too slow for are skipped."""
        return Stream(self._requests.frames(module))

    async def modules(self) -> list[ModuleInfo]:
        """Every module."""
        return await self._requests.modules()

    async def module(self, id: str) -> ModuleInfo:
        """One module."""
        return await self._requests.module(id)

    async def control(
        self,
        module: str,
        action: str,
        params: Mapping[str, Any] | None = None,
        *,
        expires_in: float | None = None,
        key: str | None = None,
    ) -> Command:
        """Asks a module to do something. Returns when the command is stored; :meth:`wait` waits until it is done."""
        return await self._requests.control(module, action, params, expires_in, key)

    async def command(self, id: str) -> Command:
        """One command's life so far."""
        return await self._requests.command(id)

    async def wait(self, command: Command | str, timeout: float = 60.0) -> Command:
        """Waits until nothing more will happen to a command, and returns it as it then is."""
        return await self._requests.wait(command, timeout)

    async def cancel(self, id: str) -> Command:
        """Takes back a command that is still queued."""
        return await self._requests.cancel(id)

    def live(
        self,
        kinds: Iterable[EventKind] | None = None,
        modules: Iterable[str] | None = None,
        sensors: Iterable[str] | None = None,
        recent: int = 1,
    ) -> Stream[Event]:
        """What happens in the hub, as it happens: ``Hello``, the present as ``Recent``, then events."""
        return Stream(self._requests.live(kinds, modules, sensors, recent))


class Stream(Generic[T]):
    """Things that keep coming: ``async for`` over it, and close it when done (``async with`` does).

    It connects when it is entered or first asked for something.
    """

    def __init__(self, opening: Request[Lines[T]]) -> None:
        self._opening: Request[Lines[T]] | None = opening
        self._lines: Lines[T] | None = None

    def __aiter__(self) -> AsyncIterator[T]:
        return self

    async def __anext__(self) -> T:
        await self._open()
        line = None if self._lines is None else await self._lines.next()
        if line is None:
            raise StopAsyncIteration
        return line

    async def __aenter__(self) -> Self:
        await self._open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Hangs up; an iteration that waits in another task ends."""
        self._opening = None
        if self._lines is not None:
            self._lines.close()

    async def _open(self) -> None:
        opening, self._opening = self._opening, None
        if opening is not None:
            self._lines = await opening


class FramePublisher:
    """The asyncio form of :class:`iotpi.FramePublisher`: uploads a camera's frames on one connection. The hub receives the newest frame whenever it can take one.

    ``publish`` never waits: a frame that was not sent when the next one is published is dropped. The connection is opened
    again by itself when it breaks or the hub is away, and the newest frame is then sent again. Frames are numbered and
    carry the offset between this machine's clock and the hub's. Close the publisher when done (``async with`` does).
    """

    def __init__(self, publisher: _iotpi.FramePublisher) -> None:
        self._publisher = publisher

    def publish(self, jpeg: bytes, *, timestamp: Moment | None = None, sequence: int | None = None) -> None:
        """Publishes a frame; returns at once.

        Args:
            jpeg: A JPEG file, up to 8 MiB.
            timestamp: The capture time; by default the current time.
            sequence: The camera's own number of the frame, one more than the number before; by default counted here.

        Raises:
            Unprocessable: The data is not a JPEG.
            ValueError: The publisher was closed.
        """
        self._publisher.publish(jpeg, unix_seconds(timestamp), sequence)

    async def wait_for_demand(self) -> bool:
        """Waits until the next frame is wanted and returns ``True``; ``False`` when the publisher was closed.

        Returns at once while the camera has a viewer, otherwise a second after the last frame or when the first viewer
        connects.
        """
        return cast(str, await Request(self._publisher.wait_for_demand(), _same)) == "true"

    @property
    def viewers(self) -> int:
        """The number of viewers in the hub's last answer; 0 while there is no connection."""
        return self._publisher.viewers

    @property
    def online(self) -> bool:
        """Whether a hub accepts the frames."""
        return self._publisher.online

    @property
    def refused(self) -> int:
        """The number of frames that the hub refused."""
        return self._publisher.refused

    @property
    def error(self) -> Error | None:
        """The last error, a refused frame or a broken connection; ``None`` after the next success."""
        return cast("Error | None", self._publisher.error)

    async def close(self) -> None:
        """Ends the upload. The last frame is still sent if that takes at most a second."""
        await Request(self._publisher.close(), _same)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


def _same(answer: T) -> T:
    return answer
