"""The event loop in which a module's functions run: one of its own thread, or the program's."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Callable
from typing import Any

# The time that an urgent function waits for the one that is running.
_URGENT_WAIT_SECS = 0.2


class Worker:
    """Calls functions in the event loop of another thread.

    Plain functions run one at a time; ``async def`` ones interleave at awaits.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def call(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Calls the function in the loop and blocks until it returns."""
        called = asyncio.run_coroutine_threadsafe(_outcome(function, args, kwargs), self._loop)
        return called.result()

    def call_urgently(self, function: Callable[[], Any]) -> None:
        """Calls the function in the loop, or in the calling thread if another function blocks the loop."""
        started = threading.Event()

        async def start() -> None:
            started.set()
            await _outcome(function, (), {})

        called = asyncio.run_coroutine_threadsafe(start(), self._loop)
        if started.wait(_URGENT_WAIT_SECS) or not called.cancel():
            called.result()
        else:
            asyncio.run(_outcome(function, (), {}))

    def stop(self) -> None:
        """Ends what the worker started."""


class ThreadWorker(Worker):
    """A thread with an event loop of its own.

    The thread is a daemon: a function that never returns does not keep the process from ending.
    """

    def __init__(self, name: str) -> None:
        super().__init__(asyncio.new_event_loop())
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()
        unfinished = asyncio.all_tasks(self._loop)
        for task in unfinished:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*unfinished, return_exceptions=True))
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()

    def stop(self) -> None:
        """Ends the thread as soon as it is idle; coroutines in progress are cancelled."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        # The thread of a function that does not return is abandoned.
        self._thread.join(_URGENT_WAIT_SECS)


async def _outcome(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    result = function(*args, **kwargs)
    return await result if inspect.isawaitable(result) else result
