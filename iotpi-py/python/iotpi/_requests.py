"""All requests, for both clients: the call of the native module and the conversion of its answer."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from . import _iotpi
from ._jpeg import jpeg_bytes
from ._similar import did_you_mean
from .errors import Error, Unauthenticated, Unprocessable
from .events import Event, event_of
from .records import (
    Bucket,
    CameraInfo,
    Command,
    DeliveryAccount,
    Gap,
    HubHealth,
    ModuleInfo,
    Moment,
    Reading,
    Stored,
    camera_info,
    delivery_account,
    module_info,
    unix_seconds,
)
from .schema import plain

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    from ._jpeg import Jpeg

T = TypeVar("T")
R = TypeVar("R")

DEFAULT_URL = "http://127.0.0.1:8000"


class Request(Generic[T]):
    """A request in progress. Either ``wait`` for it or ``await`` it, once."""

    def __init__(
        self, pending: _iotpi.Pending, read: Callable[[Any], T], explain: Callable[[Error], None] | None = None
    ) -> None:
        self._pending = pending
        self._read = read
        self._explain = explain

    def wait(self) -> T:
        """Blocks with the interpreter released."""
        with self._explained():
            answer = self._pending.wait()
        return self._read(answer)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Adds to an error what this side knows about its cause."""
        try:
            yield
        except Error as error:
            if self._explain is not None:
                self._explain(error)
            raise

    def __await__(self) -> Generator[Any, None, T]:
        return self._answer().__await__()

    async def _answer(self) -> T:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()

        def settle(value: object, error: BaseException | None) -> None:
            if future.done():
                return
            if error is None:
                future.set_result(value)
            else:
                future.set_exception(error)

        def done(value: object, error: BaseException | None) -> None:
            # Nothing can await the answer on a loop that was closed meanwhile.
            if not loop.is_closed():
                loop.call_soon_threadsafe(settle, value, error)

        started = self._pending.start(done)
        try:
            with self._explained():
                answer = await future
            return self._read(answer)
        finally:
            started.cancel()


class Requests:
    """The requests to one hub."""

    def __init__(self, url: str | None, token: str | None, timeout: float) -> None:
        token = token or os.environ.get("IOTPI_TOKEN") or None
        self.has_token = token is not None
        self.hub = _iotpi.Hub(url or os.environ.get("IOTPI_URL") or DEFAULT_URL, token, timeout)

    def _request(
        self, pending: _iotpi.Pending, read: Callable[[Any], T], explain: Callable[[Error], None] | None = None
    ) -> Request[T]:
        def explain_all(error: Error) -> None:
            self.explain(error)
            if explain is not None:
                explain(error)

        return Request(pending, read, explain_all)

    def explain(self, error: Error) -> None:
        """Adds to the error of a request without a token how to get one."""
        if isinstance(error, Unauthenticated) and not self.has_token:
            error.add(
                "There is no token: pass `token=`, or set IOTPI_TOKEN. On the hub's machine "
                "`iotpi-hub token add --role operator NAME` creates one."
            )

    def close(self) -> Request[None]:
        return self._request(self.hub.close(), lambda _: None)

    def health(self) -> Request[HubHealth]:
        return self._request(self.hub.health(), _one(HubHealth))

    def readings(
        self,
        type: str,
        module: str | None,
        channel: str | None,
        since: Moment | None,
        until: Moment | None,
        limit: int | None,
        ascending: bool,
    ) -> PageReader[Reading]:
        pages = self.hub.readings(type, module, channel, unix_seconds(since), unix_seconds(until), limit, ascending)
        return PageReader(pages, self._request, _many(Reading))

    def latest(self, module: str | None) -> Request[list[Reading]]:
        return self._request(self.hub.newest(module), _many(Reading))

    def history(
        self,
        type: str,
        bucket: str,
        module: str | None,
        channel: str | None,
        since: Moment | None,
        until: Moment | None,
        limit: int | None,
    ) -> PageReader[Bucket]:
        pages = self.hub.buckets(type, bucket, module, channel, unix_seconds(since), unix_seconds(until), limit)
        return PageReader(pages, self._request, _many(Bucket))

    def hint(self, type: str, module: str | None) -> Request[str]:
        """Which series was probably meant by a query without results; empty if there is no similar one."""

        def read(text: str) -> str:
            series = [(item["module_id"], item["type"]) for item in json.loads(text)]
            modules, types = {one[0] for one in series}, {one[1] for one in series}
            if module is not None and module not in modules and (suggestion := did_you_mean(module, modules)):
                return f"The hub has no readings of module `{module}`. {suggestion}"
            if type not in types and (suggestion := did_you_mean(type, types | set(_iotpi.QUANTITIES))):
                return f"The hub has no readings of type `{type}`. {suggestion}"
            return ""

        return self._request(self.hub.newest(None), read)

    def record(
        self,
        type: str,
        value: float | None,
        module: str,
        channel: str | None,
        unit: str | None,
        timestamp: Moment | None,
        reason: str | None,
        epoch: int | None,
        seq: int | None,
        age: float | None,
    ) -> Request[Stored]:
        when = unix_seconds(timestamp)
        if isinstance(value, bool) and unit is None:
            unit = "boolean"
        pending = self.hub.record(type, module, channel, value, unit, when, reason, epoch, seq, age)

        def explain(error: Error) -> None:
            if isinstance(error, Unprocessable) and (error.pointer or "").endswith("/unit") and unit is None:
                error.add(did_you_mean(type, _iotpi.QUANTITIES))

        return self._request(pending, _stored, explain)

    def record_many(self, readings: Iterable[Reading]) -> Request[Stored]:
        bodies = [
            {name: value for name, value in asdict(reading).items() if value is not None or name == "value"}
            for reading in readings
        ]
        return self._request(self.hub.record_many(to_json(bodies)), _stored)

    def gaps(
        self,
        module: str | None,
        type: str | None,
        channel: str | None,
        since: Moment | None,
        until: Moment | None,
        limit: int | None,
    ) -> PageReader[Gap]:
        pages = self.hub.gaps(module, type, channel, unix_seconds(since), unix_seconds(until), limit)
        return PageReader(pages, self._request, _many(Gap))

    def delivery(self, module: str) -> Request[DeliveryAccount]:
        return self._request(self.hub.delivery(module), _one(delivery_account))

    def cameras(self) -> Request[list[CameraInfo]]:
        return self._request(self.hub.cameras(), _many(camera_info))

    def snapshot(self, module: str | None) -> Request[bytes]:
        return self._request(self.hub.snapshot(module), _bytes)

    def publish(self, module: str, jpeg: Jpeg, timestamp: Moment | None, sequence: int | None) -> Request[int]:
        return self._request(self.hub.publish(module, jpeg_bytes(jpeg), unix_seconds(timestamp), sequence), _viewers)

    def stream_frames(self, module: str) -> Upload:
        return Upload(self.hub.stream_frames(module))

    def frames(self, module: str | None) -> Request[Lines[bytes]]:
        return self._request(self.hub.frames(module), lambda stream: Lines(stream, _bytes))

    def modules(self) -> Request[list[ModuleInfo]]:
        return self._request(self.hub.modules(), _many(module_info))

    def module(self, id: str) -> Request[ModuleInfo]:
        return self._request(self.hub.module(id), _one(module_info))

    def control(
        self,
        module: str,
        action: str,
        params: Mapping[str, Any] | DataclassInstance | None,
        expires_in: float | None,
        key: str | None,
    ) -> Request[Command]:
        pending = self.hub.control(module, action, to_json(params or {}), expires_in, key)
        return self._request(pending, _one(Command))

    def command(self, id: str) -> Request[Command]:
        return self._request(self.hub.command(id), _one(Command))

    def cancel(self, id: str) -> Request[Command]:
        return self._request(self.hub.cancel(id), _one(Command))

    def wait(self, command: Command | str, timeout: float) -> Request[Command]:
        command_id = command.id if isinstance(command, Command) else command
        return self._request(self.hub.settled(command_id, timeout), _one(Command))

    def live(
        self,
        kinds: Iterable[str] | None,
        modules: Iterable[str] | None,
        sensors: Iterable[str] | None,
        recent: int,
    ) -> Request[Lines[Event]]:
        pending = self.hub.live(_names(kinds), _names(modules), _names(sensors), recent)
        return self._request(pending, lambda stream: Lines(stream, event_of))


