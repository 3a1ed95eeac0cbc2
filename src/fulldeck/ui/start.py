"""Starts Streamlit with the page, in this process."""

import os
from pathlib import Path

from streamlit.web.cli import main as streamlit


def run(port: int, model: Path | None = None) -> None:
    """Serve the page on the loopback until it is interrupted.

    Args:
        port: the port to listen on.
        model: a model file; without it ``FULLDECK_MODEL``, and without that the shipped champion. Where
            ``FULLDECK_URL`` is set, the service there answers instead.
    """
    if model is not None:
        os.environ["FULLDECK_MODEL"] = str(model)
    page = Path(__file__).with_name("page.py")
    settings = {
        "server.address": "127.0.0.1",
        "server.port": port,
        "server.maxUploadSize": 50,  # MB a file
        "server.fileWatcherType": "none",
        "server.showEmailPrompt": "false",
        "browser.gatherUsageStats": "false",
        "client.toolbarMode": "minimal",
    }
    streamlit(["run", str(page), *(f"--{name}={value}" for name, value in settings.items())])
