"""What a hub keeps and says, as small frozen classes. Times are Unix seconds, UTC."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, NotRequired, Self, TypedDict

from .errors import InvalidArgument

CommandState = Literal[
    "queued", "leased", "succeeded", "failed", "rejected", "expired", "cancelled", "dead", "unknown_outcome"
]
ModuleHealth = Literal["online", "late", "offline", "unknown"]
BucketWidth = Literal["1m", "5m", "15m", "1h", "6h", "1d"]
GapReason = Literal["full", "too_old", "unreadable", "refused", "killed"]
TimeSource = Literal["module", "estimated", "hub", "arrival", "hub_unsynced"]
WatchedVia = Literal["mjpeg", "live", "recording"]
EventKind = Literal["reading", "module", "command", "camera"]

Moment = float | datetime
"""A time: Unix seconds, or a ``datetime`` that knows its time zone."""


def unix_seconds(moment: Moment | None) -> float | None:
    """The moment as Unix seconds.

    Raises:
        InvalidArgument: A ``datetime`` without a time zone: nobody can tell which moment it is.
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
        module_id: Whose it is.
        type: What was measured, such as ``temperature``; with ``module_id`` it names the series.
        value: The number in ``unit``; ``None`` when the measurement was tried and failed.
        unit: A word such as ``celsius``, ``percent``, ``pascal``.
        timestamp: When it was measured, by the module's clock; Unix seconds.
        received_at: When the hub took it in; ``None`` before it did.
        reason: With a ``value`` of ``None``: why.
        time_source: Whose clock ``timestamp`` goes by: the ``module``'s; ``estimated`` by the hub from the reading's
            age; ``hub``: the reading came without a time; ``arrival``: the module's time was more than 5 minutes ahead of
            the hub's clock; ``hub_unsynced``: the hub's clock, which was wrong at that time.
        epoch: With ``seq``, to be sent: which count of its module ``seq`` belongs to. What is read back has neither.
        seq: The number its module gave it before it first sent it: stored once, however often it is sent.
    """

    module_id: str
    type: str
    value: float | None
    unit: str
    timestamp: float
    received_at: float | None = None
    reason: str | None = None
    time_source: TimeSource = "module"
    epoch: int | None = None
    seq: int | None = None

    @property
    def time(self) -> datetime:
        """``timestamp`` as an aware ``datetime`` in UTC."""
        return _time(self.timestamp)


class Stored(int):
    """How many delivered readings were new and are now on the hub's disk.

    Attributes:
        repeated: How many had been stored before, by their numbers, and were not stored again.
    """

    repeated: int

    def __new__(cls, stored: int, repeated: int = 0) -> Self:
        """Both counts, as the hub says them."""
        made = super().__new__(cls, stored)
        made.repeated = repeated
        return made


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """Readings of one series that will never arrive.

    Attributes:
        module_id: Whose.
        since: When the first of them was taken, or when the hub was told if the module did not know; Unix seconds.
        until: When the last of them was taken.
        lost: How many.
        reason: ``full``, ``too_old``, ``unreadable``, ``refused`` or ``killed``.
        recorded_at: When the hub was told.
        type: Of which series; ``None`` when the module did not know any more.
    """

    module_id: str
    since: float
    until: float
    lost: int
    reason: GapReason
    recorded_at: float
    type: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """How many of a module's numbered readings arrived.

    Attributes:
        since: When the first numbered one arrived: the account begins there; Unix seconds.
        expected: How many the module made, by the greatest numbers that arrived or were reported lost.
        received: How many of them arrived, each counted once.
        lost: How many will never arrive, by the module's own word.
        missing: How many have not arrived yet: they wait in the module, or vanished with it.
    """

    since: float
    expected: int
    received: int
    lost: int
    missing: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesDelivery:
    """The account of one series.

    Attributes:
        type: Which.
        expected: How many readings were made, as far as is known: received and lost.
        received: How many numbered ones arrived, each counted once.
        lost: How many will never arrive, by the module's own word.
    """

    type: str
    expected: int
    received: int
    lost: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryAccount:
    """A module's account in full.

    Attributes:
        module_id: Whose.
        total: All series together; ``None`` when the module does not number its readings.
        series: Series by series, by type.
    """

    module_id: str
    total: Delivery | None
    series: list[SeriesDelivery]


def delivery_account(*, module_id: str, total: dict[str, Any] | None, series: list[dict[str, Any]]) -> DeliveryAccount:
    """The account in a hub's answer."""
    return DeliveryAccount(
        module_id=module_id,
        total=None if total is None else Delivery(**total),
        series=[SeriesDelivery(**one) for one in series],
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """Readings of one series summed up over one UTC-aligned stretch of time.

    Attributes:
        module_id: Whose they are.
        type: What was measured.
        unit: The unit of ``avg``, ``min`` and ``max``.
        start: The stretch's first moment; Unix seconds.
        missing: How many measurements failed.
        count: How many values there were.
        avg: Their mean; ``None`` when there were none, as are ``min`` and ``max``.
        min: The least.
        max: The greatest.
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

    @property
    def time(self) -> datetime:
        """``start`` as an aware ``datetime`` in UTC."""
        return _time(self.start)


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One command and its life so far.

    Attributes:
        id: Identifies it.
        module_id: Whom it is for.
        action: Which of the module's actions.
        params: Its parameters.
        state: ``queued``, ``leased``, then ``succeeded``, ``failed``, ``rejected``,
            ``expired``, ``cancelled``, ``dead`` or ``unknown_outcome``: begun, and nobody knows how it ended.
        issued_by: Who asked for it.
        created_at: When; Unix seconds, as are the next four.
        expires_at: After this it is no longer to be done.
        leased_at: When it was last handed to the module.
        started_at: When the module said that it begins, if it did.
        finished_at: When its last state was reached.
        attempts: How often it was handed to the module.
        result: What the module answered, if it succeeded.
        error: Why it did not succeed.
        superseded_by: The id of the newer command that made it pointless, if it was cancelled for that.
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
        """Whether nothing more will happen to it."""
        return self.state not in ("queued", "leased")

    @property
    def succeeded(self) -> bool:
        """Whether it was done."""
        return self.state == "succeeded"


class Measure(TypedDict):
    """One thing a module measures."""

    type: str
    unit: str
    every_secs: NotRequired[float]


class ActionSpec(TypedDict):
    """One thing a module can be told to do; ``params`` is a JSON Schema of an object."""

    name: str
    description: NotRequired[str]
    params: dict[str, Any]
    hazardous: bool
    absolute: NotRequired[bool]
    target: NotRequired[str]
    while_alive: NotRequired[float]


class CameraSpec(TypedDict):
    """What a camera will deliver: pixels, frames a second."""

    width: int
    height: int
    fps: float


class Manifest(TypedDict):
    """What a module says of itself."""

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
        id: Its id.
        manifest: What it said of itself; ``None`` when it never registered.
        health: ``online``, ``late``, ``offline``, or ``unknown`` when it was never heard.
        last_seen_at: When it was last heard; Unix seconds, as are the other times.
        registered_at: When the hub first knew of it.
        state: The last state it reported, such as ``{"on": True}``.
        state_at: When it reported that.
        delivery: How many of its numbered readings arrived; ``None`` when it does not number them.
    """

    id: str
    manifest: Manifest | None
    health: ModuleHealth
    last_seen_at: float | None
    registered_at: float
    state: Mapping[str, Any] | None
    state_at: float | None
    delivery: Delivery | None = None


def module_info(*, delivery: dict[str, Any] | None = None, **said: Any) -> ModuleInfo:
    """The module in a hub's answer."""
    return ModuleInfo(delivery=None if delivery is None else Delivery(**delivery), **said)


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """How long frames took from the camera to the hub, over the last 256 of them; in seconds.

    Attributes:
        p50: Half of them took no longer.
        p99: All but one in a hundred took no longer.
    """

    p50: float
    p99: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Watching:
    """One who watches a camera.

    Attributes:
        id: Names it among those of its camera since the hub started.
        via: How: ``mjpeg``, ``live`` or ``recording``.
        since: Since when; Unix seconds.
        delivered: Frames it was given.
        skipped: Frames it did not get because a newer one was there.
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
        module_id: Whose camera it is.
        online: Whether it delivers. When it does not, its viewers see a picture that says so.
        width: Pixels of the newest frame.
        height: Pixels of the newest frame.
        bytes: Size of the newest frame.
        fps: Frames a second over the last seconds.
        viewers: How many want its frames: who watches it, and a recorder that takes each.
        frames: Frames taken since the hub started.
        delivered: Frames given to viewers, summed over all of them.
        skipped: Frames some viewer did not get because a newer one was there.
        missing: Frames the camera numbered and that never came.
        refused: Deliveries that were refused: not a JPEG, or too large.
        taken_at: When the newest frame was taken, by the camera's clock; Unix seconds.
        captured_at: The same by the hub's clock, as far as the camera told how far the two are apart.
        received_at: When the hub got it.
        latency: How long frames took from the camera to the hub.
        age: Seconds since the newest frame was captured; ``None`` in events, which do not say it.
        watching: Who watches it, the longest first; ``None`` in events.
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


def camera_info(*, latency: dict[str, Any], watching: list[dict[str, Any]] | None = None, **said: Any) -> CameraInfo:
    """The camera in a hub's answer or event."""
    return CameraInfo(
        latency=Latency(**latency),
        watching=None if watching is None else [Watching(**one) for one in watching],
        **said,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class HubHealth:
    """How a hub is: ``ok``, ``stopping`` or ``failing``; its version; seconds since it started."""

    status: str
    version: str
    uptime_secs: float
