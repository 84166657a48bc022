"""Datasets of captions: every kind is read, and what cannot be used is refused in one sentence."""

import json
import os
from pathlib import Path

import pytest

from engines.errors import InvalidInputError
from engines.gallery import GALLERY_DIR, gallery
from tests.use_cases.retrieval.captions import BOM, captions_of, write_tar
from use_cases.labelled.hashing import file_digest
from use_cases.retrieval.caption_files import open_captions


@pytest.fixture
def pictures(tmp_path, red_image):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name in ("a.jpg", "b.png", "c.jpg"):
        red_image.save(folder / name)
    return folder


COCO = {
    "images": [
        {"id": 7, "file_name": "a.jpg"},
        {"id": 3, "file_name": "b.png"},
        {"id": 5, "file_name": "c.jpg"},
    ],
    "annotations": [
        {"id": 1, "image_id": 3, "caption": "a cat "},
        {"id": 2, "image_id": 7, "caption": "a dog"},
        {"id": 3, "image_id": 3, "caption": "one cat"},
    ],
}  # fmt: skip
KARPATHY = {
    "dataset": "coco",
    "images": [
        {
            "filepath": "pictures",
            "filename": "a.jpg",
            "split": "test",
            "sentences": [{"raw": "a"}, {"raw": "A."}],
        },
        {"filepath": "val2014", "filename": "b.png", "split": "test", "sentences": [{"raw": "b"}]},
        {"filename": "c.jpg", "split": "restval", "sentences": [{"raw": "c"}]},
    ],
}  # fmt: skip


@pytest.mark.parametrize("place", ["captions.json", "pictures/captions.json", "annotations/captions.json"])
def test_coco_finds_its_images_near_it(pictures, tmp_path, place):
    (tmp_path / "annotations").mkdir()
    (tmp_path / place).write_text(json.dumps(COCO))
    dataset = open_captions(str(tmp_path / place))
    assert captions_of(dataset) == {"a.jpg": ("a dog",), "b.png": ("a cat", "one cat")}
    assert dataset.name == "captions.json"
    assert dataset.notes == ("1 image without a caption left out.",)
    assert dataset.num_captions == 3


@pytest.mark.parametrize("content", [COCO, KARPATHY])
def test_json_may_begin_as_windows_writes_it(pictures, tmp_path, content):
    (tmp_path / "t.json").write_bytes(BOM + json.dumps(content).encode())
    assert len(open_captions(str(tmp_path / "t.json")).images) == 2


def test_a_text_beside_an_image_may_begin_as_windows_writes_it(pictures):
    (pictures / "a.txt").write_bytes(BOM + b"a dog")
    assert captions_of(open_captions(str(pictures))) == {"a.jpg": ("a dog",)}


def test_a_text_beside_an_image_is_read_up_to_its_limit_only(pictures):
    with (pictures / "a.txt").open("wb") as huge:
        huge.truncate(50_000_000_000)  # a file without blocks on the disk
    with pytest.raises(
        InvalidInputError, match=r"'a.txt' has more than 1,000,000 bytes; a caption is shorter"
    ):
        open_captions(str(pictures))


def test_a_folder_with_one_table_is_that_table(pictures):
    (pictures / "captions.json").write_text(json.dumps(COCO))
    dataset = open_captions(str(pictures))
    assert (dataset.name, len(dataset.images)) == (pictures.name, 2)


def test_images_may_be_elsewhere(pictures, tmp_path):
    table = tmp_path / "deep" / "down" / "captions.json"
    table.parent.mkdir(parents=True)
    table.write_text(json.dumps(COCO))
    with pytest.raises(InvalidInputError, match=r"names 2 images, of which 2 cannot be found, 'a.jpg' first"):
        open_captions(str(table))
    assert len(open_captions(str(table), images=pictures).images) == 2


