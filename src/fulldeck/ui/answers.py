"""Where the page's answers come from: the model in this process, or a service elsewhere."""

import json
import urllib.error
import urllib.request
import uuid
from pathlib import Path

from fulldeck.errors import ConfigError, FulldeckError, ImageError
from fulldeck.inference.recognizer import Alternative, Prediction, Recognizer


class Local:
    """Asks a model in this process.

    Raises:
        ModelError: the model cannot be used.
    """

    def __init__(self, model: Path | None) -> None:
        self._recognizer = Recognizer(model)
        info = self._recognizer.info
        self.name = f"{info.name} (version {info.version}) in this process"

    def ask(self, _name: str, data: bytes) -> Prediction:
        """Name the card on one image.

        Raises:
            ImageError: it cannot be read.
        """
        return self._recognizer.classify(data)


class Remote:
    """Asks a fulldeck service.

    Raises:
        ConfigError: the address is none of the web's.
    """

    def __init__(self, url: str) -> None:
        if not url.startswith(("http://", "https://")):
            raise ConfigError(f"FULLDECK_URL={url} is no address of a service: write http://host:port")
        self._url = f"{url.rstrip('/')}/classify/"
        self.name = f"the service at {url}"

    def ask(self, name: str, data: bytes) -> Prediction:
        """Name the card on one image.

        Raises:
            ImageError: the service cannot read it; the sentence is the service's.
            FulldeckError: the service does not answer.
        """
        boundary = uuid.uuid4().hex
        safe = "".join(character for character in name if character.isprintable() and character not in '"\\')
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="files"; filename="{safe}"\r\n\r\n'
        body = head.encode() + data + f"\r\n--{boundary}--\r\n".encode()
        headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
        request = urllib.request.Request(self._url, body, headers)  # noqa: S310  (the constructor looked at the scheme)
        try:
            with urllib.request.urlopen(request, timeout=30) as response:  # noqa: S310
                answer = json.load(response)["predictions"][0]
            others = tuple(Alternative(a["label"], a["probability"]) for a in answer["alternatives"])
            return Prediction(answer["label"], answer["probability"], answer["accepted"], others)
        except urllib.error.HTTPError as error:
            raise _refusal(error, self._url) from error
        except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
            raise FulldeckError(
                f"{self._url} gave no answer ({error}): is a fulldeck service running there?"
            ) from error


def _refusal(error: urllib.error.HTTPError, url: str) -> FulldeckError:
    """The service's own sentence where it sent one."""
    try:
        detail = str(json.load(error)["detail"])
    except (OSError, ValueError, KeyError, TypeError):
        return FulldeckError(f"{url} answered with status {error.code}")
    return ImageError(detail) if error.code in {413, 415, 422} else FulldeckError(detail)