class Upload:
    """An upload of frames in progress."""

    def __init__(self, native: _iotpi.FramePublisher) -> None:
        self.native = native

    def publish(self, jpeg: Jpeg, timestamp: Moment | None, sequence: int | None) -> None:
        self.native.publish(jpeg_bytes(jpeg), unix_seconds(timestamp), sequence)

    def wait_for_demand(self) -> Request[bool]:
        return Request(self.native.wait_for_demand(), lambda text: text == "true")

    def error(self) -> Error | None:
        return cast("Error | None", self.native.error)

    def close(self) -> Request[None]:
        return Request(self.native.close(), lambda _: None)


class Lines(Generic[T]):
    """The items of an open stream; ``None`` at its end."""

    def __init__(self, stream: _iotpi.Stream, read: Callable[[Any], T]) -> None:
        self._stream = stream
        self._read = read

    def next(self) -> Request[T | None]:
        return Request(self._stream.next(), lambda line: None if line is None else self._read(line))

    def close(self) -> None:
        self._stream.close()


class PageReader(Generic[T]):
    """The pages of one answer; ``None`` after the last one."""

    def __init__(
        self,
        pages: _iotpi.Pages,
        request: Callable[[_iotpi.Pending, Callable[[Any], list[T] | None]], Request[list[T] | None]],
        read: Callable[[str], list[T]],
    ) -> None:
        self._pages = pages
        self._request = request
        self._read = read

    def next(self) -> Request[list[T] | None]:
        return self._request(self._pages.next_page(), lambda text: None if text is None else self._read(text))


def to_json(value: object) -> str:
    """Strict JSON, without NaN, which a hub refuses. Values of typed parameters become their JSON form."""
    return json.dumps(plain(value), allow_nan=False)


def _one(cls: Callable[..., R]) -> Callable[[str], R]:
    return lambda text: cls(**json.loads(text))


def _many(cls: Callable[..., R]) -> Callable[[str], list[R]]:
    return lambda text: [cls(**item) for item in json.loads(text)]


def _stored(text: str) -> Stored:
    return Stored(**json.loads(text))


def _viewers(text: str) -> int:
    return cast(int, json.loads(text)["viewers"])


def _bytes(data: bytes) -> bytes:
    return data


def _names(names: Iterable[str] | None) -> list[str] | None:
    """A list of names. A single string is one name, not a sequence of letters."""
    if names is None:
        return None
    return [names] if isinstance(names, str) else list(names)
