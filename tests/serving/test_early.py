import subprocess
import sys

STARTED = """
import sys
import fulldeck.serving.server
from fulldeck.serving.app import create_app
from fulldeck.serving.settings import Settings
create_app(Settings(predictions_database="none"))
print([name for name in ("fastapi", "pydantic", "sqlalchemy", "onnxruntime") if name in sys.modules])
"""


def test_a_service_is_put_together_without_what_only_its_description_needs():
    done = subprocess.run([sys.executable, "-c", STARTED], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['onnxruntime']"
