"""A module: functions that measure, act and see, and the loop that keeps them going."""

from __future__ import annotations

import json
import logging
import os
import select
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from os import PathLike
from typing import Any, TypeVar

from . import _iotpi
from ._requests import Requests, to_json
from ._worker import Worker
from .errors import InvalidArgument, Refused
from .schema import bind, schema_of

F = TypeVar("F", bound=Callable[..., Any])

_log = logging.getLogger("iotpi.module")


@dataclass
class _Sensor:
    unit: str
    every_secs: float
    function: Callable[..., Any]


@dataclass
class _Action:
    spec: str
    function: Callable[..., Any]


@dataclass
class _Camera:
    width: int
    height: int
    fps: float
    function: Callable[..., Any]


@dataclass
class Module:
    """A module: decorate functions with :meth:`sensor`, :meth:`action` and :meth:`camera`, then :meth:`run`.

    Functions may be plain or ``async def``. All of one module run in one thread, plain ones one at a time, so they need
    no locks among themselves; what takes long is better ``async def``. The camera has a thread of its own.

    Args:
        id: The module's id, ``[a-z0-9][a-z0-9_-]{0,63}``; may be given to :meth:`run` instead.
        description: One sentence for people.
        version: The module's own version.
    """

    id: str | None = None
    description: str | None = None
    version: str | None = None
    _sensors: dict[str, _Sensor] = field(default_factory=dict, init=False, repr=False)
    _actions: dict[str, _Action] = field(default_factory=dict, init=False, repr=False)
    _camera: _Camera | None = field(default=None, init=False, repr=False)
    _state: Callable[[], Any] | None = field(default=None, init=False, repr=False)
    _make_safe: Callable[[], Any] | None = field(default=None, init=False, repr=False)
    _stopping: threading.Event = field(default_factory=threading.Event, init=False, repr=False)
    _runner: _iotpi.Runner | None = field(default=None, init=False, repr=False)

    def sensor(self, type: str, *, unit: str | None = None, every: float | timedelta = 60.0) -> Callable[[F], F]:
        """Makes a function that returns a number a sensor, read now and then every so often.

        When it returns ``None`` or raises, that is recorded too: a reading without a value, with its reason.

        Args:
            type: What it measures: ``temperature``, ``humidity``, ..., or an id of your own.
            unit: What the number is in, such as ``celsius`` or ``fahrenheit``; needed for a type of your own.
            every: Seconds from one measurement to the next.

        Raises:
            InvalidArgument: The type is taken, or is not an id.
            Unprocessable: The unit does not measure that.
        """
        if type in self._sensors:
            raise InvalidArgument(f"this module has a sensor for `{type}` already")
        secs = every.total_seconds() if isinstance(every, timedelta) else float(every)
        if not 0 < secs < float("inf"):
            raise InvalidArgument(f"every is a number of seconds above 0, not {every!r}")
        given = unit if unit is not None else _iotpi.canonical_unit(type)
        _iotpi.canonical_unit(type, given)

        def decorate(function: F) -> F:
            self._sensors[type] = _Sensor(given, secs, function)
            return function

        return decorate

    def action(
        self,
        name: str,
        *,
        params: Mapping[str, Any] | None = None,
        description: str | None = None,
        hazardous: bool = False,
        absolute: bool = False,
        target: str | None = None,
        while_alive: float | timedelta | None = None,
    ) -> Callable[[F], F]:
        """Makes a function an action that people can ask for. Its parameters are keyword arguments.

        What it returns, anything JSON can say, is the command's result. When it raises :class:`iotpi.Refused` the
        command is ``rejected``, after any other exception ``failed``.

        Args:
            name: The action's id.
            params: JSON Schema of an object; without it, made from the function's annotations.
            description: One sentence for people; without it, the first line of the function's docstring.
            hazardous: Doing it twice does harm: it is begun only when the hub took that it is, and done at most once.
            absolute: The newest order says it all: it supersedes those that still wait.
            target: Of an absolute action, the parameter that tells targets apart; without it the module has one.
            while_alive: What it does may last only while somebody watches: seconds, 1 to 3,600, that whoever asked for
                it, or the hub, may be gone before the function of :meth:`make_safe` is called.

        Raises:
            InvalidArgument: The name is taken or is not an id, a parameter has no JSON form, the seconds are out of
                range, or a target is given of what is not absolute.
        """
        _iotpi.check_id(name)
        if name in self._actions:
            raise InvalidArgument(f"this module has an action `{name}` already")

        if target is not None and not absolute:
            raise InvalidArgument(f"`{name}` is not absolute: a target says nothing")
        limit = while_alive.total_seconds() if isinstance(while_alive, timedelta) else while_alive
        if limit is not None and not 1 <= limit <= 3600:
            raise InvalidArgument(f"while_alive is 1 to 3,600 seconds, not {while_alive!r}")

        def decorate(function: F) -> F:
            said = description or (function.__doc__ or "").strip().partition("\n")[0]
            spec = {
                "name": name,
                "params": dict(params) if params is not None else schema_of(function),
                "hazardous": hazardous,
                "absolute": absolute,
                **({"description": said} if said else {}),
                **({"target": target} if target is not None else {}),
                **({"while_alive": limit} if limit is not None else {}),
            }
            self._actions[name] = _Action(to_json(spec), function)
            return function

        return decorate

    def camera(self, *, width: int, height: int, fps: float = 10.0) -> Callable[[F], F]:
        """Makes a function that returns a JPEG file as ``bytes`` the module's camera.

        Args:
            width: Pixels.
            height: Pixels.
            fps: At most so many pictures a second, while somebody watches; one a second while nobody does.

        Raises:
            InvalidArgument: The module has a camera already.
        """
        if self._camera is not None:
            raise InvalidArgument("this module has a camera already; a second one is a module of its own")

        def decorate(function: F) -> F:
            self._camera = _Camera(width, height, fps, function)
            return function

        return decorate

    def state(self, function: F) -> F:
        """Makes a function that returns a dict, such as ``{"on": True}``, tell the module's state.

        It is asked at the start and after each action.
        """
        if self._state is not None:
            raise InvalidArgument("this module has a function for its state already")
        self._state = function
        return function

    def make_safe(self, function: F) -> F:
        """Makes a function the one that brings the devices where they can do no harm; called when the module ends.

        When an action has ``while_alive``, it is also called at the start, and when nobody watches any more.

        It waits for its turn for 0.2 s. When another function does not return it is called all the same, in another
        thread. It has about half a second.
        """
        if self._make_safe is not None:
            raise InvalidArgument("this module has a function that makes it safe already")
        self._make_safe = function
        return function

    def run(
        self,
        id: str | None = None,
        *,
        url: str | None = None,
        token: str | None = None,
        once: bool = False,
        outbox: str | PathLike[str] | None = None,
    ) -> None:
        """Registers with the hub and runs until :meth:`stop` or a signal, then ends in order within 2 s.

        SIGHUP (the terminal is closed), SIGINT (Ctrl-C), SIGQUIT and SIGTERM end it in the same way; started with
        SIGHUP ignored (``nohup``), it goes on. Python takes signals in its main thread only: a program that calls this
        in another thread calls :meth:`stop` from its own handlers.

        A hub that is away is waited for; up to 10,000 readings wait with it, or as many as the ``outbox`` holds.

        Args:
            id: The module's id, if it was not given before.
            url: The hub, ``http://HOST:PORT``; else ``IOTPI_URL``, else ``http://127.0.0.1:8000``.
            token: The module's token; else ``IOTPI_TOKEN``, else none.
            once: Measure once, show one picture, do what commands are waiting, and return: for cron. Then a hub that
                is away, and a sensor that fails, is an error.
            outbox: A folder of this module's own, made if there is none, where readings wait that the hub has not taken
                for 5 s, and all that wait at the end: 64 MiB, 1,000,000 readings or 7 days, whichever is reached first.
                Without one they wait in memory and go with the process. What is lost is told to the hub as a gap.
                Hazardous commands are remembered there, too: a module that was killed at one says at its next start
                that nobody knows how it ended, and never does it again.

        Raises:
            InvalidArgument: It has no id, or nothing to do, or runs already.
            Error: The hub refused it (token, id, manifest).
            ModuleFailed: It could not go on, a function did not return in time, or the outbox cannot be used: it is
                another module's, or another process has it open.
        """
        module_id = id or self.id
        if module_id is None:
            raise InvalidArgument("a module has an id: Module(id) or run(id)")
        if self._runner is not None:
            raise InvalidArgument(f"module `{module_id}` is running already")
        if not (self._sensors or self._actions or self._camera):
            raise InvalidArgument(f"module `{module_id}` has nothing to do; decorate a function with sensor or action")
        requests = Requests(url, token, 10.0)
        workers = {name: Worker(f"iotpi {module_id} {name}") for name in self._threads()}
        try:
            self._runner = self._native(requests.hub, module_id, workers, outbox)
            # A stop() that came before there was something to stop counts.
            if self._stopping.is_set():
                self._runner.stop()
            with _signals(self.stop):
                (self._runner.once() if once else self._runner.run()).wait()
        finally:
            self._runner = None
            self._stopping.clear()
            for worker in workers.values():
                worker.stop()

    def stop(self) -> None:
        """Ends :meth:`run` from another thread or a signal handler; returns at once."""
        self._stopping.set()
        if self._runner is not None:
            self._runner.stop()

    def _threads(self) -> list[str]:
        return ["functions"] if self._camera is None else ["functions", "camera"]

    def _native(
        self, hub: _iotpi.Hub, id: str, workers: dict[str, Worker], outbox: str | PathLike[str] | None
    ) -> _iotpi.Runner:
        worker, camera, state, make_safe = workers["functions"], self._camera, self._state, self._make_safe
        return _iotpi.Runner(
            hub,
            id,
            self.version,
            self.description,
            [
                (name, sensor.unit, sensor.every_secs, _measuring(worker, name, sensor.function))
                for name, sensor in self._sensors.items()
            ],
            [(action.spec, _acting(worker, action.function)) for action in self._actions.values()],
            None
            if camera is None
            else (camera.width, camera.height, camera.fps, _seeing(workers["camera"], camera.function)),
            (lambda: to_json(worker.call(state))) if state else None,
            _making_safe(worker, make_safe) if make_safe else None,
            outbox,
        )


