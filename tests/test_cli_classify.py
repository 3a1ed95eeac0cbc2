import fcntl
import io
import json
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from fulldeck.cli import main
from fulldeck.inference.recognizer import Recognizer

COLOURS = {"red.png": (240, 20, 20), "green.jpg": (20, 240, 20), "sub/blue.webp": (20, 20, 240)}


@pytest.fixture
def photos(tmp_path, monkeypatch):
    folder = tmp_path / "photos"
    (folder / "sub").mkdir(parents=True)
    for name, colour in COLOURS.items():
        pixels = np.full((60, 40, 3), colour[::-1], np.uint8)
        cv2.imwrite(str(folder / name), pixels)
    monkeypatch.chdir(tmp_path)
    return folder


@pytest.fixture
def classify(tiny_model):
    def run(*arguments, **options):
        return CliRunner().invoke(main, ["classify", "--model", str(tiny_model), *map(str, arguments)], **options)

    return run


def lines(result):
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_json_is_one_object_a_line(classify, photos, tiny_model):
    result = classify("--json", "photos/red.png", "photos/green.jpg")
    assert result.exit_code == 0
    first, second = lines(result)
    assert list(first) == ["file", "label", "probability", "accepted", "alternatives"]
    assert all(list(other) == ["label", "probability"] for other in first["alternatives"])
    wanted = Recognizer(tiny_model).classify("photos/red.png")
    assert (first["file"], first["label"]) == ("photos/red.png", wanted.label)
    assert first["probability"] == pytest.approx(wanted.probability, abs=1e-6)
    assert first["accepted"] is wanted.accepted
    assert second["file"] == "photos/green.jpg"
    assert result.stderr == ""


def test_the_table_has_a_header_and_symbols(classify, photos, tiny_model):
    result = classify("photos/red.png")
    header, row = result.stdout.splitlines()
    assert header.split() == ["FILE", "CARD", "PROB.", "NEXT", "BEST"]
    assert row.startswith("photos/red.png")
    assert Recognizer(tiny_model).classify("photos/red.png").label in row
    assert any(symbol in row for symbol in "♣♦♥♠")
    assert "\x1b" not in result.stdout


def test_folders_and_patterns(classify, photos):
    found = [line["file"] for line in lines(classify("--json", "photos"))]
    assert found == ["photos/green.jpg", "photos/red.png", "photos/sub/blue.webp"]
    assert [line["file"] for line in lines(classify("--json", "photos/*.png"))] == ["photos/red.png"]


def test_standard_input(classify, photos):
    data = (photos / "red.png").read_bytes()
    piped, file = lines(classify("--json", "-", "photos/red.png", input=data))
    assert piped["file"] == "-"
    assert piped["label"] == file["label"]


def test_the_threshold(classify, photos):
    (never,) = lines(classify("--json", "--threshold", "1", "photos/red.png"))
    (always,) = lines(classify("--json", "--threshold", "0", "photos/red.png"))
    assert (never["accepted"], always["accepted"]) == (False, True)
    assert classify("--threshold", "1.5", "photos/red.png").exit_code == 2


BROKEN = {
    "empty.jpg": (b"", "the file is empty"),
    "text.jpg": (b"hello", "this is no image that fulldeck reads"),
    "cut.jpg": (None, "truncated"),
    "dot.png": (cv2.imencode(".png", np.zeros((1, 1, 3), np.uint8))[1].tobytes(), "too few"),
}


