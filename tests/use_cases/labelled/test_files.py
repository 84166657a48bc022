"""Every kind of dataset gives images with their labels; what cannot be used is left out, and said."""

import io
import json
import os
import tarfile
from pathlib import Path

import pytest
from PIL import Image

from engines.errors import InvalidInputError
from engines.gallery import gallery
from use_cases.labelled import hub_datasets
from use_cases.labelled.files import open_labelled
from use_cases.labelled.hashing import hash_set


def png(colour="red") -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 8), colour).save(file, "PNG")
    return file.getvalue()


def write(path: Path, data: bytes | str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return path


def write_tar(path: Path, **members: bytes | str) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, content in members.items():
            data = content if isinstance(content, bytes) else content.encode()
            info = tarfile.TarInfo(name.replace("__", "."))
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def labels_of(dataset) -> dict[str, tuple[str, ...]]:
    return {image.name: image.labels for image in dataset.images}


def test_a_folder_of_class_folders(tmp_path):
    write(tmp_path / "red" / "a.png", png())
    write(tmp_path / "red" / "deep" / "b.jpg", png())
    write(tmp_path / "dark_blue" / "c.png", png())
    write(tmp_path / "empty" / "notes.txt")
    write(tmp_path / "red" / ".thumbnails" / "a.png", png())
    write(tmp_path / "red" / "deep" / ".git" / "x" / "a.png", png())
    write(tmp_path / "stray.png", png())
    (tmp_path / "red" / "nowhere.png").symlink_to(tmp_path / "nowhere")
    dataset = open_labelled(str(tmp_path))
    assert labels_of(dataset) == {
        "red/a.png": ("red",),
        "red/deep/b.jpg": ("red",),
        "red/nowhere.png": ("red",),
        "dark_blue/c.png": ("dark blue",),
    }
    assert dataset.labels == ("dark blue", "empty", "red")
    assert dataset.left_out == {"stray.png": "It has no label."}
    assert dataset.notes == ()
    assert hash_set(dataset).dataset.left_out["red/nowhere.png"].endswith("No such file or directory.")


def test_class_folders_that_read_the_same_are_one_label_and_that_is_said(tmp_path):
    for name in ("dark_blue", "dark blue", "red"):
        write(tmp_path / name / "a.png", png())
    dataset = open_labelled(str(tmp_path))
    assert dataset.labels == ("dark blue", "red")
    assert dataset.notes == (
        "Names that read the same are one label: 'dark blue' and 'dark_blue' as 'dark blue'.",
    )
    write(tmp_path / "classnames.txt", "navy\nblue\nred\n")
    assert open_labelled(str(tmp_path)).notes == ()


def test_class_folders_may_have_names_in_a_file(tmp_path):
    for name in ("n01", "n02"):
        write(tmp_path / name / "a.png", png())
    write(tmp_path / "classnames.txt", "goldfish\na shark\n\n")
    assert open_labelled(str(tmp_path)).labels == ("goldfish", "a shark")
    names = write(tmp_path / "others" / "names.txt", "one\ntwo\nthree\n")
    with pytest.raises(InvalidInputError, match=r"3 class folders and 2 class names"):
        open_labelled(str(tmp_path))
    assert open_labelled(str(tmp_path), class_names=names).labels == ("one", "two", "three")
    for text in ("", "one\n\nthree\n"):
        write(names, text)
        with pytest.raises(InvalidInputError, match="a label a line, and no empty line"):
            open_labelled(str(tmp_path), class_names=names)


def test_class_names_may_come_twice_as_imagenet_s_do_and_that_is_said(tmp_path):
    for name in ("n01", "n02", "n03"):
        write(tmp_path / "folders" / name / "a.png", png())
    names = write(tmp_path / "classnames.txt", "missile\nsunglasses\n missile\n")
    members = {"0__jpg": png(), "0__cls": "0", "1__jpg": png(), "1__cls": "1", "2__jpg": png(), "2__cls": "2"}
    tar = write_tar(tmp_path / "t.tar", **members)
    for dataset in (open_labelled(str(tmp_path / "folders"), class_names=names), open_labelled(str(tar))):
        assert dataset.labels == ("missile", "sunglasses")
        assert [image.labels for image in dataset.images] == [("missile",), ("sunglasses",), ("missile",)]
        assert dataset.notes == (
            "Names that read the same are one label: 'missile' and 'missile' as 'missile'.",
        )


@pytest.mark.parametrize("separator", [",", "\t", ";"])
def test_a_table_with_several_labels(tmp_path, separator):
    write(tmp_path / "a.png", png())
    write(tmp_path / "images" / "b.png", png())
    rows = [
        ("image", "tags"), ("a.png", "cat| sofa "), ("b.png", ""), ("missing.png", "cat"), ("", "bird"),
        ("./a.png", "cat|dog"),
    ]  # fmt: skip
    table = write(tmp_path / "t.csv", "\n".join(separator.join(row) for row in rows))
    dataset = open_labelled(str(table))
    assert labels_of(dataset) == {"a.png": ("cat", "sofa", "dog")}
    assert dataset.left_out == {"missing.png": "There is no such file.", "b.png": "It has no label."}
    assert dataset.labels == ("bird", "cat", "dog", "sofa")
    assert dataset.name == "t.csv"
    of_folder = open_labelled(str(tmp_path))  # it has one table
    assert labels_of(of_folder) == labels_of(dataset)
    assert of_folder.name == tmp_path.name


def test_rows_of_a_table_that_are_blank_or_too_short_are_left_out(tmp_path):
    for name in ("a.png", "b.png"):
        write(tmp_path / name, png())
    table = write(tmp_path / "t.csv", "image,label\na.png,cat\n   \na.png\nb.png,dog\nb.png\n , \n,\n")
    dataset = open_labelled(str(table))
    assert labels_of(dataset) == {"a.png": ("cat",), "b.png": ("dog",)}
    assert dataset.left_out == {}
    assert dataset.notes == (
        "2 rows with no column for the image or the label left out, the first on line 4.",
    )


def test_rows_of_a_table_with_more_columns_than_the_first_line_are_left_out(tmp_path):
    for name in ("a.png", "b.png"):
        write(tmp_path / name, png())
    rows = "a.png,cat\na.png,dog,sofa\nb.png,bird, ,\nb.png\n,cow,ox\n"
    dataset = open_labelled(str(write(tmp_path / "t.csv", f"image,label\n{rows}")))
    assert labels_of(dataset) == {"a.png": ("cat",), "b.png": ("bird",)}
    assert dataset.labels == ("bird", "cat")
    assert dataset.notes == (
        "1 row with no column for the image or the label left out, the first on line 5.",
        "2 rows with more columns than the first line names left out, the first on line 3; a text with ',' in"
        " it needs quotes around it.",
    )


def test_labels_whose_images_are_missing_compete_all_the_same(tmp_path):
    for name in ("a.png", "b.png"):
        write(tmp_path / name, png())
    table = write(tmp_path / "t.csv", "image,label\na.png,dog\nb.png,cat\nc.png,cow\n")
    dataset = open_labelled(str(table))
    assert dataset.labels == ("cat", "cow", "dog")
    assert dataset.left_out == {"c.png": "There is no such file."}


def test_an_image_that_is_missing_is_not_taken_from_the_dataset_beside(tmp_path):
    write(tmp_path / "pets" / "images" / "2.png", png())
    write(tmp_path / "birds" / "1.png", png("blue"))
    table = write(tmp_path / "pets" / "t.csv", "image,label\n1.png,cat\n2.png,dog\n")
    dataset = open_labelled(str(table))
    assert labels_of(dataset) == {"2.png": ("dog",)}
    assert dataset.left_out == {"1.png": "There is no such file."}


def test_a_table_s_images_may_lie_elsewhere(tmp_path):
    table = write(tmp_path / "tables" / "t.tsv", "path\tlabel\na.png\tcat\nb.png\tdog\n")
    with pytest.raises(InvalidInputError, match=r"names 2 images, none of which can be found, 'a.png' first"):
        open_labelled(str(table))
    write(tmp_path / "far" / "away" / "a.png", png())
    write(tmp_path / "far" / "away" / "b.png", png())
    assert len(open_labelled(str(table), images=tmp_path / "far" / "away").images) == 2


TWO_DOTS = "Its name has a second dot; in a tar archive, only the suffix may follow the first one."


def test_a_tar_archive_with_class_numbers(tmp_path):
    path = write_tar(
        tmp_path / "shard.tar",
        **{"0__jpg": png(), "0__cls": "1", "1__png": png(), "1__cls": "0\n", "2__png": png(), "2__cls": "7"},
        **{"3__png": png(), "4__cls": "0", "5__seg__png": png(), "5__cls": "0"},
    )
    write(tmp_path / "classnames.txt", "red\ngreen\n")
    dataset = open_labelled(str(path))
    assert labels_of(dataset) == {"0.jpg": ("green",), "1.png": ("red",)}
    assert dataset.left_out == {
        "2.png": "Its class is 7, and there are 2 class names.",
        "3.png": "It has no label.",
        "5.seg.png": TWO_DOTS,
    }
    assert len(hash_set(dataset).digests) == 2
    assert labels_of(open_labelled(str(tmp_path))) == labels_of(dataset)  # a folder of archives


@pytest.mark.parametrize("names", ["red\ngreen\n", None])
def test_a_negative_class_number_is_no_label(tmp_path, names):
    members = {
        "0__jpg": png(),
        "0__cls": "1",
        "1__jpg": png(),
        "1__cls": "0",
        "2__jpg": png(),
        "2__cls": "-1",
    }
    members |= {"3__jpg": png(), "3__json": json.dumps({"label": -1})}
    if names:
        write(tmp_path / "classnames.txt", names)
    dataset = open_labelled(str(write_tar(tmp_path / "s.tar", **members)))
    assert len(dataset.labels) == 2
    assert dataset.left_out == {"2.jpg": "It has no label.", "3.jpg": "It has no label."}


def test_a_class_number_that_is_too_long_to_be_one_leaves_its_image_out(tmp_path):
    members = {"0__jpg": png(), "0__cls": "1", "1__jpg": png(), "1__cls": "9" * 5000}
    write(tmp_path / "classnames.txt", "red\ngreen\n")
    dataset = open_labelled(str(write_tar(tmp_path / "s.tar", **members)))
    assert dataset.left_out == {"1.jpg": "Its class has 5,000 digits, and there are 2 class names."}


def test_a_tar_archive_with_labels_as_text(tmp_path):
    members = {
        "a__jpg": png(),
        "a__txt": "cat|sofa\n",
        "b__jpg": png(),
        "b__json": json.dumps({"label": "dog"}),
    }
    members |= {"c__jpg": png(), "c__json": json.dumps({"labels": ["cat", "dog"]}), "d__jpg": png()}
    members |= {"d__json": "{", "e__jpg": png(), "e__cls": "cat", "f__jpg": png(), "f__json": "[]"}
    dataset = open_labelled(str(write_tar(tmp_path / "s.tar", **members)))
    assert labels_of(dataset) == {
        "a.jpg": ("cat", "sofa"), "b.jpg": ("dog",), "c.jpg": ("cat", "dog"), "e.jpg": ("cat",),
    }  # fmt: skip
    assert dataset.left_out == {"d.jpg": "'d.json' is not JSON.", "f.jpg": "It has no label."}


def test_json_may_have_numbers_in_a_list_or_no_label_beside_labels(tmp_path):
    facts = [{"labels": [0, 2]}, {"label": None, "labels": ["green"]}, {"label": 1}, {"labels": [True, -1]}]
    facts += [{"labels": [0, 7]}, {"labels": ["red|green", 2]}]
    members = {f"{number}__jpg": png() for number in range(len(facts))}
    members |= {f"{number}__json": json.dumps(each) for number, each in enumerate(facts)}
    write(tmp_path / "classnames.txt", "red\ngreen\nblue\n")
    dataset = open_labelled(str(write_tar(tmp_path / "s.tar", **members)))
    assert labels_of(dataset) == {
        "0.jpg": ("red", "blue"), "1.jpg": ("green",), "2.jpg": ("green",), "5.jpg": ("red|green", "blue"),
    }  # fmt: skip
    assert dataset.left_out == {
        "3.jpg": "It has no label.",
        "4.jpg": "Its class is 7, and there are 3 class names.",
    }


def test_images_of_a_tar_archive_whose_names_do_not_fit_are_left_out(tmp_path):
    names = ("a__jpg", "a__png", "b__v2__jpg", "c__jpg", "c__JPG", ".__d__jpg")
    labels = {"a__cls": "cat", "b__v2__cls": "dog", "c__cls": "bird"}
    tar = write_tar(tmp_path / "s.tar", **dict.fromkeys(names, png()), **labels)
    dataset = open_labelled(str(tar))
    assert labels_of(dataset) == {"a.jpg": ("cat",), "c.jpg": ("bird",)}
    shared = "Its name up to the dot is that of {!r}, which comes first; each image needs its own."
    assert dataset.left_out == {
        "a.png": shared.format("a.jpg"), "b.v2.jpg": TWO_DOTS, "c.JPG": shared.format("c.jpg"),
    }  # fmt: skip


def test_a_tar_archive_without_a_name_that_fits_says_why(tmp_path):
    members = {f"{name}__0__{kind}": png() for name in ("cat", "dog") for kind in ("jpg", "cls")}
    with pytest.raises(InvalidInputError, match=r"2 images cannot be used, the first, 'cat.0.jpg': Its"):
        open_labelled(str(write_tar(tmp_path / "s.tar", **members)))


@pytest.mark.parametrize(
    "damage",
    [
        lambda data, at: data[:at] + bytes(range(256)) * 2 + data[at + 512 :],
        lambda data, at: data[:at] + bytes(1024) + data[at + 1024 :],
        lambda data, at: data[: at + 100],
        lambda data, at: data + data,
    ],
)
def test_a_tar_archive_that_is_damaged_is_not_taken_for_a_shorter_one(tmp_path, damage):
    members = {f"{number}__jpg": png() * 20 for number in range(10)}
    members |= {f"{number}__cls": str(number % 2) for number in range(10)}
    tar = write_tar(tmp_path / "s.tar", **members)
    assert len(open_labelled(str(tar)).images) == 10
    with tarfile.open(tar) as archive:
        at = archive.getmember("5.jpg").offset
    tar.write_bytes(damage(tar.read_bytes(), at))
    with pytest.raises(InvalidInputError, match=r"'s\.tar' is no tar archive, .*, or is damaged"):
        open_labelled(str(tar))


def test_a_shard_s_name_can_be_written(tmp_path):
    write_tar(tmp_path / os.fsdecode(b"0\xff.tar"), a__png=png(), a__txt="cat")
    write_tar(tmp_path / "1.tar", a__png=png("blue"), a__txt="dog")
    assert set(labels_of(open_labelled(str(tmp_path)))) == {"0\\udcff.tar/a.png", "1.tar/a.png"}


def test_shards_may_use_the_same_names(tmp_path):
    write_tar(tmp_path / "0.tar", a__png=png(), a__txt="cat")
    write_tar(tmp_path / "1.tar", a__png=png("blue"), a__txt="dog")
    assert labels_of(open_labelled(str(tmp_path))) == {"0.tar/a.png": ("cat",), "1.tar/a.png": ("dog",)}


def test_the_gallery_has_its_tags_as_labels():
    dataset = open_labelled("gallery")
    assert labels_of(dataset) == {picture.path.name: picture.tags for picture in gallery()}
    assert "trained on 11 pictures" in dataset.notes[1]
    unseen = open_labelled("gallery-unseen")
    assert len(unseen.images) == sum(not picture.seen_in_training for picture in gallery())
    assert len(unseen.notes) == 1


def test_a_limit_draws_images_of_all_labels(tmp_path):
    for label in ("a", "b", "c", "d"):
        for number in range(10):
            write(tmp_path / label / f"{number}.png", png())
    dataset = open_labelled(str(tmp_path), limit=12)
    assert len(dataset.images) == 12
    assert len({image.labels for image in dataset.images}) > 1
    assert dataset.notes[0] == "12 of 40 images, drawn with seed 0."
    assert dataset.images == open_labelled(str(tmp_path), limit=12).images


def folder(tmp_path, *names):
    for name in names:
        write(tmp_path / name, png())
    return str(tmp_path)


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        ((), "has no labels"),
        (("a.png",), "has no labels"),
        (("one/a.png",), r"has one label only, 'one'; there is nothing to tell apart\."),
        (("one/notes.md", "two/notes.md"), "has no images"),
        (("a.csv", "b.tar"), "compressed, or is damaged"),
        (("a.json",), "has no labels"),
    ],
)
def test_a_folder_that_cannot_be_used_is_one_sentence(tmp_path, names, sentence):
    with pytest.raises(InvalidInputError, match=sentence) as error:
        open_labelled(folder(tmp_path, *names))
    assert str(tmp_path) not in str(error.value)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("", "names no column for the image"),
        ("image,caption\na.png,b\n", "or none for the labels"),
        ("image,label\na.png\n", r"Line 2 of 't\.csv' has no column for the image or none for the label"),
        ('image,label\na.png,"cat\nb.png,dog\n', "no table that can be read: the row that begins on line 2 "),
        ('image,label\na.png,"cat\nb.png,dog"\n', "begins on line 2 of 't.csv' has a quoted text of several"),
        ("image,label\na.png,cat,sofa\n", r"Line 2 of 't\.csv' has more columns .* needs quotes around it\."),
        ("image,label\n", "has no images"),
        ("image,label\na.png,\n", "has no image with a label; 1 image cannot be used, the first, 'a.png'"),
        ("image,label\na.png,cat\n", "has one label only"),
        (b"image,label\n\xff,b", "is not UTF-8"),
        ('image,label\n"a.png,cat' + "x" * 1_100_000, "is no table that can be read"),
    ],
)
def test_a_table_that_cannot_be_used_is_one_sentence(tmp_path, content, sentence):
    write(tmp_path / "a.png", png())
    with pytest.raises(InvalidInputError, match=sentence):
        open_labelled(str(write(tmp_path / "t.csv", content)))


