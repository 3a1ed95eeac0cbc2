import gc

from fulldeck.garbage import hold_garbage, look_for_garbage


def test_garbage_is_looked_for_again_afterwards():
    usual = gc.get_threshold()
    hold_garbage()
    assert gc.get_threshold()[0] > 100 * usual[0]
    kept = gc.get_freeze_count()
    look_for_garbage()
    assert gc.get_threshold() == usual
    assert gc.get_freeze_count() > kept
    gc.unfreeze()
