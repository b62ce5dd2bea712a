"""The event loop in which a module's functions run: one of its own thread, or the program's."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError, Future
from typing import Any

# The time that an urgent function waits for the one that is running.
_URGENT_WAIT_SECS = 0.2


class Worker:
    """Calls functions in the event loop of another thread.

    Plain functions run one at a time; ``async def`` ones interleave at awaits.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._pending: set[Future[Any]] = set()

    def call(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Calls the function in the loop and blocks until it returns."""
        return self._submit(lambda: _outcome(function, args, kwargs)).result()

    def call_urgently(self, function: Callable[[], Any]) -> None:
        """Calls the function in the loop, or in the calling thread if another function blocks the loop."""
        started = threading.Event()

        async def start() -> None:
            started.set()
            await _outcome(function, (), {})

        called = self._submit(start)
        if started.wait(_URGENT_WAIT_SECS) or not called.cancel():
            called.result()
        else:
            asyncio.run(_outcome(function, (), {}))

    def stop(self) -> None:
        """Gives up the calls that the loop has not started. It may end without starting them."""
        for outcome in list(self._pending):
            outcome.cancel()

    def _submit(self, work: Callable[[], Coroutine[Any, Any, Any]]) -> Future[Any]:
        # Unlike with `run_coroutine_threadsafe`, there is no coroutine before the loop starts it.
        outcome: Future[Any] = Future()

        def start() -> None:
            if outcome.set_running_or_notify_cancel():
                self._loop.create_task(work()).add_done_callback(lambda task: _settle(outcome, task))

        self._pending.add(outcome)
        outcome.add_done_callback(self._pending.discard)
        self._loop.call_soon_threadsafe(start)
        return outcome


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
        super().stop()
        self._loop.call_soon_threadsafe(self._loop.stop)
        # The thread of a function that does not return is abandoned.
        self._thread.join(_URGENT_WAIT_SECS)


async def _outcome(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    result = function(*args, **kwargs)
    return await result if inspect.isawaitable(result) else result


def _settle(outcome: Future[Any], task: asyncio.Task[Any]) -> None:
    if task.cancelled():
        outcome.set_exception(CancelledError())
    elif (error := task.exception()) is not None:
        outcome.set_exception(error)
    else:
        outcome.set_result(task.result())
