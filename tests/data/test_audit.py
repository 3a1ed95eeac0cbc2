import json
import shutil
import subprocess
import sys

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from fulldeck.cli import main
from fulldeck.data.audit import audit, page_path
from fulldeck.data.deck import deck_style, draw_card, style_names
from fulldeck.data.embedding import Embedding
from fulldeck.data.exclusion import read_exclusions
from fulldeck.data.findings import KINDS
from fulldeck.errors import DataError

LABELS = ("ace of clubs", "five of hearts", "king of spades")
SIDE = 96


def write(path, picture):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.ascontiguousarray(picture[..., ::-1]))


@pytest.fixture(scope="session")
def clean(tmp_path_factory):
    """Three cards of thirteen decks, each of its own style: ten decks train, three are valid. Read only."""
    root = tmp_path_factory.mktemp("audit") / "cards"
    for number, style in enumerate(style_names()):
        for label in LABELS:
            face = draw_card(label, deck_style(7, number, style), (SIDE, SIDE))
            write(root / ("train" if number < 10 else "valid") / label / f"{number:03}.png", face)
    return root


@pytest.fixture
def folder(clean, tmp_path):
    """A copy of the clean one, to plant faults in."""
    shutil.copytree(clean, tmp_path / "cards")
    return tmp_path / "cards"


def found(result, kind):
    assert {finding.kind for finding in result.findings} <= set(KINDS)
    return [finding for finding in result.findings if finding.kind == kind]


def only(result, kind):
    """The one finding there is, of that kind."""
    assert [finding.kind for finding in result.findings] == [kind], result.findings
    return result.findings[0]


def recompressed(source, target):
    target.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(target), cv2.imread(str(source)), [cv2.IMWRITE_JPEG_QUALITY, 60])


def truth():
    """An embedding that knows each card, as `stamp` wrote its number into the images' first pixel."""

    def run(batch):
        numbers = batch[:, 0, 0, 0].astype(int) // 40
        jitter = batch[:, 0, 0, 1].astype(np.float32)[:, None] / 255 - 0.5
        vectors = np.eye(7, dtype=np.float32)[numbers] + 0.1 * jitter
        return vectors, vectors

    return Embedding("the truth", SIDE, run)


def stamp(path, number, jitter):
    picture = cv2.imread(str(path))
    picture[0, 0] = (0, jitter, number * 40 + 20)  # blue, green, red
    cv2.imwrite(str(path), picture)


@pytest.fixture
def stamped(folder):
    for at, path in enumerate(sorted(folder.rglob("*.png"))):
        stamp(path, LABELS.index(path.parent.name), 37 * at % 256)
    return folder


# What is found


def test_clean_data_has_no_fault(clean):
    result = audit(clean)
    assert result.findings == ()
    assert result.images == {"train": 30, "valid": 9}
    assert result.labels == 3
    assert result.exclusions() == {}
    assert (result.embedding, result.accuracy) == (None, None)


@pytest.mark.parametrize(
    ("content", "says"), [(b"", "empty"), (b"no image", "no image"), (b"\xff\xd8\xff\xe0", "JPEG")]
)
def test_an_unreadable_file_is_named_and_stops_nothing(folder, content, says):
    (folder / "train/ace of clubs/000.png").write_bytes(content)
    finding = only(audit(folder), "unreadable")
    assert finding.files == ("train/ace of clubs/000.png",)
    assert says in finding.detail
    assert str(folder) not in finding.detail


def test_a_truncated_image_is_unreadable(folder):
    path = folder / "train/ace of clubs/000.png"
    path.write_bytes(path.read_bytes()[:900])
    assert only(audit(folder), "unreadable").files == ("train/ace of clubs/000.png",)


def test_identical_bytes_in_a_split_are_a_duplicate(folder):
    shutil.copy(folder / "train/ace of clubs/003.png", folder / "train/ace of clubs/100.png")
    result = audit(folder)
    finding = only(result, "duplicate")
    assert finding.files == ("train/ace of clubs/003.png", "train/ace of clubs/100.png")
    assert (finding.how, finding.score) == ("bytes", 0)
    assert list(result.exclusions()) == ["train/ace of clubs/100.png"]


def test_identical_pixels_in_other_bytes_are_one_too(folder):
    picture = cv2.imread(str(folder / "train/ace of clubs/003.png"))
    cv2.imwrite(str(folder / "train/ace of clubs/100.bmp"), picture)
    finding = only(audit(folder), "duplicate")
    assert finding.files == ("train/ace of clubs/003.png", "train/ace of clubs/100.bmp")
    assert finding.how == "pixels"


def test_a_recompressed_copy_is_nearly_the_same(folder):
    recompressed(folder / "train/five of hearts/003.png", folder / "train/five of hearts/100.jpg")
    finding = only(audit(folder), "duplicate")
    assert finding.how == "near"
    assert 0 < finding.score <= 0.3