def test_other_names_that_cannot_be_used(tmp_path):
    path = write(tmp_path / "x.zip")
    for name, sentence in (
        ("nowhere", "There is no file or folder 'nowhere'"),
        (str(path), "none of the known kinds"),
        ("hf:", "names no dataset"),
    ):
        with pytest.raises(InvalidInputError, match=sentence):
            open_labelled(name)
    with pytest.raises(InvalidInputError, match="only a table takes a folder"):
        open_labelled("gallery", images=tmp_path)
    with pytest.raises(InvalidInputError, match="takes no file of them"):
        open_labelled("gallery", class_names=path)
    with pytest.raises(InvalidInputError, match="There is no folder"):
        open_labelled(str(tmp_path), images=tmp_path / "none")


def test_a_link_to_where_nobody_can_look_is_no_reason_to_stop(tmp_path):
    write(tmp_path / "red" / "a.png", png())
    write(tmp_path / "red" / "z" / "b.png", png())
    write(tmp_path / "blue" / "c.png", png())
    # It raises OSError in pathlib, as a link to a closed place does, also for root.
    for name in ("link", "stray.png", "red/closed.png", "red/link"):
        (tmp_path / name).symlink_to("x" * 300)
    left_out = hash_set(open_labelled(str(tmp_path))).dataset.left_out
    assert left_out["stray.png"] == "It has no label."
    assert left_out["red/closed.png"].endswith("File name too long.")
    assert len(left_out) == 2