def test_karpathy_s_split_is_chosen(pictures, tmp_path):
    (tmp_path / "dataset_coco.json").write_text(json.dumps(KARPATHY))
    dataset = str(tmp_path / "dataset_coco.json")
    assert captions_of(open_captions(dataset)) == {"pictures/a.jpg": ("a", "A."), "b.png": ("b",)}
    assert captions_of(open_captions(dataset, split="restval")) == {"c.jpg": ("c",)}
    with pytest.raises(
        InvalidInputError, match=r"no split 'val'; it has test \(2 images\), restval \(1 image\)"
    ):
        open_captions(dataset, split="val")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("t.csv", 'image,caption\na.jpg,"a dog, ""Rex"""\nb.png,cat\na.jpg,second\n'),
        ("t.csv", '\ufefftitle;id;filepath\r\n"a dog, ""Rex""";1;./a.jpg\r\ncat;2;b.png\r\nsecond;;a.jpg\n'),
        ("t.tsv", 'Filename\tText\na.jpg\t"a dog, ""Rex"""\nb.png\tcat\n\na.jpg\tsecond\n'),
        ("t.csv", 'image_name| number| comment\na.jpg| 0| a dog, "Rex"\nb.png|0|cat\na.jpg|1|second\n'),
        ("t.csv", 'image,caption\n,\na.jpg,"a dog, ""Rex"""\n \nb.png,cat\n , \na.jpg,second\n,\n'),
        ("t.txt", 'image,caption\na.jpg,"a dog, ""Rex"""\nb.png,cat\na.jpg,second\nc.jpg, \n'),
    ],
)  # fmt: skip
def test_tables_have_several_rows_an_image(pictures, tmp_path, name, text):
    (tmp_path / name).write_text(text, "utf-8", newline="")
    dataset = open_captions(str(tmp_path / name))
    assert captions_of(dataset) == {"a.jpg": ('a dog, "Rex"', "second"), "b.png": ("cat",)}


def test_a_quoted_caption_may_have_a_line_break(pictures, tmp_path):
    (tmp_path / "t.csv").write_text('image,caption\na.jpg,"a dog, Rex,\nof ours"\nb.png,a cat\n')
    dataset = open_captions(str(tmp_path / "t.csv"))
    assert captions_of(dataset) == {"a.jpg": ("a dog, Rex,\nof ours",), "b.png": ("a cat",)}


def test_a_table_as_flickr30k_has_it_is_read(pictures, tmp_path):
    (tmp_path / "results.csv").write_text(
        "image_name| comment_number| comment\n"
        'a.jpg| 0| " a sign\n'
        "a.jpg| 4   A dog runs across the grass .\n"  # its one line without a delimiter
        'b.png| 0| Two "cats" .\n'
    )
    dataset = open_captions(str(tmp_path / "results.csv"))
    assert captions_of(dataset) == {"a.jpg": ('" a sign',), "b.png": ('Two "cats" .',)}
    assert dataset.notes == ("1 row with no image or no caption left out, the first on line 3.",)


def test_rows_without_an_image_or_a_caption_are_left_out_with_a_note(pictures, tmp_path):
    (tmp_path / "t.csv").write_text('image,caption\nb.png,"a\nb"\na.jpg\n,x\na.jpg,y\n')
    dataset = open_captions(str(tmp_path / "t.csv"), limit=1)
    assert captions_of(dataset) == {"b.png": ("a\nb",)}
    assert dataset.notes == (
        "2 rows with no image or no caption left out, the first on line 4.",
        "The first 1 of 2 images; fewer images are easier to tell apart.",
    )


def test_rows_with_more_columns_than_the_first_line_are_left_out_with_a_note(pictures, tmp_path):
    (tmp_path / "t.csv").write_text(
        "image,caption\na.jpg,A dog, running fast\nb.png,a cat, ,\nc.jpg\nc.jpg,one,two,three\n"
    )
    dataset = open_captions(str(tmp_path / "t.csv"))
    assert captions_of(dataset) == {"b.png": ("a cat",)}
    assert dataset.notes == (
        "1 row with no image or no caption left out, the first on line 4.",
        "2 rows with more columns than the first line names left out, the first on line 2; a text with ',' in"
        " it needs quotes around it.",
    )


def test_quotes_are_no_cure_where_they_are_characters_like_others(pictures, tmp_path):
    (tmp_path / "t.csv").write_text("image|caption\na.jpg|a dog\nb.png|a|b\n")
    (note,) = open_captions(str(tmp_path / "t.csv")).notes
    assert note.endswith("the first on line 3; a text with '|' in it cannot be told from two.")