@pytest.fixture
def broken(photos):
    noise = np.random.default_rng(0).integers(0, 256, (90, 90, 3), dtype=np.uint8)
    for name, (data, _) in BROKEN.items():
        jpeg = cv2.imencode(".jpg", noise)[1].tobytes()
        (photos / name).write_bytes(jpeg[: len(jpeg) // 2] if data is None else data)
    (photos / "none").mkdir()
    return [f"photos/{name}" for name in BROKEN] + ["photos/none", "nowhere.jpg", "photos/*.gif"]


def test_an_error_is_its_files_own(classify, broken):
    result = classify("--json", "photos/red.png", *broken, "photos/green.jpg")
    assert result.exit_code == 1
    first, *errors, last = lines(result)
    assert "label" in first
    assert "label" in last
    assert [error["file"] for error in errors] == broken
    assert all(list(error) == ["file", "error"] for error in errors)
    reasons = [reason for _, reason in BROKEN.values()] + [
        "no images in this folder",
        "no such file",
        "no file matches",
    ]
    for error, reason in zip(errors, reasons, strict=True):
        assert error["file"] in error["error"]
        assert reason in error["error"]


def test_in_the_table_errors_go_to_standard_error(classify, broken):
    result = classify("photos/red.png", *broken, "photos/green.jpg")
    assert result.exit_code == 1
    assert [line.split()[0] for line in result.stdout.splitlines()] == ["FILE", "photos/red.png", "photos/green.jpg"]
    errors = result.stderr.splitlines()
    assert len(errors) == len(broken)
    assert all(line.startswith(f"Error: {file}: ") for line, file in zip(errors, broken, strict=True))


def test_errors_alone_print_no_header(classify, photos):
    result = classify("nowhere.jpg")
    assert (result.exit_code, result.stdout) == (1, "")


def test_a_bad_model_is_one_sentence(photos, tmp_path):
    (tmp_path / "bad.onnx").write_text("no model")
    result = CliRunner().invoke(main, ["classify", "--model", "bad.onnx", "photos/red.png"])
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: bad.onnx: this is no ONNX model")
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("path", "said"),
    [("", 'Error: "": an empty path'), ("https://host/card.jpg", "Error: https://host/card.jpg: this is an address")],
)
def test_a_path_that_is_none_is_said_to_be_none(classify, photos, path, said):
    result = classify(path, "photos/red.png")
    assert result.exit_code == 1
    assert result.stderr.startswith(said)
    assert "photos/red.png" in result.stdout


@pytest.mark.parametrize("option", ["--model", "--locator"])
def test_a_model_at_an_address_is_shown_as_it_was_written(photos, option):
    result = CliRunner().invoke(main, ["classify", option, "gs://user:secret@bucket/m.onnx", "photos/red.png"])
    assert result.exit_code == 2
    assert "bucket/m.onnx is an address: a path of this machine is wanted here" in result.stderr
    assert "gs://" in result.stderr
    assert "secret" not in result.stderr


def test_paths_are_needed():
    assert CliRunner().invoke(main, ["classify"]).exit_code == 2


def test_another_classifier_than_of_cards(make_model, photos):
    model = make_model(labels=["cat", "dog"])
    result = CliRunner().invoke(main, ["classify", "--model", str(model), "photos/red.png"])
    assert result.exit_code == 0
    assert "cat" in result.stdout
    assert "dog" in result.stdout


# --- as a process ----------------------------------------------------------------------------------------------------

COMMAND = [sys.executable, "-c", "from fulldeck.cli import main; main()", "classify"]


def test_native_libraries_keep_quiet(tiny_model, photos):
    noise = np.random.default_rng(0).integers(0, 256, (200, 200, 3), dtype=np.uint8)
    jpeg = bytearray(cv2.imencode(".jpg", noise)[1].tobytes())
    del jpeg[len(jpeg) // 2 : -1000]
    (photos / "hurt.jpg").write_bytes(jpeg)
    tiff = io.BytesIO()
    Image.fromarray(noise).save(tiff, "TIFF", compression="tiff_adobe_deflate")
    hurt = bytearray(tiff.getvalue())
    hurt[1000:1100] = bytes(100)
    (photos / "hurt.tif").write_bytes(hurt)  # of which libtiff complains on file descriptor 2
    paths = ["photos/hurt.jpg", "photos/hurt.tif", "photos/red.png"]
    result = subprocess.run(
        [*COMMAND, "--model", tiny_model, *paths], capture_output=True, text=True, check=False, encoding="utf-8"
    )
    assert result.returncode == 1
    first, second = result.stderr.splitlines()
    assert first.startswith("Error: photos/hurt.jpg: the JPEG is damaged")
    assert second.startswith("Error: photos/hurt.tif: the TIFF is truncated or damaged")
    assert "photos/red.png" in result.stdout


def test_a_standard_output_that_knows_no_symbols(tiny_model, photos):
    result = subprocess.run(
        [*COMMAND, "--model", tiny_model, "photos/red.png"],
        capture_output=True,
        check=False,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
    )
    assert result.returncode == 0, result.stderr
    assert b"photos/red.png" in result.stdout


def test_a_reader_that_goes_away(tiny_model, photos):
    process = subprocess.Popen(
        [*COMMAND, "--model", tiny_model, *["photos"] * 200], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout.readline().startswith(b"FILE")
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait(30) == 1
    process.stderr.close()


def test_an_interrupt(tiny_model, photos):
    process = subprocess.Popen(
        [*COMMAND, "--model", tiny_model, "photos/red.png", "-", "photos/red.png"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout.readline().startswith(b"FILE")
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)  # while it waits for standard input
    try:
        assert process.wait(30) == 1
        assert process.stderr.read().strip() == b"Aborted!"
    finally:
        process.kill()
        process.communicate()


def on_a_terminal(command, redirect_stdout=None):
    """Run a command on a terminal of 100 columns; return its exit code and what the terminal got."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
    process = subprocess.Popen(
        command, stdin=theirs, stdout=redirect_stdout or theirs, stderr=theirs, env={**os.environ, "TERM": "xterm"}
    )
    os.close(theirs)
    shown = b""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        ready, _, _ = select.select([ours], [], [], 0.1)
        try:
            part = os.read(ours, 65536) if ready else None
        except OSError:  # the other end is closed
            break
        if part == b"":
            break
        shown += part or b""
    os.close(ours)
    return process.wait(10), shown.decode()


@pytest.mark.parametrize("many", [False, True])
def test_on_a_terminal_there_are_colours_and_on_many_images_a_bar(tiny_model, photos, many):
    code, shown = on_a_terminal([*COMMAND, "--model", tiny_model, *["photos"] * (20 if many else 1), "nowhere.jpg"])
    assert code == 1
    assert "\x1b[32m✓" in shown
    assert "Error: nowhere.jpg: there is no such file" in shown
    assert shown.count("photos/red.png") == (20 if many else 1)
    assert ("images" in shown and "/61" in shown) == many


def test_a_bar_beside_a_file_of_answers(tiny_model, photos, tmp_path):
    with (tmp_path / "answers.jsonl").open("wb") as file:
        code, shown = on_a_terminal([*COMMAND, "--json", "--model", tiny_model, *["photos"] * 20], file)
    assert code == 0
    assert "60/60" in shown
    written = (tmp_path / "answers.jsonl").read_text().splitlines()
    assert len([json.loads(line) for line in written]) == 60
