"""The blocking client. :mod:`iotpi.aio`, which is generated from this file, has the same methods for asyncio."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from ._query import Query
from ._requests import Requests, Upload
from ._streams import Stream
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
)

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    from ._jpeg import Jpeg


class Client:
    """A client of one hub, for scripts and notebooks.

    Threads may share it. Each call releases the interpreter while it waits, and Ctrl-C interrupts it. Connections are
    reused; ``with`` or :meth:`close` closes them early. Every method raises the :class:`iotpi.Error` of the matching
    kind, among them :class:`iotpi.Unavailable` when the hub cannot be reached and :class:`iotpi.Timeout` when it does
    not answer.

    Args:
        url: The hub, ``http://HOST[:PORT][/PREFIX]``; by default ``IOTPI_URL``, or ``http://127.0.0.1:8000``.
        token: An API token, a module token or a JWT; by default ``IOTPI_TOKEN``, or none.
        timeout: The time limit of one request in seconds.

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

    def close(self) -> None:
        """Closes the client's idle connections. Later requests raise ``ValueError``."""
        self._requests.close().wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._requests.close().wait()

    def health(self) -> HubHealth:
        """Returns the state of the hub."""
        return self._requests.health().wait()

    def readings(
        self,
        type: str,
        *,
        module: str | None = None,
        channel: str | None = None,
        since: Moment | None = None,
        until: Moment | None = None,
        limit: int | None = None,
        ascending: bool = False,
    ) -> Query[Reading]:
        """Returns all readings of one type, newest first, as an iterable that requests them as needed.

        Args:
            type: The quantity, such as ``temperature``.
            module: Only readings of this module.
            channel: Only readings of this channel; ``""`` for series without a channel; by default of all channels.
            since: The earliest time, inclusive.
            until: The latest time, exclusive.
            limit: The maximum number; by default all.
            ascending: Oldest first.
        """
        return Query(
            Reading,
            lambda: self._requests.readings(type, module, channel, since, until, limit, ascending),
            lambda: self._requests.hint(type, module),
        )

    def latest(self, module: str | None = None) -> list[Reading]:
        """Returns the newest reading of every series, by module and type.

        Args:
            module: Only series of this module.
        """
        return self._requests.latest(module).wait()

    def history(
        self,
        type: str,
        bucket: BucketWidth = "1h",
        *,
        module: str | None = None,
        channel: str | None = None,
        since: Moment | None = None,
        until: Moment | None = None,
        limit: int | None = None,
    ) -> Query[Bucket]:
        """Returns readings of one type, aggregated over UTC-aligned intervals, oldest first.

        Args:
            type: The quantity, such as ``temperature``.
            bucket: The width of an interval: ``1m``, ``5m``, ``15m``, ``1h``, ``6h`` or ``1d``.
            module: Only readings of this module.
            channel: Only readings of this channel; ``""`` for series without a channel; by default of all channels.
            since: The earliest time, inclusive.
            until: The latest time, exclusive.
            limit: The maximum number of buckets; by default all.
        """
        return Query(
            Bucket,
            lambda: self._requests.history(type, bucket, module, channel, since, until, limit),
            lambda: self._requests.hint(type, module),
        )

    def record(
        self,
        type: str,
        value: float | None,
        *,
        module: str,
        channel: str | None = None,
        unit: str | None = None,
        timestamp: Moment | None = None,
        reason: str | None = None,
        epoch: int | None = None,
        seq: int | None = None,
        age: float | None = None,
    ) -> Stored:
        """Delivers one reading. It is on the hub's disk when this returns.

        Args:
            type: The quantity, such as ``temperature``.
            value: A finite number; ``True`` or ``False`` for 1 or 0, in the unit ``boolean`` if none is given; ``None``
                for a measurement that failed.
            module: The id of the module the reading belongs to.
            channel: The channel of the series, if the module has several sensors of the type.
            unit: The unit of ``value``; by default the unit of the series. The first reading of a type of your own
                needs one; ``"1"`` means no unit. Without a unit, a value that is implausible in the series' unit is
                refused.
            timestamp: The time of the measurement; by default the time of arrival.
            reason: With a ``value`` of ``None``: the reason, up to 200 characters.
            epoch: With ``seq``: the epoch that the number belongs to, 1 to 2**53 - 1.
            seq: The module's number of this reading: 1, 2, 3, ... A reading that is sent again with its number, because
                the first answer was lost, is stored once.
            age: Instead of ``timestamp``, for a clock that was never set: the seconds since the measurement, up to a
                year.

        Returns:
            1, or 0 if the reading had been stored before.
        """
        return self._requests.record(type, value, module, channel, unit, timestamp, reason, epoch, seq, age).wait()

    def record_many(self, readings: Iterable[Reading]) -> Stored:
        """Delivers up to 1,000 readings of any types, all or none, and returns the number stored.

        Raises:
            Unprocessable: A reading was refused; ``pointer`` names it, such as ``/3``.
        """
        return self._requests.record_many(readings).wait()

    def gaps(
        self,
        module: str | None = None,
        *,
        type: str | None = None,
        channel: str | None = None,
        since: Moment | None = None,
        until: Moment | None = None,
        limit: int | None = None,
    ) -> Query[Gap]:
        """Returns the readings that modules reported as lost, by start time.

        Args:
            module: Only gaps of this module.
            type: Only gaps of this type, or of an unknown type.
            channel: Only gaps of this channel, or of an unknown series; ``""`` for series without a channel.
            since: Only gaps that end at or after this time.
            until: Only gaps that begin before this time.
            limit: The maximum number; by default all.
        """
        return Query(Gap, lambda: self._requests.gaps(module, type, channel, since, until, limit))

    def delivery(self, module: str) -> DeliveryAccount:
        """Returns how many numbered readings of a module arrived, were lost, or are missing, in total and by series.

        Raises:
            NotFound: The hub does not know the module.
        """
        return self._requests.delivery(module).wait()

    def cameras(self) -> list[CameraInfo]:
        """Returns the cameras and their viewers."""
        return self._requests.cameras().wait()

    def snapshot(self, module: str | None = None) -> bytes:
        """Returns the newest frame of a camera as a JPEG file; without ``module``, of the only camera.

        Raises:
            NotFound: There is no frame yet.
            InvalidArgument: There are several cameras; ``choices`` names them.
        """
        return self._requests.snapshot(module).wait()

    def publish(self, module: str, jpeg: Jpeg, *, timestamp: Moment | None = None, sequence: int | None = None) -> int:
        """Publishes one frame of a module's camera and returns the number of viewers.

        It replaces the frame before it and is not stored. For many frames use :meth:`stream_frames`.

        Args:
            module: The id of the camera's module.
            jpeg: A JPEG file up to 8 MiB, as bytes or another buffer, such as the array of ``cv2.imencode``, or as
                ``io.BytesIO``; or a PIL image, which is encoded.
            timestamp: The capture time; by default the current time.
            sequence: The camera's own number of the frame, one more than the number before, so that the hub counts
                missing frames.
        """
        return self._requests.publish(module, jpeg, timestamp, sequence).wait()

    def stream_frames(self, module: str) -> FramePublisher:
        """Uploads frames of a module's camera on one connection, which is opened with the first frame.

        Args:
            module: The id of the camera's module.
        """
        return FramePublisher(self._requests.stream_frames(module))

    def frames(self, module: str | None = None) -> Stream[bytes]:
        """Streams the frames of a camera as JPEG files. Frames that this program is too slow for are skipped."""
        return Stream(self._requests.frames(module))

    def modules(self) -> list[ModuleInfo]:
        """Returns all modules."""
        return self._requests.modules().wait()

    def module(self, id: str) -> ModuleInfo:
        """Returns one module.

        Raises:
            NotFound: The hub does not know it.
        """
        return self._requests.module(id).wait()

    def control(
        self,
        module: str,
        action: str,
        params: Mapping[str, Any] | DataclassInstance | None = None,
        *,
        expires_in: float | None = None,
        key: str | None = None,
    ) -> Command:
        """Sends a command to a module. Returns when the hub has stored it; :meth:`wait` waits for its outcome.

        Args:
            module: The id of the module.
            action: One of the actions in the module's manifest.
            params: The parameters, as the action's schema describes them: a dict or a dataclass. An ``Enum`` is sent as
                its value, a ``timedelta`` as a number of seconds.
            expires_in: The command's lifetime in seconds, 1 to 86,400; by default 60.
            key: An idempotency key of 1 to 64 visible ASCII characters: a repeated request with the same key returns
                the first command instead of creating another.

        Raises:
            Unprocessable: The module does not offer the action, or the parameters do not match its schema.
            Conflict: The key belongs to a different request.
        """
        return self._requests.control(module, action, params, expires_in, key).wait()

    def command(self, id: str) -> Command:
        """Returns the current state of a command."""
        return self._requests.command(id).wait()

    def wait(self, command: Command | str, timeout: float = 60.0) -> Command:
        """Waits until a command is in its final state and returns it.

        Args:
            command: The command or its id.
            timeout: The time limit in seconds.

        Raises:
            Timeout: The command did not finish in time.
        """
        return self._requests.wait(command, timeout).wait()

    def cancel(self, id: str) -> Command:
        """Cancels a command that is still queued.

        Raises:
            Conflict: The module has received it already.
        """
        return self._requests.cancel(id).wait()

    def live(
        self,
        kinds: Iterable[EventKind] | None = None,
        modules: Iterable[str] | None = None,
        sensors: Iterable[str] | None = None,
        recent: int = 1,
    ) -> Stream[Event]:
        """Streams the hub's events: ``Hello``, the current state as ``Recent``, then each event as it happens.

        The iteration ends when the hub stops, and raises :class:`iotpi.Unavailable` when the connection breaks. It does
        not reconnect by itself.

        Args:
            kinds: Only events of these kinds: ``reading``, ``module``, ``command``, ``camera``.
            modules: Only events of these modules.
            sensors: Only readings of these types.
            recent: The number of newest readings of each series in ``Recent``, 0 to 1,000.
        """
        return Stream(self._requests.live(kinds, modules, sensors, recent))


