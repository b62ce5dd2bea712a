"""The hub's records as frozen dataclasses. Times are Unix seconds, UTC."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, NotRequired, Self, TypedDict

from .errors import InvalidArgument

# In answers, "other" stands for a word of a newer hub that this version does not know.
CommandState = Literal[
    "queued",
    "leased",
    "succeeded",
    "failed",
    "rejected",
    "expired",
    "cancelled",
    "dead",
    "unknown_outcome",
    "other",
]
ModuleHealth = Literal["online", "late", "offline", "unknown", "other"]
BucketWidth = Literal["1m", "5m", "15m", "1h", "6h", "1d"]
GapReason = Literal["full", "too_old", "unreadable", "refused", "killed", "other"]
TimeSource = Literal["module", "estimated", "hub", "arrival", "hub_unsynced", "other"]
WatchedVia = Literal["mjpeg", "live", "recording", "other"]
EventKind = Literal["reading", "module", "command", "camera"]

Moment = float | datetime
"""A time: Unix seconds, or a ``datetime`` with a time zone."""


def unix_seconds(moment: Moment | None) -> float | None:
    """Converts a time to Unix seconds.

    Raises:
        InvalidArgument: A ``datetime`` without a time zone is ambiguous.
    """
    if not isinstance(moment, datetime):
        return moment
    if moment.tzinfo is None:
        raise InvalidArgument(f"{moment!r} has no time zone; use datetime.now(timezone.utc) or .astimezone()")
    return moment.timestamp()


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One measurement of one series.

    Attributes:
        module_id: The module that measured it.
        type: The quantity, such as ``temperature``; with ``module_id`` and ``channel`` it identifies the series.
        value: The number in ``unit``; ``None`` if the measurement failed.
        unit: A unit such as ``celsius``, ``percent``, ``pascal``.
        timestamp: The time of the measurement by the module's clock; Unix seconds.
        received_at: The time of arrival at the hub; ``None`` before that.
        reason: With a ``value`` of ``None``: the reason.
        channel: The channel, if the module has several sensors of the type; ``None`` for the default one.
        time_source: The clock of ``timestamp``: ``module``; ``estimated`` by the hub from the reading's age; ``hub``:
            the reading arrived without a time; ``arrival``: the module's time was more than 5 minutes ahead of the
            hub's clock; ``hub_unsynced``: the hub's clock, which was wrong at that time.
        epoch: With ``seq``, for sending: the epoch that the number belongs to. Readings from a hub have neither.
        seq: The module's number of this reading. A reading that is sent several times is stored once.
    """

    module_id: str
    type: str
    value: float | None
    unit: str
    timestamp: float
    received_at: float | None = None
    reason: str | None = None
    channel: str | None = None
    time_source: TimeSource = "module"
    epoch: int | None = None
    seq: int | None = None

    @property
    def time(self) -> datetime:
        """``timestamp`` as an aware ``datetime`` in UTC."""
        return _time(self.timestamp)


class Stored(int):
    """The number of delivered readings that were new and are now on the hub's disk.

    Attributes:
        repeated: The number of readings that had been stored before, by their sequence numbers.
    """

    repeated: int

    def __new__(cls, stored: int, repeated: int = 0) -> Self:
        """Takes both counts of the hub's answer."""
        made = super().__new__(cls, stored)
        made.repeated = repeated
        return made


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """Readings of one series that will never arrive.

    Attributes:
        module_id: The module that lost them.
        since: The time of the first of them, or of the report if the module did not know it; Unix seconds.
        until: The time of the last of them.
        lost: The number of readings.
        reason: ``full``, ``too_old``, ``unreadable``, ``refused`` or ``killed``.
        recorded_at: The time of the report.
        type: The type of the series; ``None`` if the module did not know it any more.
        channel: The channel of the series; ``None`` for the default one.
    """

    module_id: str
    since: float
    until: float
    lost: int
    reason: GapReason
    recorded_at: float
    type: str | None = None
    channel: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """The delivery account of a module's numbered readings.

    Attributes:
        since: The time at which the first numbered reading arrived and the account began; Unix seconds.
        expected: The number the module took, by the greatest numbers that arrived or were reported lost.
        received: The number that arrived, each counted once.
        lost: The number that the module reported as lost.
        missing: The number that has not arrived yet: still in the module, or lost with it.
    """

    since: float
    expected: int
    received: int
    lost: int
    missing: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesDelivery:
    """The delivery account of one series.

    Attributes:
        type: The type of the series.
        channel: The channel of the series; ``None`` for the default one.
        expected: The number of readings taken, as far as is known: received and lost.
        received: The number that arrived, each counted once.
        lost: The number that the module reported as lost.
    """

    type: str
    expected: int
    received: int
    lost: int
    channel: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryAccount:
    """The delivery account of a module in full.

    Attributes:
        module_id: The module.
        total: All series together; ``None`` if the module does not number its readings.
        series: One entry for each series, by type.
    """

    module_id: str
    total: Delivery | None
    series: list[SeriesDelivery]


