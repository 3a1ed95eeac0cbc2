"""Where the page's answers come from: the model in this process, or a service elsewhere."""

from pathlib import Path

from fulldeck.client import Client
from fulldeck.inference.recognizer import Located, Prediction, Recognizer


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

    def locate(self, _name: str, data: bytes) -> Located:
        """Find and name the cards on one image.

        Raises:
            ImageError: it cannot be read.
        """
        return self._recognizer.locate(data)


class Remote:
    """Asks a fulldeck service.

    Args:
        url: where it is.
        key: the API key that it wants, if it wants one.

    Raises:
        ConfigError: the address is none of the web's, or the key cannot be sent.
    """

    def __init__(self, url: str, key: str | None = None) -> None:
        self._url, self._key = url, key
        self._client().close()  # a wrong address is said at once
        self.name = f"the service at {url}"

    def ask(self, name: str, data: bytes) -> Prediction:
        """Name the card on one image.

        Raises:
            ImageError: the service cannot read it; the sentence is the service's.
            ServiceError: the service does not answer, or does not let us in.
        """
        with self._client() as client:
            return client.classify(data, name)

    def locate(self, name: str, data: bytes) -> Located:
        """Find and name the cards on one image.

        Raises:
            ImageError: the service cannot read it; the sentence is the service's.
            ServiceError: the service does not answer, or does not let us in.
        """
        with self._client() as client:
            return client.locate(data, name)

    def _client(self) -> Client:
        return Client(self._url, self._key, retries=1)  # somebody sits before the page and waits
