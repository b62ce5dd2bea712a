"""A module's functions as the native module calls them: without arguments of Python, blocking, with plain results."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from typing import Any

from ._jpeg import jpeg_bytes
from ._requests import to_json
from ._signals import replace_lost_output
from ._worker import Worker
from .errors import Refused
from .samples import NativeSample, Series, samples_of
from .schema import bind

_log = logging.getLogger("iotpi.module")


def sensor_function(
    worker: Worker, series: Sequence[Series], function: Callable[..., Any]
) -> Callable[[], list[NativeSample]]:
    """A function that returns the samples of a sensor."""
    failing = False

    def measure() -> list[NativeSample]:
        nonlocal failing
        try:
            measured = samples_of(worker.call(function), series)
        except Exception:
            # The core logs the reason once; the traceback is for the programmer.
            if not failing:
                _log.info("sensor %s failed", ", ".join(one.type for one in series), exc_info=True)
            failing = True
            raise
        failing = False
        return measured

    return measure


def action_function(worker: Worker, function: Callable[..., Any]) -> Callable[[str], str]:
    """A function that takes the parameters of a command and returns its result, both as JSON."""

    def act(params: str) -> str:
        try:
            return to_json(worker.call(function, **bind(function, json.loads(params))))
        except Refused:
            raise
        except Exception:
            _log.exception("action %s failed", function.__qualname__)
            raise

    return act


def camera_function(worker: Worker, function: Callable[..., Any]) -> Callable[[], bytes]:
    """A function that returns a JPEG file."""

    def capture() -> bytes:
        return jpeg_bytes(worker.call(function))

    return capture


def state_function(worker: Worker, function: Callable[[], Any]) -> Callable[[], str]:
    """A function that returns the state as JSON."""
    return lambda: to_json(worker.call(function))


def safe_function(worker: Worker, function: Callable[[], Any]) -> Callable[[], None]:
    """A function that puts the devices into their safe state, also while another one blocks the worker."""

    def make_safe() -> None:
        replace_lost_output()
        worker.call_urgently(function)

    return make_safe