class FramePublisher:
    """Uploads a camera's frames on one connection. The hub receives the newest frame whenever it can take one.

    ``publish`` never waits: a frame that was not sent when the next one is published is dropped. The connection is
    opened again by itself when it breaks or the hub is away, and the newest frame is then sent again. Frames are
    numbered and carry the offset between this machine's clock and the hub's. Close the publisher when done
    (``with`` does).
    """

    def __init__(self, upload: Upload) -> None:
        self._upload = upload

    def publish(self, jpeg: Jpeg, *, timestamp: Moment | None = None, sequence: int | None = None) -> None:
        """Publishes a frame; returns at once.

        Args:
            jpeg: A JPEG file up to 8 MiB, as bytes or another buffer, such as the array of ``cv2.imencode``, or as
                ``io.BytesIO``; or a PIL image, which is encoded.
            timestamp: The capture time; by default the current time.
            sequence: The camera's own number of the frame, one more than the number before; by default counted here.

        Raises:
            Unprocessable: The data is not a JPEG.
            ValueError: The publisher was closed.
        """
        self._upload.publish(jpeg, timestamp, sequence)

    def wait_for_demand(self) -> bool:
        """Waits until the next frame is wanted and returns ``True``; ``False`` when the publisher was closed.

        Returns at once while the camera has a viewer, otherwise a second after the last frame or when the first viewer
        connects.
        """
        return self._upload.wait_for_demand().wait()

    @property
    def viewers(self) -> int:
        """The number of viewers in the hub's last answer; 0 while there is no connection."""
        return self._upload.native.viewers

    @property
    def online(self) -> bool:
        """Whether a hub accepts the frames."""
        return self._upload.native.online

    @property
    def refused(self) -> int:
        """The number of frames that the hub refused."""
        return self._upload.native.refused

    @property
    def error(self) -> Error | None:
        """The last error, a refused frame or a broken connection; ``None`` after the next success."""
        return self._upload.error()

    def close(self) -> None:
        """Ends the upload. The last frame is still sent if that takes at most a second."""
        self._upload.close().wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._upload.close().wait()
