"""Folders, archives and lists of files: what is found in them, and what is refused."""

import os
import zipfile

import pytest

from engines.errors import InvalidInputError
from tests.use_cases.retrieval.pictures import RED, save_colours, save_image
from use_cases.retrieval.archives import ZipArchive
from use_cases.retrieval.demo_gallery import DemoGallery
from use_cases.retrieval.sources import FileList, Folder

PNG = b"\x89PNG\r\n\x1a\n"


def ids(files):
    return [file.id for file in files]


def write_zip(path, members, **options):
    with zipfile.ZipFile(path, "w", **options) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def test_a_folder_is_searched_to_its_depth_in_a_fixed_order(tmp_path):
    for name in (
        "b.png",
        "a/2.JPG",
        "a/1.webp",
        "a/deep/er/x.tiff",
        ".hidden/y.png",
        "a/.z.png",
        "notes.txt",
    ):
        save_image(tmp_path / name, RED, format="PNG")
    folder = Folder(tmp_path)
    assert ids(folder) == ["b.png", "a/1.webp", "a/2.JPG", "a/deep/er/x.tiff"] == ids(folder)
    assert folder.count() == 4


def test_names_with_spaces_quotes_and_emoji_are_kept(tmp_path):
    names = ["a b.png", 'it\'s "it".png', "🐱 ünï.png"]
    for name in names:
        save_image(tmp_path / name, RED)
    assert sorted(ids(Folder(tmp_path))) == sorted(names)


def test_a_name_that_is_no_text_is_made_readable(tmp_path):
    (tmp_path / os.fsdecode(b"caf\xe9.png")).write_bytes(PNG)
    assert ids(Folder(tmp_path)) == ["caf\ufffd.png"]


def test_links_that_lead_back_are_followed_once(tmp_path):
    save_image(tmp_path / "in" / "a.png", RED)
    (tmp_path / "in" / "loop").symlink_to(tmp_path / "in")
    (tmp_path / "in" / "itself").symlink_to(tmp_path / "in" / "itself")
    (tmp_path / "in" / "itself.png").symlink_to(tmp_path / "in" / "itself.png")
    (tmp_path / "in" / "broken.png").symlink_to(tmp_path / "nothing.png")
    assert ids(Folder(tmp_path / "in")) == ["a.png"]


@pytest.mark.parametrize(
    ("files", "sentence"),
    [([], "has nothing in it"), (["a.txt", "b.md"], "has 2 files, none of them an image")],
)
def test_a_folder_without_images_is_refused(tmp_path, files, sentence):
    for name in files:
        (tmp_path / name).write_text("text")
    with pytest.raises(InvalidInputError, match=sentence):
        Folder(tmp_path).count()


def test_a_folder_that_is_none_is_refused(tmp_path):
    with pytest.raises(InvalidInputError, match="There is no folder"):
        Folder(tmp_path / "nothing")


def test_a_text_beside_an_image_is_its_caption(tmp_path):
    save_image(tmp_path / "a.png", RED)
    (tmp_path / "a.txt").write_text("a red\n  square\n", "utf-8")
    (file,) = Folder(tmp_path)
    assert file.read_caption() == "a red square"
    (tmp_path / "a.txt").write_bytes(b"caf\xe9")
    with pytest.raises(InvalidInputError, match="cannot be read as UTF-8"):
        file.read_caption()
    (tmp_path / "a.txt").write_text("x" * 3000)
    with pytest.raises(InvalidInputError, match="more than 2,000 characters"):
        file.read_caption()


def test_no_files_are_refused():
    with pytest.raises(InvalidInputError, match="at least one image"):
        FileList([]).count()


def test_an_archive_is_read_with_its_captions(tmp_path):
    red = save_image(tmp_path / "red.png", RED).read_bytes()
    members = {"x/red.png": red, "x/red.txt": "a red one", "notes.md": "", "__MACOSX/x/._red.png": b""}
    archive = ZipArchive(write_zip(tmp_path / "all.zip", members))
    (file,) = archive
    assert (archive.count(), file.id, file.read(), file.read_caption()) == (1, "x/red.png", red, "a red one")


@pytest.mark.parametrize("name", ["../out.png", "a/../../out.png", "/etc/out.png", "C:/out.png"])
def test_a_member_whose_name_leads_out_is_refused(tmp_path, name):
    (file,) = ZipArchive(write_zip(tmp_path / "evil.zip", {name: PNG}))
    with pytest.raises(InvalidInputError, match="leads out of the archive"):
        file.read()
    assert not (tmp_path.parent / "out.png").exists()


def test_a_bomb_is_refused_without_being_unpacked(tmp_path):
    bomb = write_zip(tmp_path / "bomb.zip", {"b.png": bytes(20_000_000)}, compression=zipfile.ZIP_DEFLATED)
    (file,) = ZipArchive(bomb)
    with pytest.raises(InvalidInputError, match="compressed too much"):
        file.read()


def test_a_bomb_that_lies_about_its_size_is_refused(tmp_path):
    path = write_zip(tmp_path / "liar.zip", {"b.png": bytes(60_000_000)}, compression=zipfile.ZIP_DEFLATED)
    data = path.read_bytes().replace((60_000_000).to_bytes(4, "little"), (1000).to_bytes(4, "little"))
    path.write_bytes(data)
    (file,) = ZipArchive(path)
    with pytest.raises(InvalidInputError, match=r"damaged|more than"):
        file.read()


def test_what_is_no_archive_is_refused(tmp_path):
    (tmp_path / "a.zip").write_bytes(b"PK but no more")
    with pytest.raises(InvalidInputError, match="no zip archive, or it is damaged"):
        ZipArchive(tmp_path / "a.zip")
    with pytest.raises(InvalidInputError, match="cannot be read"):
        ZipArchive(tmp_path / "nothing.zip")


def test_an_archive_without_images_is_refused(tmp_path):
    with pytest.raises(InvalidInputError, match="has 1 files, none of them an image"):
        ZipArchive(write_zip(tmp_path / "a.zip", {"a.txt": "text"})).count()


def test_a_damaged_member_is_refused(tmp_path):
    path = write_zip(tmp_path / "a.zip", {"red.png": save_image(tmp_path / "red.png", RED).read_bytes()})
    data = bytearray(path.read_bytes())
    data[60] ^= 0xFF
    path.write_bytes(data)
    (file,) = ZipArchive(path)
    with pytest.raises(InvalidInputError, match="damaged"):
        file.read()


def test_the_demo_gallery_has_captions():
    files = list(DemoGallery())
    assert len(files) == DemoGallery().count() >= 200
    assert all(file.read_caption() for file in files)
    assert files[0].read()


def test_the_sources_colours(tmp_path):
    assert Folder(save_colours(tmp_path)).count() == 3
