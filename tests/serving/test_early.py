import gc
import subprocess
import sys

from fulldeck.serving.early import hold_garbage, look_for_garbage

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


def test_garbage_is_looked_for_again_once_the_model_answers():
    usual = gc.get_threshold()
    hold_garbage()
    assert gc.get_threshold()[0] > 100 * usual[0]
    kept = gc.get_freeze_count()
    look_for_garbage()
    assert gc.get_threshold() == usual
    assert gc.get_freeze_count() > kept
    gc.unfreeze()
