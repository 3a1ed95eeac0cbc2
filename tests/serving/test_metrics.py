"""What is shown is what has come until then, however late the library is told of it."""

from fulldeck.serving.metrics import Metrics


def test_a_histogram_shows_all_that_it_was_given():
    metrics = Metrics()
    for count in (1, 2, 700):
        for _ in range(count):
            metrics.timed("decode", 0.004)
            metrics.inferred(3)
    value = metrics.registry.get_sample_value
    assert value("fulldeck_stage_seconds_count", {"stage": "decode"}) == 703
    assert value("fulldeck_stage_seconds_bucket", {"stage": "decode", "le": "0.005"}) == 703
    assert value("fulldeck_stage_seconds_bucket", {"stage": "decode", "le": "0.0025"}) == 0
    assert value("fulldeck_batch_images_sum") == 3 * 703
    metrics.inferred(5)
    assert value("fulldeck_batch_images_sum") == 3 * 703 + 5
