"""Captions in tar archives: they are read where they lie, and what no such archive has is refused."""

import tarfile

import pytest

from engines.errors import InvalidInputError
from engines.worker.cache import EmbeddingCache
from tests.images import encode
from tests.use_cases.retrieval.captions import BOM, captions_of, write_tar
from use_cases.images import read_image
from use_cases.retrieval.caption_files import open_captions


@pytest.mark.anyio
async def test_a_tar_archive_is_read_where_it_lies(tmp_path, red_image):
    jpeg = encode(red_image, "JPEG")
    members = [
        ("shard/0.jpg", jpeg), ("shard/0.txt", b"a dog\na hound\n"), ("shard/0.json", b'{"caption": "no"}'),
        ("shard/1.json", b'{"caption": "a cat"}'), ("shard/1.png", encode(red_image, "PNG")),
        ("shard/2.jpg", jpeg), ("shard/2.cls", b"3"), ("shard/._0.jpg", b"apple"),
    ]  # fmt: skip
    tar = write_tar(tmp_path / "test.tar", members)
    dataset = open_captions(str(tar))
    assert captions_of(dataset) == {"shard/0.jpg": ("a dog", "a hound"), "shard/1.png": ("a cat",)}
    for image in dataset.images:
        read = await read_image(image.source, None, EmbeddingCache())
        assert read.decode().size == red_image.size
    assert len(open_captions(str(tmp_path)).images) == 2  # a folder of shards


def test_a_folder_of_archives_has_those_that_are_not_hidden(tmp_path):
    write_tar(tmp_path / "A.TAR", [("0.jpg", b"x"), ("0.txt", b"a dog")])
    (tmp_path / "._A.TAR").write_bytes(b"apple")
    (tmp_path / "._b.tar").write_bytes(b"apple")
    assert captions_of(open_captions(str(tmp_path))) == {"0.jpg": ("a dog",)}


def test_shards_may_use_the_same_names(tmp_path):
    write_tar(tmp_path / "0.tar", [("0.jpg", b"x"), ("0.txt", b"a dog")])
    write_tar(tmp_path / "1.tar", [("0.jpg", b"y"), ("0.txt", b"a cat")])
    assert captions_of(open_captions(str(tmp_path))) == {"0.tar/0.jpg": ("a dog",), "1.tar/0.jpg": ("a cat",)}


def test_texts_and_json_may_begin_as_windows_writes_them(tmp_path):
    members = [
        ("0.jpg", b"x"),
        ("0.txt", BOM + b"a dog"),
        ("1.jpg", b"x"),
        ("1.json", BOM + b'{"caption": "b"}'),
    ]
    tar = write_tar(tmp_path / "t.tar", members)
    assert captions_of(open_captions(str(tar))) == {"0.jpg": ("a dog",), "1.jpg": ("b",)}


def link(name, target="0.jpg"):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = tarfile.SYMTYPE, target
    return info


@pytest.mark.parametrize(
    ("members", "odd", "sentence"),
    [
        ([("../0.jpg", b"x")], [], "leads out of it, '../0.jpg'"),
        ([("/etc/0.jpg", b"x")], [], "leads out of it, '/etc/0.jpg'"),
        ([], [link("1.jpg", "/etc/passwd")], "neither a plain file nor a folder, '1.jpg'"),
        ([("0.jpg", b"x"), ("0.txt", b"\xff\xfe\x00")], [], "'0.txt' in 't.tar' is not UTF-8"),
        ([("0.jpg", b"x"), ("0.json", b"{")], [], "'0.json' in 't.tar' is not JSON"),
        ([("0.jpg", b"x"), ("0.txt", b"x" * 1_000_001)], [], "more than 1,000,000 bytes"),
        ([("0.jpg", b"x")], [], "has 1 image, none of them with a caption"),
        ([("0.txt", b"x")], [], "has no images"),
    ],
)
def test_an_odd_tar_archive_is_refused(tmp_path, members, odd, sentence):
    tar = write_tar(tmp_path / "t.tar", members, odd)
    with pytest.raises(InvalidInputError, match=sentence):
        open_captions(str(tar))


@pytest.mark.parametrize("change", [lambda data: data[:700], lambda data: b"no tar" * 200, lambda data: b""])
def test_a_damaged_tar_archive_is_refused(tmp_path, change):
    tar = write_tar(tmp_path / "t.tar", [("0.jpg", b"x" * 2000), ("0.txt", b"a dog")])
    tar.write_bytes(change(tar.read_bytes()))
    with pytest.raises(InvalidInputError, match="no tar archive, is compressed, or is damaged"):
        open_captions(str(tar))


