"""The thread in which a module's functions run: its event loop."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Callable
from typing import Any

# A function that ends the module's devices does not wait longer for the one that is running.
_PATIENCE_SECS = 0.2


class Worker:
    """One thread with an event loop. Plain functions run in it one at a time; ``async def`` ones take turns at awaits.

    The thread is a daemon: a function that never returns does not keep the process from ending.
    """

    def __init__(self, name: str) -> None:
        self._loop = asyncio.new_event_loop()
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

    def call(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Calls the function in the thread and blocks until it has its result."""
        called = asyncio.run_coroutine_threadsafe(_outcome(function, args, kwargs), self._loop)
        return called.result()

    def call_urgently(self, function: Callable[[], Any]) -> None:
        """The same, but when another function does not let go of the thread, in the thread that calls."""
        begun = threading.Event()

        async def begin() -> None:
            begun.set()
            await _outcome(function, (), {})

        called = asyncio.run_coroutine_threadsafe(begin(), self._loop)
        if begun.wait(_PATIENCE_SECS) or not called.cancel():
            called.result()
        else:
            asyncio.run(_outcome(function, (), {}))

    def stop(self) -> None:
        """Ends the thread as soon as it is free; what is awaited there is cancelled."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        # A function that does not return is left behind.
        self._thread.join(_PATIENCE_SECS)


async def _outcome(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    result = function(*args, **kwargs)
    return await result if inspect.isawaitable(result) else result
