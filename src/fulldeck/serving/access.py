"""Who may ask, and how much: a key in the header, and a bucket of tokens a key."""

import logging
import math
from collections.abc import Callable
from http import HTTPStatus
from ipaddress import ip_address
from time import monotonic
from typing import TYPE_CHECKING

from starlette.datastructures import Headers
from starlette.requests import Request

from fulldeck.errors import ConfigError
from fulldeck.serving.problems import Problem

if TYPE_CHECKING:
    from fulldeck.serving.keys import Key, KeyRing

logger = logging.getLogger(__name__)


class Rates:
    """A bucket of tokens a key: an image takes one, and they come back at a steady rate.

    A request is let in while there is one token, which it takes; what more its images cost is taken all the same, and
    the bucket has to fill again above zero. So a request need not be read before it is known whether it may be.

    Args:
        per_second: tokens that come back a second; 0 for no limit at all.
        burst: tokens in a full bucket.
        clock: tells the time in seconds.
    """

    def __init__(self, per_second: float, burst: int, clock: Callable[[], float] = monotonic) -> None:
        self._per_second = per_second
        self._burst = burst
        self._clock = clock
        self._buckets: dict[str, tuple[float, float]] = {}

    def wait(self, key: str) -> float:
        """The seconds until this key may ask again; 0 where it may now."""
        missing = 1 - self._tokens(key)
        return missing / self._per_second if self._per_second and missing > 0 else 0.0

    def take(self, key: str, images: int) -> None:
        """Take the tokens of so many images."""
        self._buckets[key] = (self._tokens(key) - images, self._clock())

    def _tokens(self, key: str) -> float:
        tokens, since = self._buckets.get(key, (float(self._burst), 0.0))
        return min(self._burst, tokens + (self._clock() - since) * self._per_second)


def key_of(request: Request) -> str | None:
    """The id of the key that the request came with; None where the service asks for none.

    Raises:
        Problem: 401 without a key that is in use.
    """
    ring: KeyRing | None = request.app.state.keys
    if ring is None:
        return None
    try:
        key = key_in(ring, request.headers)
    except ConfigError as error:
        detail = "the service cannot read its keys: its operator finds the cause in the log"
        logger.error("%s", error)  # noqa: TRY400  (its sentence says all)
        raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, "no-keys", detail, headers={"Retry-After": "60"}) from error
    request.state.key_id = key.id
    request.state.key_is_admin = key.admin
    return key.id


def key_in(ring: "KeyRing", headers: Headers) -> "Key":
    """The key that a request's headers bring.

    Raises:
        Problem: 401; there is none that is in use.
        ConfigError: the keys cannot be read.
    """
    given = _given(headers)
    key = ring.find(given) if given else None
    if key is None:
        code, detail = ("wrong-key", "this key is not known, or was revoked") if given else ("no-key", _NO_KEY)
        raise Problem(HTTPStatus.UNAUTHORIZED, code, detail, headers={"WWW-Authenticate": 'Bearer realm="fulldeck"'})
    return key


def _given(headers: Headers) -> str | None:
    """The key as it was sent, in either of its headers."""
    scheme, _, credentials = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and credentials.strip():
        return credentials.strip()
    return headers.get("x-api-key")


def administrator(request: Request) -> None:
    """Let in whoever runs the service: by a key for it, or, where the service asks for none, from this machine.

    A page in a browser on this machine is not its operator, nor is what a proxy on it passes on.

    Raises:
        Problem: 401 or 403 for all others.
    """
    if key_of(request) is not None:
        if not request.state.key_is_admin:
            raise Problem(HTTPStatus.FORBIDDEN, "no-administrator", _NO_ADMIN)
        return
    passed_on = any(name in request.headers for name in _PASSED_ON)
    if passed_on or request.client is None or not _is_loopback(request.client.host):
        detail = "this can be asked from the machine alone that the service runs on, or of a service with keys"
        raise Problem(HTTPStatus.FORBIDDEN, "no-administrator", detail)


def _is_loopback(host: str) -> bool:
    try:
        address = ip_address(host)
        return (getattr(address, "ipv4_mapped", None) or address).is_loopback
    except ValueError:  # a name, which says nothing
        return False


_PASSED_ON = ("origin", "forwarded", "x-forwarded-for", "x-real-ip", "via")
"""What a browser or a proxy adds."""

_NO_ADMIN = "this needs an administrator's key: make one with `fulldeck keys add NAME --admin`"
_NO_KEY = "this service asks for a key: send it as `Authorization: Bearer KEY`"


def within_rate(request: Request) -> str | None:
    """The id of the key that the request came with, which may ask now; None where the service asks for none.

    Raises:
        Problem: 401 without a key that is in use, 429 where it has asked too much lately.
    """
    key = key_of(request)
    if key is not None:
        check_rate(request.app.state.rates, key)
    return key


def check_rate(rates: Rates, key: str) -> None:
    """See whether a key may ask now.

    Raises:
        Problem: 429; it has asked too much lately.
    """
    if wait := rates.wait(key):
        seconds = math.ceil(wait)
        detail = f"this key has sent too many images: try again in {seconds} s"
        raise Problem(HTTPStatus.TOO_MANY_REQUESTS, "rate-limit", detail, headers={"Retry-After": str(seconds)})
