"""The native half. Private: its shape follows from what the Python half needs."""

from collections.abc import Callable
from os import PathLike
from typing import final

__all__ = [
    "ERROR_KINDS",
    "FramePublisher",
    "Hub",
    "Pages",
    "Pending",
    "Recorder",
    "Runner",
    "Started",
    "Stream",
    "__version__",
    "canonical_unit",
    "check_id",
]

__version__: str
ERROR_KINDS: list[str]

def canonical_unit(sensor: str, unit: str | None = None) -> str: ...
def check_id(text: str) -> None: ...

_Answer = str | bytes | Stream | None

@final
class Pending:
    def wait(self) -> _Answer: ...
    def start(self, done: Callable[[_Answer, BaseException | None], object]) -> Started: ...

@final
class Started:
    def cancel(self) -> None: ...

@final
class Stream:
    def next(self) -> Pending: ...
    def close(self) -> None: ...

@final
class Pages:
    def next_page(self) -> Pending: ...

@final
class FramePublisher:
    def publish(self, jpeg: bytes, timestamp: float | None, sequence: int | None) -> None: ...
    def wait_for_demand(self) -> Pending: ...
    @property
    def viewers(self) -> int: ...
    @property
    def online(self) -> bool: ...
    @property
    def refused(self) -> int: ...
    @property
    def error(self) -> Exception | None: ...
    def close(self) -> Pending: ...

@final
class Hub:
    def __new__(cls, url: str, token: str | None, timeout: float) -> Hub: ...
    @property
    def url(self) -> str: ...
    def close(self) -> Pending: ...
    def health(self) -> Pending: ...
    def newest(self, module: str | None) -> Pending: ...
    def readings(
        self,
        sensor: str,
        module: str | None,
        since: float | None,
        until: float | None,
        limit: int | None,
        ascending: bool,
    ) -> Pages: ...
    def buckets(
        self,
        sensor: str,
        width: str,
        module: str | None,
        since: float | None,
        until: float | None,
        limit: int | None,
    ) -> Pages: ...
    def record(
        self,
        sensor: str,
        module: str,
        value: float | None,
        unit: str | None,
        timestamp: float | None,
        reason: str | None,
        epoch: int | None,
        seq: int | None,
        age: float | None,
    ) -> Pending: ...
    def record_many(self, readings: str) -> Pending: ...
    def gaps(
        self,
        module: str | None,
        sensor: str | None,
        since: float | None,
        until: float | None,
        limit: int | None,
    ) -> Pages: ...
    def delivery(self, module: str) -> Pending: ...
    def cameras(self) -> Pending: ...
    def snapshot(self, module: str | None) -> Pending: ...
    def publish(self, module: str, jpeg: bytes, timestamp: float | None, sequence: int | None) -> Pending: ...
    def stream_frames(self, module: str) -> FramePublisher: ...
    def frames(self, module: str | None) -> Pending: ...
    def modules(self) -> Pending: ...
    def module(self, module: str) -> Pending: ...
    def control(self, module: str, action: str, params: str, expires_in: float | None, key: str | None) -> Pending: ...
    def command(self, command: str) -> Pending: ...
    def cancel(self, command: str) -> Pending: ...
    def settled(self, command: str, timeout: float) -> Pending: ...
    def live(
        self,
        kinds: list[str] | None,
        modules: list[str] | None,
        sensors: list[str] | None,
        recent: int,
    ) -> Pending: ...

_Series = tuple[str, str | None]
_Sample = tuple[str, float | None, str | None, str]

@final
class Recorder:
    def __new__(cls) -> Recorder: ...
    def record(self, part: _Sample, timestamp: float | None) -> Pending: ...

@final
class Runner:
    def __new__(
        cls,
        hub: Hub,
        module: str,
        version: str | None,
        description: str | None,
        declared: list[_Series],
        sensors: list[tuple[list[_Series], float, Callable[[], list[_Sample]]]],
        actions: list[tuple[str, Callable[[str], str]]],
        camera: tuple[int, int, float, Callable[[], bytes]] | None,
        state: Callable[[], str] | None,
        make_safe: Callable[[], None] | None,
        recorder: Recorder,
        outbox: str | PathLike[str] | None,
    ) -> Runner: ...
    def run(self) -> Pending: ...
    def once(self) -> Pending: ...
    def stop(self) -> None: ...