def delivery_account(*, module_id: str, total: dict[str, Any] | None, series: list[dict[str, Any]]) -> DeliveryAccount:
    """Converts the account in a hub's answer."""
    return DeliveryAccount(
        module_id=module_id,
        total=None if total is None else Delivery(**total),
        series=[SeriesDelivery(**one) for one in series],
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """Readings of one series, aggregated over one UTC-aligned interval.

    Attributes:
        module_id: The module.
        type: The quantity.
        channel: The channel of the series; ``None`` for the default one.
        unit: The unit of ``avg``, ``min`` and ``max``.
        start: The start of the interval; Unix seconds.
        missing: The number of failed measurements.
        count: The number of values.
        avg: Their mean; ``None`` without values, as are ``min`` and ``max``.
        min: The minimum.
        max: The maximum.
    """

    module_id: str
    type: str
    unit: str
    start: float
    missing: int
    count: int = 0
    avg: float | None = None
    min: float | None = None
    max: float | None = None
    channel: str | None = None

    @property
    def time(self) -> datetime:
        """``start`` as an aware ``datetime`` in UTC."""
        return _time(self.start)


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A command and its current state.

    Attributes:
        id: The command's id.
        module_id: The module that runs it.
        action: The action to run.
        params: The action's parameters.
        state: ``queued``, ``leased``, then ``succeeded``, ``failed``, ``rejected``,
            ``expired``, ``cancelled``, ``dead`` or ``unknown_outcome``: started, but never reported as finished.
        issued_by: The user or token that sent it.
        created_at: The time of its creation; Unix seconds, as are the next four.
        expires_at: The time after which it is not started any more.
        leased_at: The time of its last delivery to the module.
        started_at: The time at which the module reported its start, if it did.
        finished_at: The time at which it reached its final state.
        attempts: The number of deliveries to the module.
        result: The module's answer, if it succeeded.
        error: The reason why it did not succeed.
        superseded_by: The id of the newer command that replaced it, if it was cancelled for that.
    """

    id: str
    module_id: str
    action: str
    params: Mapping[str, Any]
    state: CommandState
    issued_by: str
    created_at: float
    expires_at: float
    leased_at: float | None
    started_at: float | None
    finished_at: float | None
    attempts: int
    result: Any
    error: str | None
    superseded_by: str | None

    @property
    def finished(self) -> bool:
        """Whether it is in a final state."""
        return self.finished_at is not None or self.state not in ("queued", "leased", "other")

    @property
    def succeeded(self) -> bool:
        """Whether it succeeded."""
        return self.state == "succeeded"


class Measure(TypedDict):
    """A quantity that a module measures."""

    type: str
    channel: NotRequired[str]
    unit: str
    every_secs: NotRequired[float]


class ActionSpec(TypedDict):
    """An action that a module offers; ``params`` is the JSON Schema of an object."""

    name: str
    description: NotRequired[str]
    params: dict[str, Any]
    hazardous: bool
    absolute: NotRequired[bool]
    target: NotRequired[str]
    while_alive: NotRequired[float]


class CameraSpec(TypedDict):
    """The frames a camera delivers: their size in pixels and their rate in frames a second."""

    width: int
    height: int
    fps: float


class Manifest(TypedDict):
    """A module's description of itself; ``protocol`` is absent if it is 1."""

    protocol: NotRequired[int]
    version: NotRequired[str]
    description: NotRequired[str]
    measures: list[Measure]
    actions: list[ActionSpec]
    camera: NotRequired[CameraSpec]
    heartbeat_secs: NotRequired[float]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModuleInfo:
    """A module as the hub knows it.

    Attributes:
        id: The module's id.
        manifest: Its description of itself; ``None`` if it never registered.
        health: ``online``, ``late``, ``offline``, or ``unknown`` if it never contacted the hub.
        last_seen_at: The time of its last contact; Unix seconds, as are the other times.
        registered_at: The time of its first contact.
        state: The last state it reported, such as ``{"on": True}``.
        state_at: The time of that report.
        delivery: The account of its numbered readings; ``None`` if it does not number them.
    """

    id: str
    manifest: Manifest | None
    health: ModuleHealth
    last_seen_at: float | None
    registered_at: float
    state: Mapping[str, Any] | None
    state_at: float | None
    delivery: Delivery | None = None


def module_info(*, delivery: dict[str, Any] | None = None, **fields: Any) -> ModuleInfo:
    """Converts the module in a hub's answer."""
    return ModuleInfo(delivery=None if delivery is None else Delivery(**delivery), **fields)


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """The time that frames took from the camera to the hub, over the last 256 of them; in seconds.

    Attributes:
        p50: The median.
        p99: The 99th percentile.
    """

    p50: float
    p99: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Watching:
    """A viewer of a camera.

    Attributes:
        id: Identifies the viewer among those of its camera since the hub started.
        via: ``mjpeg``, ``live`` or ``recording``.
        since: The time at which it connected; Unix seconds.
        delivered: The number of frames delivered to it.
        skipped: The number of frames it did not get because a newer one replaced them.
    """

    id: int
    via: WatchedVia
    since: float
    delivered: int
    skipped: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraInfo:
    """A camera as the hub knows it.

    Attributes:
        module_id: The camera's module.
        online: Whether it delivers frames. If it does not, its viewers see a "no signal" frame.
        width: Pixels of the newest frame.
        height: Pixels of the newest frame.
        bytes: Size of the newest frame.
        fps: Frames a second over the last seconds.
        viewers: The number of viewers, including a recording that stores every frame.
        frames: The number of frames received since the hub started.
        delivered: The number of frames delivered, summed over all viewers.
        skipped: The number of frames that viewers did not get because a newer one replaced them.
        missing: The number of frames that the camera numbered and that never arrived.
        refused: The number of refused deliveries: not a JPEG, or too large.
        taken_at: The capture time of the newest frame by the camera's clock; Unix seconds.
        captured_at: The same by the hub's clock, if the camera reported the offset between the clocks.
        received_at: The time of its arrival at the hub.
        latency: The time that frames take from the camera to the hub.
        age: The seconds since the newest frame was captured; ``None`` in events.
        watching: The viewers, the longest connected first; ``None`` in events.
    """

    module_id: str
    online: bool
    width: int
    height: int
    bytes: int
    fps: float
    viewers: int
    frames: int
    delivered: int
    skipped: int
    missing: int
    refused: int
    taken_at: float
    captured_at: float
    received_at: float
    latency: Latency
    age: float | None = None
    watching: list[Watching] | None = None


def camera_info(*, latency: dict[str, Any], watching: list[dict[str, Any]] | None = None, **fields: Any) -> CameraInfo:
    """Converts the camera in a hub's answer or event."""
    return CameraInfo(
        latency=Latency(**latency),
        watching=None if watching is None else [Watching(**one) for one in watching],
        **fields,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class HubHealth:
    """The state of a hub.

    Attributes:
        status: ``ok``, ``stopping`` or ``failing``.
        version: The version of the hub.
        uptime_secs: The seconds since it started.
        protocol: The version of the protocol that it uses.
    """

    status: str
    version: str
    uptime_secs: float
    protocol: int = 1