def place(*paths):
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"an image")


@pytest.mark.parametrize("limit", [None, 1])
def test_a_missing_image_is_not_taken_from_the_dataset_beside(tmp_path, limit):
    place(tmp_path / "pets" / "images" / "2.jpg", tmp_path / "birds" / "1.jpg")
    table = tmp_path / "pets" / "t.csv"
    table.write_text("image,caption\n1.jpg,x\n2.jpg,y\n")
    with pytest.raises(InvalidInputError, match=r"of which 1 cannot be found, '1.jpg' first"):
        open_captions(str(table), limit=limit)


@pytest.mark.parametrize("names", [("1.jpg", "2.jpg"), ("2.jpg", "1.jpg")])
def test_an_image_is_taken_from_the_first_folder_whatever_the_order_of_rows(tmp_path, names):
    place(*(tmp_path / name for name in ("one/1.jpg", "two/1.jpg", "two/2.jpg")))
    (tmp_path / "t.csv").write_text("image,caption\n" + "".join(f"{name},x\n" for name in names))
    dataset = open_captions(str(tmp_path / "t.csv"))
    assert {image.name: image.source.relative_to(tmp_path).as_posix() for image in dataset.images} == {
        "1.jpg": "one/1.jpg",
        "2.jpg": "two/2.jpg",
    }


def test_a_folder_is_listed_once_however_many_images_there_are(tmp_path, monkeypatch):
    names = [f"{number}.jpg" for number in range(20)]
    place(*(tmp_path / "z" / name for name in names), *(tmp_path / f"{each}" / "x" for each in range(5)))
    (tmp_path / "t.csv").write_text("image,caption\n" + "".join(f"{name},x\n" for name in names))
    listed, asked = [], []
    listdir, isfile = os.listdir, os.path.isfile
    monkeypatch.setattr(os, "listdir", lambda path: listed.append(path) or listdir(path))
    monkeypatch.setattr(os.path, "isfile", lambda path: asked.append(path) or isfile(path))
    assert len(open_captions(str(tmp_path / "t.csv")).images) == 20
    assert len(listed) == len(set(listed)) == 7  # the table's folder and the six in it
    assert len(asked) == 20 + 1  # one more to choose the folders


def test_names_that_no_folder_can_have_are_not_found(pictures, tmp_path):
    images = [{"id": 1, "file_name": "a.jpg"}, {"id": 2, "file_name": "\ud83d\0/" + "b" * 5000 + "/c.jpg"}]
    annotations = [{"image_id": 1, "caption": "a"}, {"image_id": 2, "caption": "b"}]
    (tmp_path / "t.json").write_text(json.dumps({"images": images, "annotations": annotations}))
    with pytest.raises(InvalidInputError, match="2 images, of which 1 cannot be found"):
        open_captions(str(tmp_path / "t.json"))


def test_images_in_hidden_folders_are_none_of_the_dataset(tmp_path):
    dataset = tmp_path / ".cache" / "dataset"  # where a dataset itself lies does not matter
    for path in (dataset / "a" / "1.jpg", dataset / "a" / ".thumbnails" / "1.jpg", dataset / ".b" / "2.jpg"):
        place(path, path.with_suffix(".txt"))
    assert captions_of(open_captions(str(dataset))) == {"a/1.jpg": ("an image",)}


def test_a_folder_may_have_text_files_beside_its_images(pictures, tmp_path):
    (pictures / "a.txt").write_text("a dog\n\n  Rex \n", "utf-8")
    (pictures / "a.json").write_text("{}")  # as img2dataset leaves it
    dataset = open_captions(str(pictures))
    assert captions_of(dataset) == {"a.jpg": ("a dog", "Rex")}
    assert dataset.notes == ("2 images without a caption left out.",)


