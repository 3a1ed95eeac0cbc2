"""A Locust file: what users of a service do, good and bad, in the shares that they do it.

    locust -f users.py --headless --users 8 --run-time 20s --host http://127.0.0.1:8000

``fulldeck bench serve`` puts these users on a service, too; they live in a process of their own, which gevent changes.
"""

import os
import random
import time
from itertools import cycle
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from locust import FastHttpUser, between, events, task

FILES = 3
NO_IMAGE = b"This is a text, and no image."


@events.init_command_line_parser.add_listener  # type: ignore[untyped-decorator]
def options(parser: Any) -> None:
    """What Locust's own command can be told beside its own options."""
    parser.add_argument("--images", default="", help="A folder with JPEGs to send; else the service's example.")
    parser.add_argument("--pause", type=float, default=0.0, help="Seconds that a user pauses, on average.")


class CardUser(FastHttpUser):
    """Somebody with pictures of cards, a program that was badly written, and what watches over the service.

    A request counts as failed if it is not answered as it should be; what is no image should be refused with 415. Who
    is turned away (429, 503) waits as long as the service asks for.
    """

    def on_start(self) -> None:
        """Get the pictures, and the key that the service may ask for."""
        options = self.environment.parsed_options
        folder = Path(options.images) if options.images else None
        pictures = [path.read_bytes() for path in sorted(folder.rglob("*.jp*g"))] if folder else []
        if not pictures:
            with urlopen(f"{self.host}/example.jpg", timeout=10) as response:  # noqa: S310  (who runs this says where)
                pictures = [response.read()]
        random.shuffle(pictures)  # users are not to send the same ones at once
        self.pictures = cycle(pictures)
        self.headers = {"Authorization": f"Bearer {key}"} if (key := os.environ.get("FULLDECK_KEY")) else {}
        self.pause = options.pause

    def wait_time(self) -> float:
        """How long a user looks at an answer before the next question."""
        pause: float = between(0, 2 * self.pause)(self)
        return pause

    @task(12)
    def classify_one(self) -> None:
        """One picture as the body."""
        self._ask("classify, body", "/classify/", 200, data=next(self.pictures))

    @task(4)
    def classify_several(self) -> None:
        """Several pictures as a form."""
        files = [("files", (f"{number}.jpg", next(self.pictures), "image/jpeg")) for number in range(FILES)]
        self._ask("classify, form", "/classify/", 200, files=files)

    @task(2)
    def locate(self) -> None:
        """One picture, to be searched."""
        self._ask("locate", "/locate/", 200, data=next(self.pictures))

    @task(1)
    def no_image(self) -> None:
        """Something that is none."""
        self._ask("no image", "/classify/", 415, data=NO_IMAGE)

    @task(1)
    def health(self) -> None:
        """Is it alive?"""
        with self.client.get("/health", name="health", catch_response=True) as response:
            self._judge(response, 200)

    def _ask(self, name: str, path: str, wanted: int, **body: Any) -> None:
        headers = self.headers | ({"Content-Type": "image/jpeg"} if "data" in body else {})
        with self.client.post(path, name=name, headers=headers, catch_response=True, **body) as response:
            retry_after = self._judge(response, wanted)
        if retry_after:
            time.sleep(retry_after)  # of this user alone, in Locust's process

    @staticmethod
    def _judge(response: Any, wanted: int) -> float:
        """Tell Locust whether an answer is the right one; how long the service asks to wait."""
        if response.status_code == wanted:
            response.success()
            return 0.0
        try:
            code = response.json()["code"]
        except Exception:  # noqa: BLE001  (whatever came, it was no problem body)
            code = response.error or "no problem body"
        response.failure(f"{response.status_code} {code}")
        return float((response.headers or {}).get("Retry-After", 0))