def test_the_home_of_nobody_is_not_found(tmp_path):
    home = Path("~nobody-of-that-name")
    write(tmp_path / "a" / "x.png", png())
    with pytest.raises(InvalidInputError, match="There is no file or folder '~nobody-of-that-name'"):
        open_labelled(str(home))
    with pytest.raises(InvalidInputError, match="There is no folder '~nobody-of-that-name' for the images"):
        open_labelled(str(tmp_path), images=home)
    with pytest.raises(InvalidInputError, match=r"'~nobody-of-that-name' cannot be read"):
        open_labelled(str(tmp_path), class_names=home)


def test_images_that_cannot_be_read_are_left_out_and_the_rest_is_sorted_by_content(tmp_path):
    write(tmp_path / "red" / "a.png", png())
    write(tmp_path / "blue" / "b.png", png("blue"))
    write(tmp_path / "blue" / "empty.png")
    (tmp_path / "blue" / "link.png").symlink_to(tmp_path / "red" / "a.png")
    hashed = hash_set(open_labelled(str(tmp_path)))
    assert list(hashed.digests) == sorted(hashed.digests)
    assert "blue/empty.png" in hashed.dataset.left_out
    assert hashed.dataset.notes == ("1 image the same as another, byte for byte.",)


def test_the_hash_is_of_images_and_labels_not_of_names(tmp_path):
    def hash_of(where, **colours):
        for label, colour in colours.items():
            write(tmp_path / where / label / f"{where}.png", png(colour))
        return hash_set(open_labelled(str(tmp_path / where))).sha256

    first = hash_of("one", red="red", blue="blue")
    table = "image,label\nx.png,red\ny.png,blue\n"
    write(tmp_path / "three" / "x.png", png("red"))
    write(tmp_path / "three" / "y.png", png("blue"))
    assert hash_set(open_labelled(str(write(tmp_path / "three" / "t.csv", table)))).sha256 == first
    assert hash_of("two", red="red", blue="navy") != first
    assert hash_of("four", red="blue", blue="red") != first


def test_no_image_that_can_be_read_is_one_sentence(tmp_path):
    for label in ("a", "b"):
        write(tmp_path / label / "x.png")
    with pytest.raises(
        InvalidInputError, match=r"None of the 2 images of '.*' can be read; the first, 'a/x.png'"
    ):
        hash_set(open_labelled(str(tmp_path)))


def test_a_dataset_in_a_folder_is_called_without_its_path(tmp_path):
    (tmp_path / "pets").mkdir()
    assert hub_datasets.public_dataset_name(f"hf:{tmp_path}/pets:dev") == "hf:pets:dev"
    for name in ("hf:owner/pets", "hf:" + "x" * 300):
        assert hub_datasets.public_dataset_name(name) == name