@pytest.mark.parametrize("extra", [{"split": "test"}, {"images": GALLERY_DIR}])
def test_what_only_a_table_takes_is_refused_elsewhere(tmp_path, pictures, extra):
    (pictures / "a.txt").write_text("a dog")
    tar = write_tar(tmp_path / "t.tar", [("0.jpg", b"x"), ("0.txt", b"x")])
    for dataset in ("gallery", str(pictures), str(tar)):
        with pytest.raises(InvalidInputError, match="has its images with it and no splits"):
            open_captions(dataset, **extra)


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("t.json", "{", "'t.json' is not JSON"),
        ("t.json", "[" * 100_000, "'t.json' is not JSON"),
        ("t.json", "[]", "lists no images"),
        ("t.json", '{"images": []}', "lists no images"),
        ("t.json", '{"images": [{"id": 1, "file_name": "a.jpg"}]}', "no captions as COCO or Karpathy"),
        ("t.json", '{"images": [{"id": 1}], "annotations": [{"image_id": 1, "bbox": []}]}', "no captions as"),
        ("t.json", '{"images": [{"id": 1, "file_name": 5}], "annotations": []}', "no captions as COCO"),
        ("t.json", '{"images": [{"id": [], "file_name": "a"}], "annotations": []}', "no captions as COCO"),
        ("t.json", '{"images": ["a.jpg"], "annotations": []}', "no captions as COCO"),
        ("t.json", '{"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": []}', "has no captions"),
        (
            "t.json",
            '{"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": [{"image_id": 2, "caption": "x"}]}',
            "1 caption of images that it does not list, image 2 first",
        ),
        ("t.csv", "", "names no column for the image"),
        ("t.csv", "picture,caption\na.jpg,x\n", "'picture,caption', names no column for the image"),
        ("t.csv", "image,label\na.jpg,x\n", "or none for the caption"),
        ("t.csv", "image,caption\n", "has no captions"),
        ("t.csv", "image,caption\na.jpg\n", "Line 2 of 't.csv' has no image or no caption"),
        ("t.csv", "image,caption\n,x\n", "Line 2 of 't.csv' has no image or no caption"),
        ("t.csv", "image,caption\na.jpg\n,\n,x\n", "Line 2 of 't.csv' has no image or no caption"),
        (
            "t.csv",
            "image,caption\n,x\na.jpg,A dog, running fast\n",
            "Line 3 of 't.csv' has more columns than the first line names, .*; a text with ',' in it needs",
        ),
        ("t.csv", "image,caption\na.jpg," + "x" * 1_000_001, "no table that can be read: .* on line 2 "),
        ("t.csv", 'image,caption\na.jpg,"a dog\nb.png,a cat\n', "no table that can be read: .* on line 2 "),
        ("t.csv", 'image,caption\nb.png,x\na.jpg,"a" dog\n', "no table that can be read: .* on line 3 "),
        (
            "t.csv",
            'image,caption\na.jpg,x\na.jpg,"a dog\nb.png,a cat\nc.jpg,a bird"\n',
            "begins on line 3 of 't.csv' has a quoted text of several lines with ',' after the first",
        ),
        ("t.tsv", 'image\tcaption\na.jpg\t"a dog\rb.png\ta cat"\n', r"line 2 of 't.tsv' .* with '\\t' after"),
        ("t.csv", "image,caption\na.jpg,x\nnone.jpg,y\n", "2 images, of which 1 cannot be found, 'none.jpg'"),
        ("t.csv", f"image,caption\n{'a' * 5000}.jpg,x\n", "of which 1 cannot be found"),
        ("t.xlsx", "", "none of the known kinds"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_used_is_refused_in_a_sentence(pictures, tmp_path, name, text, sentence):
    (tmp_path / name).write_text(text, "utf-8")
    with pytest.raises(InvalidInputError, match=sentence) as error:
        open_captions(str(tmp_path / name))
    assert "\n" not in str(error.value)


def test_a_file_that_is_not_utf_8_is_refused(tmp_path):
    (tmp_path / "t.csv").write_bytes(b"image,caption\na.jpg,\xff\n")
    with pytest.raises(InvalidInputError, match=r"'t.csv' is not UTF-8 text"):
        open_captions(str(tmp_path / "t.csv"))


def test_a_folder_that_cannot_be_used_is_refused(tmp_path, pictures):
    with pytest.raises(InvalidInputError, match=r"no file or folder 'nowhere'"):
        open_captions("nowhere")
    with pytest.raises(InvalidInputError, match="'pictures' has 3 images and no captions"):
        open_captions(str(pictures))
    with pytest.raises(InvalidInputError, match="no folder 'nowhere' for the images"):
        open_captions(str(pictures), images=tmp_path.__class__("nowhere"))
    (pictures / "a.txt").write_bytes(b"\xff")
    with pytest.raises(InvalidInputError, match=r"'a.txt' is not UTF-8 text"):
        open_captions(str(pictures))
    (pictures / "a.txt").unlink()
    for name in ("1.csv", "2.json"):
        (pictures / name).touch()
    with pytest.raises(InvalidInputError, match=r"several tables, 1.csv, 2.json"):
        open_captions(str(pictures))


NOWHERE = "x" * 300  # a link to it raises OSError in pathlib, as one to a closed place does, also for root


def test_a_link_to_where_nobody_can_look_is_told_by_who_reads_it(pictures):
    for name in ("a", "closed"):
        (pictures / f"{name}.txt").write_text("a dog")
    for name in ("closed.jpg", "z"):
        (pictures / name).symlink_to(NOWHERE)
    place(pictures / "z-last" / "d.jpg", pictures / "z-last" / "d.txt")
    dataset = open_captions(str(pictures))
    assert list(captions_of(dataset)) == ["a.jpg", "closed.jpg", "z-last/d.jpg"]
    (closed,) = (image for image in dataset.images if image.name == "closed.jpg")
    with pytest.raises(InvalidInputError, match="Cannot read the image"):
        file_digest(closed.source)


def test_only_an_archive_where_nobody_can_look_stops_a_folder_of_them(tmp_path):
    write_tar(tmp_path / "0.tar", [("0.jpg", b"x"), ("0.txt", b"a dog")])
    (tmp_path / "link").symlink_to(NOWHERE)
    assert captions_of(open_captions(str(tmp_path))) == {"0.jpg": ("a dog",)}
    (tmp_path / "1.tar").symlink_to(NOWHERE)
    with pytest.raises(InvalidInputError, match=r"'1.tar' cannot be read \(File name too long\)"):
        open_captions(str(tmp_path))


@pytest.mark.parametrize(
    ("dataset", "images", "sentence"),
    [
        ("~nobody-of-that-name/x", None, "There is no file or folder '~nobody-of-that-name/x'"),
        ("gallery.csv", Path("~nobody-of-that-name"), "There is no folder '~nobody-of-that-name' for the"),
    ],
)
def test_the_home_of_nobody_is_not_found(dataset, images, sentence):
    with pytest.raises(InvalidInputError, match=sentence):
        open_captions(dataset, images=images)


def test_a_dataset_s_name_can_be_written(tmp_path):
    folder = tmp_path / os.fsdecode(b"dogs\xff")
    place(folder / "a.jpg", folder / "a.txt")
    assert open_captions(str(folder)).name == "dogs\\udcff"


def test_a_limit_takes_the_first_images_and_asks_for_no_others(pictures, tmp_path):
    (tmp_path / "t.csv").write_text("image,caption\na.jpg,x\na.jpg,y\nnone.jpg,z\n")
    dataset = open_captions(str(tmp_path / "t.csv"), limit=1)
    assert captions_of(dataset) == {"a.jpg": ("x", "y")}
    assert dataset.notes == ("The first 1 of 2 images; fewer images are easier to tell apart.",)


def test_halves_of_characters_are_replaced(pictures, tmp_path):
    annotations = [{"image_id": 1, "caption": "a \ud83d b"}]
    content = {"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": annotations}
    (tmp_path / "t.json").write_text(json.dumps(content))
    assert captions_of(open_captions(str(tmp_path / "t.json"))) == {"a.jpg": ("a ? b",)}


def test_the_gallery_says_what_the_bundled_pair_has_seen():
    dataset, unseen = open_captions("gallery"), open_captions("gallery-unseen")
    assert len(dataset.images) == dataset.num_captions == len(gallery())
    seen = sum(picture.seen_in_training for picture in gallery())
    assert len(unseen.images) == len(gallery()) - seen
    assert bool(dataset.notes) == bool(seen)
    assert not unseen.notes
