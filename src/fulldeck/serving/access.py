"""Who may ask, and how much: a key in the header, and a bucket of tokens a key."""

import logging
import math
from collections.abc import Callable
from http import HTTPStatus
from time import monotonic
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import APIKeyHeader, HTTPAuthorizationCredentials, HTTPBearer

from fulldeck.errors import ConfigError
from fulldeck.serving.keys import KeyRing
from fulldeck.serving.problems import Problem

logger = logging.getLogger(__name__)

_BEARER = HTTPBearer(auto_error=False, description="A key that `fulldeck keys add` made; not asked for on loopback.")
_HEADER = APIKeyHeader(name="X-API-Key", auto_error=False, description="The same key in a header of its own.")


class Rates:
    """A bucket of tokens a key: an image takes one, and they come back at a steady rate.

    A request is let in while there is one token; what more its images cost is taken all the same, and the bucket has to
    fill again above zero. So a request need not be read before it is known whether it may be.

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


def _ring(request: Request) -> KeyRing | None:
    ring: KeyRing | None = request.app.state.keys
    return ring


def authenticated(
    request: Request,
    bearer: Annotated[HTTPAuthorizationCredentials | None, Depends(_BEARER)],
    header: Annotated[str | None, Depends(_HEADER)],
) -> str | None:
    """The id of the key that the request came with; None where the service asks for none.

    Raises:
        Problem: 401 without a key that is in use.
    """
    ring = _ring(request)
    if ring is None:
        return None
    given = bearer.credentials if bearer else header
    try:
        key = ring.find(given) if given else None
    except ConfigError as error:
        detail = "the service cannot read its keys: its operator finds the cause in the log"
        logger.error("%s", error)  # noqa: TRY400  (its sentence says all)
        raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, "no-keys", detail, headers={"Retry-After": "60"}) from error
    if key is None:
        code, detail = ("wrong-key", "this key is not known, or was revoked") if given else ("no-key", _NO_KEY)
        raise Problem(HTTPStatus.UNAUTHORIZED, code, detail, headers={"WWW-Authenticate": 'Bearer realm="fulldeck"'})
    request.state.key_id = key.id
    return key.id


_NO_KEY = "this service asks for a key: send it as `Authorization: Bearer KEY`"


def within_rate(request: Request, key: Annotated[str | None, Depends(authenticated)]) -> str | None:
    """The id of the key, which may ask now.

    Raises:
        Problem: 429 where it has asked too much lately.
    """
    rates: Rates = request.app.state.rates
    if key is not None and (wait := rates.wait(key)):
        seconds = math.ceil(wait)
        detail = f"this key has sent too many images: try again in {seconds} s"
        raise Problem(HTTPStatus.TOO_MANY_REQUESTS, "rate-limit", detail, headers={"Retry-After": str(seconds)})
    return key
