"""Asks a fulldeck service elsewhere what a recogniser in this process would be asked. It needs the extra ``client``.

    with Client("http://127.0.0.1:8000") as client:
        print(client.classify("photo.jpg").label)

A request that fails for a passing reason (no connection, 429, 502, 503, 504) is made again after a pause, which grows
from one to the next and is never shorter than the service's ``Retry-After``.
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Self, TypeVar, overload

import httpx

from fulldeck.errors import ConfigError, FulldeckError, ImageError
from fulldeck.inference.image import read_bytes
from fulldeck.inference.recognizer import Alternative, Located, LocatedCard, Prediction
from fulldeck.remote import public_address

Picture = str | Path | bytes
Pictures = list[Any] | tuple[Any, ...]

RETRIES = 4
"""So often a request is made again, at most."""

FIRST_PAUSE = 0.25
LONGEST_PAUSE = 30.0
"""Seconds; if the service asks for more patience than the longest, its refusal is passed on at once."""

FILES_A_REQUEST = 16
BYTES_A_REQUEST = 16 * 2**20
"""A list of images goes out in requests of so many at most, half of what a service takes by default."""

CONNECTIONS = 8
"""So many requests side by side keep a service busy over a network."""

_PASSING = {429, 502, 503, 504}


class ServiceError(FulldeckError):
    """The service gave no answer.

    Attributes:
        status: the HTTP status; None where there was no response at all.
        code: the fault in a word or two, such as "rate-limit" or "wrong-key"; empty where the service said none.
        request_id: under which the service's log has it; empty where it said none.
    """

    def __init__(self, message: str, status: int | None = None, code: str = "", request_id: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.request_id = request_id


@dataclass(frozen=True)
class ServedModel:
    """The model that serves.

    Attributes:
        name: the network's name.
        version: the model's version.
        labels: every label it can give.
        size: the side of its square input in pixels.
        threshold: it accepts from this probability on.
    """

    name: str
    version: str
    labels: tuple[str, ...]
    size: int
    threshold: float


class Client:
    """A service, to be asked as a :class:`fulldeck.Recognizer` is. It may be shared between threads.

    Args:
        url: where the service is, such as ``http://127.0.0.1:8000``.
        key: an API key, if the service asks for one.
        threshold: accept predictions from this probability on, in place of the model's own threshold.
        timeout: seconds for a connection, and between two signs of life on it.
        retries: how often a request that failed for a passing reason is made again.

    Raises:
        ConfigError: the address is none of the web's, the key has characters that no key has, the threshold is no
            probability, or the retries are fewer than 0.
    """

    def __init__(
        self,
        url: str,
        key: str | None = None,
        *,
        threshold: float | None = None,
        timeout: float = 60.0,
        retries: int = RETRIES,
    ) -> None:
        address = _address(url)
        _check(threshold, retries)
        self._shown = public_address(url).rstrip("/")
        self._threshold = threshold
        self._retries = retries
        self._http = httpx.Client(base_url=address, headers=_headers(key), timeout=timeout)

    @overload
    def classify(self, image_or_images: Picture, name: str = "image") -> Prediction: ...

    @overload
    def classify(self, image_or_images: Pictures, name: str = "image") -> list[Prediction]: ...

    def classify(self, image_or_images: Picture | Pictures, name: str = "image") -> Prediction | list[Prediction]:
        """Name what one image shows, or each of a list or tuple of images.

        Args:
            image_or_images: a path or the bytes of an image file, or several of them.
            name: what error messages call an image that is not a path.

        Raises:
            ImageError: an image cannot be read, here or by the service. Of a list nothing is returned then.
            ServiceError: the service gave no answer.
        """
        answers = [answer for batch in _batches(image_or_images, name) for answer in self._ask(batch)]
        return answers if isinstance(image_or_images, list | tuple) else answers[0]

    @overload
    def locate(self, image_or_images: Picture, name: str = "image") -> Located: ...

    @overload
    def locate(self, image_or_images: Pictures, name: str = "image") -> list[Located]: ...

    def locate(self, image_or_images: Picture | Pictures, name: str = "image") -> Located | list[Located]:
        """Find and name the cards in one image, or in each of a list or tuple: see :meth:`classify`."""
        answers = [answer for batch in _batches(image_or_images, name) for answer in self._ask_where(batch)]
        return answers if isinstance(image_or_images, list | tuple) else answers[0]

    @cached_property
    def info(self) -> ServedModel:
        """The model that serves, as it was at the first question.

        Raises:
            ServiceError: the service gave no answer, or has no model yet.
        """
        return _model(self._send("GET", "/"), self._shown)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ask(self, batch: "list[_Image]") -> list[Prediction]:
        return _predictions(self._send("POST", "/classify/", **_body(batch)), batch, self._shown, self._threshold)

    def _ask_where(self, batch: "list[_Image]") -> list[Located]:
        return _located(self._send("POST", "/locate/", **_body(batch)), batch, self._shown, self._threshold)

    def _send(self, method: str, path: str, **body: Any) -> httpx.Response:
        for attempt in range(self._retries + 1):
            outcome: httpx.Response | httpx.RequestError
            try:
                outcome = self._http.request(method, path, **body)
            except httpx.RequestError as error:
                outcome = error
            pause = _pause(outcome, attempt)
            if pause is None or attempt == self._retries:
                break
            time.sleep(pause)
        return _response(outcome, self._shown)


class AsyncClient:
    """The same for asyncio: see :class:`Client`, whose arguments it takes."""

    def __init__(
        self,
        url: str,
        key: str | None = None,
        *,
        threshold: float | None = None,
        timeout: float = 60.0,
        retries: int = RETRIES,
    ) -> None:
        address = _address(url)
        _check(threshold, retries)
        self._shown = public_address(url).rstrip("/")
        self._threshold = threshold
        self._retries = retries
        self._http = httpx.AsyncClient(base_url=address, headers=_headers(key), timeout=timeout)

    @overload
    async def classify(self, image_or_images: Picture, name: str = "image") -> Prediction: ...

    @overload
    async def classify(self, image_or_images: Pictures, name: str = "image") -> list[Prediction]: ...

    async def classify(self, image_or_images: Picture | Pictures, name: str = "image") -> Prediction | list[Prediction]:
        """Name what one image shows, or each of several: see :meth:`Client.classify`."""
        batches = _batches_apart(image_or_images, name)
        answers = [answer async for batch in batches for answer in await self._ask(batch)]
        return answers if isinstance(image_or_images, list | tuple) else answers[0]

    @overload
    async def locate(self, image_or_images: Picture, name: str = "image") -> Located: ...

    @overload
    async def locate(self, image_or_images: Pictures, name: str = "image") -> list[Located]: ...

    async def locate(self, image_or_images: Picture | Pictures, name: str = "image") -> Located | list[Located]:
        """Find and name the cards in one image, or in each of several: see :meth:`Client.locate`."""
        batches = _batches_apart(image_or_images, name)
        answers = [answer async for batch in batches for answer in await self._ask_where(batch)]
        return answers if isinstance(image_or_images, list | tuple) else answers[0]

    async def info(self) -> ServedModel:
        """The model that serves: see :attr:`Client.info`."""
        return _model(await self._send("GET", "/"), self._shown)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _ask(self, batch: "list[_Image]") -> list[Prediction]:
        return _predictions(await self._send("POST", "/classify/", **_body(batch)), batch, self._shown, self._threshold)

    async def _ask_where(self, batch: "list[_Image]") -> list[Located]:
        return _located(await self._send("POST", "/locate/", **_body(batch)), batch, self._shown, self._threshold)

    async def _send(self, method: str, path: str, **body: Any) -> httpx.Response:
        for attempt in range(self._retries + 1):
            outcome: httpx.Response | httpx.RequestError
            try:
                outcome = await self._http.request(method, path, **body)
            except httpx.RequestError as error:
                outcome = error
            pause = _pause(outcome, attempt)
            if pause is None or attempt == self._retries:
                break
            await asyncio.sleep(pause)
        return _response(outcome, self._shown)


# --- what is sent ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Image:
    name: str
    data: bytes


def _address(url: str) -> httpx.URL:
    """Read a service's address.

    Raises:
        ConfigError: it is none. The sentence leaves out what may be secret in it.
    """
    try:
        address = httpx.URL(url)
    except httpx.InvalidURL:
        address = httpx.URL()
    port_fits = address.port is None or 0 < address.port < 2**16
    if address.scheme not in {"http", "https"} or not address.host or not port_fits or address.query:
        raise ConfigError(f"{public_address(url) or 'nothing'} is no address of a service: write http://host:port")
    return address.copy_with(path=address.path.rstrip("/") or "/", fragment=None)


def _check(threshold: float | None, retries: int) -> None:
    if threshold is not None and not 0 <= threshold <= 1:
        raise ConfigError(f"the threshold is a probability from 0 to 1, not {threshold}")
    if retries < 0:
        raise ConfigError(f"the retries are 0 or more, not {retries}")


def _headers(key: str | None) -> dict[str, str]:
    if key is None:
        return {}
    if not key or not key.isascii() or not key.isprintable() or " " in key:
        raise ConfigError("this cannot be an API key: write it as `fulldeck keys add` showed it")
    return {"Authorization": f"Bearer {key}"}


def _read(image: Picture, name: str) -> _Image:
    return _Image(name, image) if isinstance(image, bytes) else _Image(str(image), read_bytes(image))


def _batches(pictures: Picture | Pictures, name: str) -> Iterator[list[_Image]]:
    """Read one image, or those of a list, so many at a time as one request takes."""
    if not isinstance(pictures, list | tuple):
        yield [_read(pictures, name)]
        return
    batch: list[_Image] = []
    for index, picture in enumerate(pictures):
        image = _read(picture, f"{name} {index}")
        size = sum(len(other.data) for other in batch) + len(image.data)
        if batch and (len(batch) == FILES_A_REQUEST or size > BYTES_A_REQUEST):
            yield batch
            batch = []
        batch.append(image)
    if batch:
        yield batch


async def _batches_apart(pictures: Picture | Pictures, name: str) -> AsyncIterator[list[_Image]]:
    """Read as `_batches` does, in a thread, so that a slow disk does not stop the event loop."""
    batches = _batches(pictures, name)
    while batch := await asyncio.to_thread(next, batches, None):
        yield batch


def _body(batch: list[_Image]) -> dict[str, Any]:
    """One image as the body itself, several as a form; their names stay here, where they mean something."""
    if len(batch) == 1:
        return {"content": batch[0].data, "headers": {"Content-Type": "image/*"}}
    return {"files": [("files", (str(index), image.data, "image/*")) for index, image in enumerate(batch)]}


# --- what comes back -------------------------------------------------------------------------------------------------


def _pause(outcome: httpx.Response | httpx.RequestError, attempt: int) -> float | None:
    """The seconds before the request is made again; None where that is of no use."""
    pause = min(FIRST_PAUSE * 2.0**attempt, LONGEST_PAUSE) * random.uniform(0.5, 1)  # noqa: S311  (no secret)
    if isinstance(outcome, httpx.UnsupportedProtocol | httpx.ProxyError | httpx.DecodingError):
        return None
    if isinstance(outcome, httpx.RequestError):
        return pause
    if outcome.status_code not in _PASSING:
        return None
    asked = _retry_after(outcome.headers.get("retry-after", ""))
    return None if asked > LONGEST_PAUSE else max(pause, asked)


def _retry_after(value: str) -> float:
    """The seconds of a Retry-After header, a number or a date (RFC 9110, 10.2.3); 0 where there is none."""
    try:
        return float(value)
    except ValueError:
        pass
    try:
        return (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds()
    except (ValueError, TypeError):
        return 0.0


def _response(outcome: httpx.Response | httpx.RequestError, url: str) -> httpx.Response:
    if isinstance(outcome, httpx.DecodingError):
        raise _foreign(url) from outcome
    if isinstance(outcome, httpx.RequestError):
        reason = str(outcome) or type(outcome).__name__
        raise ServiceError(f"{url} gave no answer ({reason}): is a fulldeck service running there?") from outcome
    return outcome


_T = TypeVar("_T")


def _predictions(response: httpx.Response, batch: list[_Image], url: str, threshold: float | None) -> list[Prediction]:
    if not response.is_success:
        raise _refusal(response, batch, url)
    try:
        predictions = [Prediction(*_named(entry, threshold)) for entry in response.json()["predictions"]]
    except (ValueError, KeyError, TypeError) as error:
        raise _foreign(url, response.status_code) from error
    if len(predictions) != len(batch):
        raise _foreign(url, response.status_code)
    return predictions


def _located(response: httpx.Response, batch: list[_Image], url: str, threshold: float | None) -> list[Located]:
    if not response.is_success:
        raise _refusal(response, batch, url)
    try:
        located = [
            Located(tuple(_card(card, threshold) for card in entry["cards"]), entry["width"], entry["height"])
            for entry in response.json()["images"]
        ]
    except (ValueError, KeyError, TypeError) as error:
        raise _foreign(url, response.status_code) from error
    if len(located) != len(batch):
        raise _foreign(url, response.status_code)
    return located


def _card(entry: dict[str, Any], threshold: float | None) -> LocatedCard:
    corners = tuple((x, y) for x, y in entry["corners"])
    return LocatedCard(*_named(entry, threshold), corners, entry["visible"])


def _named(entry: dict[str, Any], threshold: float | None) -> tuple[str, float, bool, tuple[Alternative, ...]]:
    return (
        entry["label"],
        entry["probability"],
        entry["accepted"] if threshold is None else entry["probability"] >= threshold,
        tuple(Alternative(other["label"], other["probability"]) for other in entry["alternatives"]),
    )


def _model(response: httpx.Response, url: str) -> ServedModel:
    if not response.is_success:
        raise _refusal(response, [], url)
    try:
        model = response.json()["model"]
        if model is None:
            raise ServiceError(f"{url} has no model to answer with yet: try again in a second", response.status_code)
        return ServedModel(model["name"], model["version"], tuple(model["labels"]), model["size"], model["threshold"])
    except (ValueError, KeyError, TypeError) as error:
        raise _foreign(url, response.status_code) from error


def _foreign(url: str, status: int | None = None) -> ServiceError:
    return ServiceError(f"{url} gave an answer that is none of a fulldeck service's", status)


def _refusal(response: httpx.Response, batch: list[_Image], url: str) -> FulldeckError:
    """The service's own sentence where it sent one, with the name that the file has here."""
    status = response.status_code
    try:
        problem = response.json()
        code, detail, request_id = str(problem["code"]), str(problem["detail"]), str(problem["request_id"])
        bad = [_bad_image(batch[entry["index"]].name, entry) for entry in problem["errors"]]
    except (ValueError, KeyError, TypeError, IndexError, AttributeError):
        return ServiceError(f"{url} answered with status {status}", status)
    if bad:
        return bad[0]
    if code == "body-too-large" and len(batch) == 1:
        return ImageError(f"{batch[0].name}: {detail}", "too_many_bytes")
    return ServiceError(f"{url}: {detail}", status, code, request_id)


def _bad_image(name: str, entry: dict[str, Any]) -> ImageError:
    sentence = entry["detail"].removeprefix(f"{entry['file']}: ")
    return ImageError(f"{name}: {sentence}", entry["code"].replace("-", "_"))
