"""Google Cloud Storage's emulator with an empty bucket, for tests that read and write gs:// addresses."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest


@contextmanager
def an_empty_bucket(name: str) -> Iterator[str]:
    """Start an emulator; give the bucket's address, which works in this process and in those it starts."""
    server = pytest.importorskip("gcp_storage_emulator.server").create_server("127.0.0.1", 0, in_memory=True)
    gcsfs = pytest.importorskip("gcsfs")
    server.start()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STORAGE_EMULATOR_HOST", "http://{}:{}".format(*server._api._httpd.server_address))
        patch.setenv("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
        patch.setenv("NO_GCE_CHECK", "true")
        gcsfs.GCSFileSystem.clear_instance_cache()  # one that knows an emulator which is gone would wait for it
        gcsfs.GCSFileSystem(token="anon", skip_instance_cache=True).mkdir(name)
        yield f"gs://{name}"
        gcsfs.GCSFileSystem.clear_instance_cache()
    server.stop()
