"""What a record gets when a network has been trained: the model itself, and what it answers on held-out images."""

import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from fulldeck.data.dataset import DeckDataModule
from fulldeck.inference.classifier import Classifier
from fulldeck.training.evaluate import Answers, draw, telling_examples
from fulldeck.training.export import export
from fulldeck.training.measures import measure
from fulldeck.training.tracking.record import Record

PICTURES = {
    "confusion": "confusion.png",
    "reliability": "reliability.png",
    "roc": "roc.png",
    "coverage": "coverage.png",
    "mistakes": "examples.png",
}
"""The pictures of an evaluation, by the names that they have in a record."""


def keep_model(run: Path, data: DeckDataModule, records: Sequence[Record]) -> None:
    """Export a run's model, ask it about the held-out images, and put both into the records.

    Args:
        run: the folder of a finished run; model.onnx is written there.
        data: the run's images.
        records: where to.

    Raises:
        FulldeckError: the model cannot be exported.
    """
    parity = export(run)
    file = Path(parity.model)
    classifier = Classifier(file)
    info = classifier.info
    held_out = [(pixels.numpy(), targets.numpy()) for pixels, targets in data.val_dataloader()]
    images, truth = (np.concatenate(part) for part in zip(*held_out, strict=True))
    answered = [classifier.run(pixels) for pixels, _ in held_out]
    probabilities, embedding = (np.concatenate(part).astype(np.float64) for part in zip(*answered, strict=True))
    answers = Answers(tuple(map(str, range(len(truth)))), truth, probabilities, embedding, ())
    measures = measure(info.labels, truth, probabilities, info.threshold)
    examples = telling_examples(answers, info, lambda index: images[index])
    figures = {
        "held_out/accuracy": measures.accuracy.value,
        "held_out/macro_f1": measures.macro_f1,
        "held_out/log_loss": measures.log_loss,
        "held_out/ece": measures.calibration.ece,
        "held_out/coverage": measures.selection.coverage,
        "model/temperature": info.temperature,
        "model/threshold": info.threshold,
        "model/megabytes": parity.megabytes,
    }
    with tempfile.TemporaryDirectory() as temporary:
        draw(measures, info, examples, Path(temporary))
        for record in records:
            record.summary(figures)
            for name, picture in PICTURES.items():
                record.picture(name, Path(temporary) / picture, 0)
            metadata = {key: value for key, value in asdict(info).items() if key != "reference"}
            record.model([file, file.with_suffix(".parity.json")], metadata)