def test_three_copies_are_one_finding_an_identity(folder):
    source = folder / "train/five of hearts/003.png"
    shutil.copy(source, folder / "train/five of hearts/100.png")
    recompressed(source, folder / "train/five of hearts/101.jpg")
    exact, near = audit(folder).findings
    assert (exact.how, len(exact.files)) == ("bytes", 2)
    assert (near.how, len(near.files)) == ("near", 3)


@pytest.mark.parametrize("copy", [shutil.copy, recompressed])
def test_a_picture_in_two_splits_is_a_leak(folder, copy):
    copy(folder / "valid/king of spades/010.png", folder / "train/king of spades/100.jpg")
    result = audit(folder)
    finding = only(result, "leak")
    assert set(finding.files) == {"train/king of spades/100.jpg", "valid/king of spades/010.png"}
    assert list(result.exclusions()) == ["train/king of spades/100.jpg"]  # the exam stays whole


@pytest.mark.parametrize("copy", [shutil.copy, recompressed])
def test_a_picture_under_two_labels_is_a_contradiction(folder, copy):
    copy(folder / "train/king of spades/003.png", folder / "train/ace of clubs/100.jpg")
    result = audit(folder)
    finding = only(result, "contradiction")
    assert finding.files == ("train/ace of clubs/100.jpg", "train/king of spades/003.png")
    assert "ace of clubs and king of spades" in finding.detail
    assert set(result.exclusions()) == set(finding.files)  # nobody knows which is right


def test_a_half_turn_is_another_picture(folder):
    face = cv2.imread(str(folder / "train/five of hearts/000.png"))
    cv2.imwrite(str(folder / "train/five of hearts/100.png"), face[::-1, ::-1])
    assert audit(folder).findings == ()


def test_odd_images_are_outliers(folder):
    face = draw_card("ace of clubs", deck_style(9, 40, "minimal"), (SIDE, SIDE))
    write(folder / "train/ace of clubs/100.png", np.full((SIDE, SIDE, 3), 250, np.uint8))
    write(folder / "train/ace of clubs/101.png", cv2.resize(face, (60 * 4, 60)))
    write(folder / "train/ace of clubs/102.png", cv2.resize(face, (16, 16)))
    said = {finding.files[0][-7:]: finding.detail for finding in found(audit(folder), "outlier")}
    assert set(said) == {"100.png", "101.png", "102.png"}
    assert "one colour" in said["100.png"]
    assert "shape, 240 x 60" in said["101.png"]
    assert "small: 16 x 16" in said["102.png"]


def test_few_many_and_no_images_of_a_label_are_imbalance(folder):
    for path in sorted((folder / "train/ace of clubs").iterdir())[4:]:
        path.unlink()
    shutil.rmtree(folder / "valid/king of spades")
    (folder / "valid/king of spades").mkdir()
    details = [finding.detail for finding in found(audit(folder), "imbalance")]
    assert details == [
        "ace of clubs has 4 images in train, where the median label has 10",
        "king of spades has no image in valid, where the median label has 3",
    ]


def test_a_folder_without_splits(clean):
    result = audit(clean / "train")
    assert result.images == {"all": 30}
    assert result.findings == ()


# Labels, judged by a given embedding


def test_a_label_that_the_others_contradict(stamped):
    (stamped / "train/ace of clubs/003.png").rename(stamped / "train/king of spades/100.png")
    result = audit(stamped, truth())
    finding = only(result, "label")
    assert finding.files == ("train/king of spades/100.png",)
    assert finding.suggested == "ace of clubs"
    assert finding.score < 0.1
    assert result.embedding == "the truth"
    assert result.accuracy == pytest.approx(38 / 39)
    assert list(result.exclusions()) == ["train/king of spades/100.png"]


def test_right_labels_are_not_doubted(stamped):
    result = audit(stamped, truth())
    assert result.findings == ()
    assert result.accuracy == 1


def test_an_image_like_no_other(stamped):
    stamp(stamped / "valid/king of spades/010.png", 4, 200)
    result = audit(stamped, truth())
    assert [finding.files for finding in found(result, "outlier")] == [("valid/king of spades/010.png",)]


def test_copies_do_not_vouch_for_each_other(stamped):
    """A wrong label on every copy of a picture is still found: no copy is in the folds that judge another."""
    for copy in range(3):
        shutil.copy(stamped / "train/ace of clubs/003.png", stamped / f"train/king of spades/10{copy}.png")
    (stamped / "train/ace of clubs/003.png").unlink()
    suspects = {finding.files[0] for finding in found(audit(stamped, truth()), "label")}
    assert suspects == {f"train/king of spades/10{copy}.png" for copy in range(3)}


