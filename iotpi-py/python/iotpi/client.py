"""The blocking client. :mod:`iotpi.aio` has the same for asyncio."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any, Generic, Self, TypeVar, cast

from . import _iotpi
from ._requests import Lines, Requests
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
    """A client of one hub: what a script or a notebook asks and says.

    It may be shared by threads; each call releases the interpreter while it waits, and Ctrl-C ends it. Connections are
    reused and need no closing. Every method raises :class:`iotpi.Error` of the kind that fits, among them
    :class:`iotpi.Unavailable` when the hub is not there and :class:`iotpi.Timeout` when it does not answer.

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

    def health(self) -> HubHealth:
        """How the hub is."""
        return self._requests.health().wait()

    def readings(
        self,
        type: str,
        *,
        module: str | None = None,
        since: Moment | None = None,
        until: Moment | None = None,
        limit: int | None = 100,
        ascending: bool = False,
    ) -> list[Reading]:
        """Records of one sensor type, newest first.

        Args:
            type: What was measured, such as ``temperature``.
            module: Only this module's.
            since: From this moment on, inclusive.
            until: Up to this moment, exclusive.
            limit: At most so many; ``None`` for all there are. More than 1,000 are read in several requests.
            ascending: Oldest first.
        """
        return self._requests.readings(type, module, since, until, limit, ascending).wait()

    def latest(self, module: str | None = None) -> list[Reading]:
        """Every series as its newest record, by module and type.

        Args:
            module: Only this module's.
        """
        return self._requests.latest(module).wait()

    def history(
        self,
        type: str,
        bucket: BucketWidth = "1h",
        *,
        module: str | None = None,
        since: Moment | None = None,
        until: Moment | None = None,
        limit: int | None = 1000,
    ) -> list[Bucket]:
        """Records of one sensor type summed up over UTC-aligned stretches of time.

        Args:
            type: What was measured.
            bucket: How wide a stretch is: ``1m``, ``5m``, ``15m``, ``1h``, ``6h`` or ``1d``.
            module: Only this module's.
            since: From this moment on, inclusive.
            until: Up to this moment, exclusive.
            limit: At most so many; ``None`` for all there are.
        """
        return self._requests.history(type, bucket, module, since, until, limit).wait()

    def record(
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
        """Delivers one reading; it is on the hub's disk when this returns.

        Args:
            type: What was measured.
            value: A finite number; ``True`` or ``False`` for 1 or 0, in the unit ``boolean`` if none is given; ``None``
                for a measurement that was tried and failed.
            module: Whose it is.
            unit: What ``value`` is in; without it, the series' own unit. The first reading of a type of your own needs
                one; ``"1"`` means no unit. A value that cannot be meant in the series' unit is refused without one.
            timestamp: When it was measured; without it, the moment it arrives.
            reason: With a ``value`` of ``None``: why, up to 200 characters.
            epoch: With ``seq``: which count of the module it belongs to, 1 to 2**53 - 1.
            seq: The number the module gave this reading; 1, then one more each. Sent again with it, because nobody
                knows whether the first request arrived, it is stored once.
            age: In place of ``timestamp``, for a clock that was never set: seconds since it was measured, up to a year.

        Returns:
            1, or 0 when it had been stored before.
        """
        return self._requests.record(type, value, module, unit, timestamp, reason, epoch, seq, age).wait()

    def record_many(self, readings: Iterable[Reading]) -> Stored:
        """Delivers up to 1,000 readings of any types, all or none, and returns how many were stored.

        Raises:
            Unprocessable: One of them cannot be; ``pointer`` says which, such as ``/3``.
        """
        return self._requests.record_many(readings).wait()

    def gaps(
        self,
        module: str | None = None,
        *,
        type: str | None = None,
        since: Moment | None = None,
        until: Moment | None = None,
        limit: int | None = 100,
    ) -> list[Gap]:
        """Readings that will never arrive, as their modules said, by the moment they begin.

        Args:
            module: Only this module's.
            type: Only those of this sensor type, or of one nobody knows.
            since: Only those that end at this moment or later.
            until: Only those that begin before this moment.
            limit: At most so many; ``None`` for all there are.
        """
        return self._requests.gaps(module, type, since, until, limit).wait()

    def delivery(self, module: str) -> DeliveryAccount:
        """How many of a module's numbered readings arrived, were lost, or are missing: in all, and series by series.

        Raises:
            NotFound: The hub does not know the module.
        """
        return self._requests.delivery(module).wait()

    def cameras(self) -> list[CameraInfo]:
        """The cameras, and who watches them."""
        return self._requests.cameras().wait()

    def snapshot(self, module: str | None = None) -> bytes:
        """The newest picture of a camera, a JPEG file; without ``module``, of the only camera.

        Raises:
            NotFound: There is none yet.
            InvalidArgument: There are several cameras; ``choices`` names them.
        """
        return self._requests.snapshot(module).wait()

    def publish(self, module: str, jpeg: bytes, *, timestamp: Moment | None = None, sequence: int | None = None) -> int:
        """Publishes one frame of a module's camera and returns the number of viewers. For many frames use
        :meth:`stream_frames`.

        It replaces the frame before it and is not stored.

        Args:
            module: The id of the camera's module.
            jpeg: A JPEG file, up to 8 MiB.
            timestamp: The capture time; by default the current time.
            sequence: The camera's own number of the frame, one more than the number before, so that missing frames are counted.
        """
        return self._requests.publish(module, jpeg, timestamp, sequence).wait()

    def stream_frames(self, module: str) -> FramePublisher:
        """Uploads frames of a module's camera on one connection, which is opened with the first frame.

        Args:
            module: The id of the camera's module.
        """
        return FramePublisher(self._requests.stream_frames(module))

    def frames(self, module: str | None = None) -> Stream[bytes]:
        """A camera's pictures as they come, JPEG files; those this program is too slow for are skipped."""
        return Stream(self._requests.frames(module).wait())

    def modules(self) -> list[ModuleInfo]:
        """Every module."""
        return self._requests.modules().wait()

    def module(self, id: str) -> ModuleInfo:
        """One module.

        Raises:
            NotFound: The hub does not know it.
        """
        return self._requests.module(id).wait()

    def control(
        self,
        module: str,
        action: str,
        params: Mapping[str, Any] | None = None,
        *,
        expires_in: float | None = None,
        key: str | None = None,
    ) -> Command:
        """Asks a module to do something. Returns when the command is stored; :meth:`wait` waits until it is done.

        Args:
            module: Whom.
            action: What: one of the actions of its manifest.
            params: How, as the action's schema has it.
            expires_in: Seconds until it is no longer to be done, 1 to 86,400; the hub's default is 60.
            key: 1 to 64 visible ASCII characters: asked again with the same one, the hub answers with the first
                command instead of making another.

        Raises:
            Unprocessable: The module does not offer that.
            Conflict: The key was another request's.
        """
        return self._requests.control(module, action, params, expires_in, key).wait()

    def command(self, id: str) -> Command:
        """One command's life so far."""
        return self._requests.command(id).wait()

    def wait(self, command: Command | str, timeout: float = 60.0) -> Command:
        """Waits until nothing more will happen to a command, and returns it as it then is.

        Args:
            command: The command or its id.
            timeout: Seconds.

        Raises:
            Timeout: It was not finished in time.
        """
        return self._requests.wait(command, timeout).wait()

    def cancel(self, id: str) -> Command:
        """Takes back a command that is still queued.

        Raises:
            Conflict: Its module has it already.
        """
        return self._requests.cancel(id).wait()

    def live(
        self,
        kinds: Iterable[EventKind] | None = None,
        modules: Iterable[str] | None = None,
        sensors: Iterable[str] | None = None,
        recent: int = 1,
    ) -> Stream[Event]:
        """What happens in the hub, as it happens: ``Hello``, the present as ``Recent``, then events.

        The iteration ends when the hub stops, and raises :class:`iotpi.Unavailable` when the line breaks; it does not
        connect again by itself.

        Args:
            kinds: Only these: ``reading``, ``module``, ``command``, ``camera``.
            modules: Only these modules'.
            sensors: Of the readings, only these types.
            recent: How many of the newest readings of each series come first, 0 to 1,000.
        """
        return Stream(self._requests.live(kinds, modules, sensors, recent).wait())


class Stream(Generic[T]):
    """Things that keep coming: iterate over it, and close it when done (``with`` does)."""

    def __init__(self, lines: Lines[T]) -> None:
        self._lines = lines

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        line = self._lines.next().wait()
        if line is None:
            raise StopIteration
        return line

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Hangs up; an iteration that waits in another thread ends."""
        self._lines.close()


class FramePublisher:
    """Uploads a camera's frames on one connection. The hub receives the newest frame whenever it can take one.

    ``publish`` never waits: a frame that was not sent when the next one is published is dropped. The connection is opened
    again by itself when it breaks or the hub is away, and the newest frame is then sent again. Frames are numbered and
    carry the offset between this machine's clock and the hub's. Close the publisher when done (``with`` does).
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

    def wait_for_demand(self) -> bool:
        """Waits until the next frame is wanted and returns ``True``; ``False`` when the publisher was closed.

        Returns at once while the camera has a viewer, otherwise a second after the last frame or when the first viewer
        connects.
        """
        return cast(str, self._publisher.wait_for_demand().wait()) == "true"

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

    def close(self) -> None:
        """Ends the upload. The last frame is still sent if that takes at most a second."""
        self._publisher.close().wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
