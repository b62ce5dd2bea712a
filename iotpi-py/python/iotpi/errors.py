"""What can go wrong: one tree under :class:`Error`, one class for each kind of problem a hub names.

Each class is also the builtin that fits, so ``except TimeoutError`` means what it always does.
"""

from __future__ import annotations

from typing import ClassVar


class Error(Exception):
    """Everything this package raises.

    Attributes:
        kind: The problem's word in the hub's closed list; ``None`` for what does not come from a request.
        detail: What happened this time, for people.
        pointer: The place in what was sent that is at fault (RFC 6901, such as ``/3/unit``), if it is one place.
        choices: The names that would have been right, if they are few.
        request_id: Names the request, in the hub's log too.
        retry_after: Seconds after which it makes sense to try again.
    """

    kind: ClassVar[str | None] = None

    def __init__(
        self,
        detail: str = "",
        *,
        pointer: str | None = None,
        choices: list[str] | None = None,
        request_id: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.pointer = pointer
        self.choices = choices
        self.request_id = request_id
        self.retry_after = retry_after

    def __str__(self) -> str:
        return f"{self.detail} (at {self.pointer})" if self.pointer else self.detail


class InvalidArgument(Error, ValueError):
    """It is not the shape asked for: not an id, not a number, not a known word."""

    kind = "invalid_argument"


class Unauthenticated(Error, PermissionError):
    """The hub does not know who calls: the token is missing, wrong or revoked."""

    kind = "unauthenticated"


class PermissionDenied(Error, PermissionError):
    """The hub knows who calls, and that caller may not."""

    kind = "permission_denied"


class NotFound(Error, LookupError):
    """There is no such thing, or not yet."""

    kind = "not_found"


class Conflict(Error):
    """The thing has moved on: a command its module already has cannot be cancelled."""

    kind = "conflict"


class TooLarge(Error, ValueError):
    """Over a stated limit."""

    kind = "too_large"


class Unprocessable(Error, ValueError):
    """Well-formed, but it cannot be true: a unit that does not fit, an action the module does not offer."""

    kind = "unprocessable"


class RateLimited(Error):
    """Too often; try again after :attr:`~Error.retry_after` seconds."""

    kind = "rate_limited"


class Internal(Error):
    """The hub's own fault. Its log has the :attr:`~Error.request_id`."""

    kind = "internal"


class Unavailable(Error, ConnectionError):
    """The hub cannot now: it starts, stops, is overloaded or out of reach, or something else answers there."""

    kind = "unavailable"


class Timeout(Unavailable, TimeoutError):
    """The hub did not answer in time, or a command was not done in time."""


class StorageFull(Error, OSError):
    """The hub's disk is full."""

    kind = "storage_full"


class ModuleFailed(Error, RuntimeError):
    """A module could not go on, or did not stop in time; its devices may not be safe."""


class Refused(Error):
    """For a module to raise: it will not do this action, or not with these parameters.

    The command is then ``rejected``; after any other exception it is ``failed``.
    """


_CLASSES: dict[str, type[Error]] = {
    "timeout": Timeout,
    "module_failed": ModuleFailed,
    **{cls.kind: cls for cls in Error.__subclasses__() if cls.kind is not None},
}


def error_of(
    kind: str,
    detail: str,
    *,
    pointer: str | None = None,
    choices: list[str] | None = None,
    request_id: str | None = None,
    retry_after: float | None = None,
) -> Error:
    """The exception for a kind; the native half makes its errors here."""
    cls = _CLASSES.get(kind, Internal)
    return cls(detail, pointer=pointer, choices=choices, request_id=request_id, retry_after=retry_after)