def _measuring(worker: Worker, name: str, function: Callable[..., Any]) -> Callable[[], float | None]:
    failing = False

    def measure() -> float | None:
        nonlocal failing
        try:
            value = worker.call(function)
            measured = None if value is None else float(value)
        except Exception:
            # The core logs the reason once; a programmer also wants the place.
            if not failing:
                _log.info("sensor %s failed", name, exc_info=True)
            failing = True
            raise
        failing = False
        return measured

    return measure


def _acting(worker: Worker, function: Callable[..., Any]) -> Callable[[str], str]:
    def act(params: str) -> str:
        try:
            return to_json(worker.call(function, **bind(function, json.loads(params))))
        except Refused:
            raise
        except Exception:
            _log.exception("action %s failed", function.__qualname__)
            raise

    return act


def _seeing(worker: Worker, function: Callable[..., Any]) -> Callable[[], bytes]:
    def see() -> bytes:
        jpeg = worker.call(function)
        if not isinstance(jpeg, bytes | bytearray | memoryview):
            raise TypeError(f"a camera function returns a JPEG file as bytes, not {type(jpeg).__name__}")
        return bytes(jpeg)

    return see


@contextmanager
def _signals(stop: Callable[[], None]) -> Iterator[None]:
    """Lets the signals that ask a program to end call ``stop``.

    Does nothing outside the main thread, where Python takes no signals.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = [signal.SIGINT, signal.SIGQUIT, signal.SIGTERM]
    # A parent such as nohup wants the module to outlive its terminal.
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        numbers.append(signal.SIGHUP)

    def handle(*_: object) -> None:
        stop()
        _replace_lost_output()

    before = {number: signal.signal(number, handle) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            # None: it was not set from Python, and cannot be set back from it.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


def _replace_lost_output() -> None:
    """Makes standard output and error ``/dev/null`` where their terminal, or the reader of their pipe, is gone.

    A ``print`` in a function that makes a device safe would raise otherwise, and leave the device on.
    """
    for descriptor in (1, 2):
        poll = select.poll()
        poll.register(descriptor, 0)
        if any(events & (select.POLLHUP | select.POLLERR) for _, events in poll.poll(0)):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, descriptor)
            os.close(nowhere)


def _making_safe(worker: Worker, function: Callable[[], Any]) -> Callable[[], None]:
    def make_safe() -> None:
        _replace_lost_output()
        worker.call_urgently(function)

    return make_safe


_default = Module()

sensor = _default.sensor
action = _default.action
camera = _default.camera
state = _default.state
make_safe = _default.make_safe
run = _default.run