def test_a_model_that_learned_these_labels_is_not_trusted_silently(clean):
    from fulldeck.data.manifest import content_hash

    for learned, says in ((content_hash(clean / "train"), "has learned the wrong ones"), ("0" * 64, "if it")):
        known = Embedding("champion", 96, truth().run, learned)
        notes = audit(clean, known).notes
        assert any("champion" in note for note in notes)
        assert ("was trained on these images" in notes[0]) == (says == "has learned the wrong ones")


def test_too_few_images_leave_labels_unchecked(folder):
    for path in [*folder.glob("train/*/00[1-9].png"), *folder.glob("valid/*/01[12].png")]:
        path.unlink()
    result = audit(folder, truth())
    assert result.accuracy is None
    assert "labels were not checked" in result.notes[0]


# What cannot be looked at


def test_no_dataset_is_refused(tmp_path):
    with pytest.raises(DataError, match="nowhere"):
        audit(tmp_path / "nowhere")
    (tmp_path / "empty" / "cat").mkdir(parents=True)
    with pytest.raises(DataError, match="holds no images"):
        audit(tmp_path / "empty")


def test_nothing_readable_is_refused(tmp_path):
    (tmp_path / "set/cat").mkdir(parents=True)
    (tmp_path / "set/cat/1.png").write_bytes(b"no image")
    with pytest.raises(DataError, match="none of the 1 images"):
        audit(tmp_path / "set")


# The command


def run(*arguments):
    return CliRunner().invoke(main, ["data", "audit", *map(str, arguments)])


def test_the_command_on_clean_data(clean, tmp_path):
    result = run(clean, "--no-labels", "--page", tmp_path / "page.html")
    assert result.exit_code == 0, result.output
    assert "39 images (30 train, 9 valid) of 3 labels" in result.stdout
    assert "Nothing found" in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_the_command_on_faulty_data(folder, tmp_path):
    shutil.copy(folder / "train/king of spades/003.png", folder / "train/ace of clubs/100.png")
    (folder / "train/ace of clubs/000.png").write_bytes(b"")
    listed = tmp_path / "lists" / "exclude.csv"
    result = run(folder, "--no-labels", "--exclude-out", listed)
    assert result.exit_code == 1, result.output
    assert "the same picture under two labels" in result.stdout
    assert "train/ace of clubs/100.png" in result.stdout
    assert page_path(folder).is_file()
    assert read_exclusions(listed, folder) == {
        "train/ace of clubs/000.png",
        "train/ace of clubs/100.png",
        "train/king of spades/003.png",
    }


def test_json_is_all_that_is_printed(folder, tmp_path):
    shutil.copy(folder / "train/king of spades/003.png", folder / "train/ace of clubs/100.png")
    result = run(folder, "--no-labels", "--json", "--page", tmp_path / "page.html")
    assert result.exit_code == 1
    said = json.loads(result.stdout)
    assert said["schema"] == 1
    assert said["counts"] == {kind: int(kind == "contradiction") for kind in KINDS}
    (finding,) = said["findings"]
    assert finding["files"] == ["train/ace of clubs/100.png", "train/king of spades/003.png"]
    assert finding["how"] == "bytes"
    assert set(said["exclusions"]) == set(finding["files"])


def test_the_page_needs_nothing_else_and_trusts_no_name(folder, tmp_path):
    odd = folder / "train/<script>alert(1)"
    shutil.copytree(folder / "train/ace of clubs", odd)
    run(folder, "--no-labels", "--page", tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert page.count("data:image/jpeg;base64,") == 20
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert "http://" not in page
    assert "https://" not in page


def test_what_cannot_be_done_exits_with_2(clean, tmp_path):
    for arguments in (
        (tmp_path / "nowhere", "--no-labels"),
        (clean, "--no-labels", "--model", "champion"),
        (clean, "--model", tmp_path / "gone.onnx"),
        (clean, "--no-labels", "--page", clean),
        (clean, "--unknown"),
    ):
        result = run(*arguments)
        assert result.exit_code == 2, result.output
        assert "Traceback" not in result.output


def test_a_model_file_judges_labels(clean, tiny_model, tmp_path):
    result = run(clean, "--model", tiny_model, "--json", "--page", tmp_path / "page.html")
    said = json.loads(result.stdout)
    assert "tiny.onnx" in said["embedding"]
    assert 0 <= said["out_of_fold_accuracy"] <= 1
    assert any("tiny.onnx" in note for note in said["notes"])


def test_without_labels_nothing_heavy_is_loaded(clean, tmp_path):
    arguments = ["data", "audit", str(clean), "--no-labels", "--page", str(tmp_path / "page.html")]
    code = (
        f"import sys\nfrom fulldeck.cli import main\nmain({arguments!r}, standalone_mode=False)\n"
        "print(sorted({'torch', 'lightning', 'timm', 'sklearn', 'cleanlab', 'matplotlib'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == "[]"