def ten_samples(path):
    contents = {"jpg": b"x" * 700, "txt": b"a dog"}
    members = [(f"{number}.{kind}", data) for number in range(10) for kind, data in contents.items()]
    return write_tar(path, members)


@pytest.mark.parametrize("first", ["0.jpg", "5.jpg", "9.txt"])
@pytest.mark.parametrize(
    "damage",
    [
        lambda data, at: data[:at] + bytes(range(256)) * 2 + data[at + 512 :],
        lambda data, at: data[:at] + bytes(512) + data[at + 512 :],
        lambda data, at: data[:at] + bytes(1024) + b"x" + data[at + 1025 :],
        lambda data, at: data[: at + 100],
        lambda data, at: data + data,  # cat a.tar b.tar
        lambda data, at: data + bytes(3_000_000) + b"x",
    ],
)
def test_an_archive_that_is_damaged_anywhere_is_not_taken_for_a_shorter_one(tmp_path, damage, first):
    tar = ten_samples(tmp_path / "t.tar")
    with tarfile.open(tar) as archive:
        at = archive.getmember(first).offset
    tar.write_bytes(damage(tar.read_bytes(), at))
    with pytest.raises(InvalidInputError, match=r"'t\.tar' is no tar archive, .*, or is damaged \(.+\)\.$"):
        open_captions(str(tar))


@pytest.mark.parametrize(
    "change",
    [
        lambda data, end: data[:end],  # streams may have no end
        lambda data, end: data[: end + 700],
        lambda data, end: data + bytes(10_240),
        lambda data, end: data[:end] + bytes(3_000_000),
    ],
)
def test_an_archive_may_end_with_any_number_of_zeros(tmp_path, change):
    tar = ten_samples(tmp_path / "t.tar")
    with tarfile.open(tar) as archive:
        end = archive.getmembers()[-1].offset_data + 512
    tar.write_bytes(change(tar.read_bytes(), end))
    assert len(open_captions(str(tar)).images) == 10


def test_an_archive_with_nothing_in_it_has_no_images(tmp_path):
    with pytest.raises(InvalidInputError, match=r"'t\.tar' has no images"):
        open_captions(str(write_tar(tmp_path / "t.tar", [])))


def test_images_whose_names_do_not_fit_are_left_out_with_a_note(tmp_path):
    names = ("a.jpg", "a.png", "a.txt", "b.v2.jpg", "b.v2.txt", "c.JPG", "c.jpg", "c.txt", "._d.jpg")
    tar = write_tar(tmp_path / "t.tar", [(name, b"a dog") for name in names])
    dataset = open_captions(str(tar))
    assert captions_of(dataset) == {"a.jpg": ("a dog",), "c.JPG": ("a dog",)}
    assert dataset.notes == (
        "3 images left out, the first, 'a.png': Its name up to the dot is that of 'a.jpg', which comes first;"
        " each image needs its own.",
    )
    write_tar(tmp_path / "u.tar", [("cat.0.jpg", b"x"), ("cat.0.txt", b"a cat")])
    assert open_captions(str(tmp_path)).notes[0].startswith("4 images left out, the first, 't.tar/a.png'")


@pytest.mark.parametrize("others", [(), ("c.jpg",)])
def test_without_a_name_that_fits_the_reason_is_told(tmp_path, others):
    names = ("cat.0.jpg", "cat.0.txt", "dog.0.jpg", "dog.0.txt", *others)
    tar = write_tar(tmp_path / "t.tar", [(name, b"a cat") for name in names])
    with pytest.raises(
        InvalidInputError,
        match=r"'t\.tar' has no image with a caption that can be used; 2 images left out, the first,"
        r" 'cat\.0\.jpg': Its name has a second dot; in a tar archive, only the suffix may follow the first",
    ):
        open_captions(str(tar))


def test_a_compressed_tar_archive_is_refused(tmp_path):
    with tarfile.open(tmp_path / "t.tar", "w:gz"):
        pass
    with pytest.raises(InvalidInputError, match="is compressed"):
        open_captions(str(tmp_path / "t.tar"))


def test_a_member_that_was_added_twice_is_read_once_and_not_left_out(tmp_path):
    members = [("a.jpg", b"x"), ("a.txt", b"a dog"), ("a.jpg", b"y")]
    dataset = open_captions(str(write_tar(tmp_path / "t.tar", members)))
    assert captions_of(dataset) == {"a.jpg": ("a dog",)}
    assert dataset.notes == ()
