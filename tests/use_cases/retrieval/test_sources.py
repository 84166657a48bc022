"""Folders and lists of files: what is found in them, and what is refused."""

import errno
import os

import pytest

from engines.errors import InvalidInputError
from tests.use_cases.retrieval.pictures import RED, save_colours, save_image
from use_cases.retrieval.demo_gallery import DemoGallery
from use_cases.retrieval.sources import FileList, Folder

PNG = b"\x89PNG\r\n\x1a\n"


def ids(files):
    return [file.id for file in files]


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
    [([], "has nothing in it"), (["a.txt", "b.md"], "has 2 files, no image among them")],
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
    (tmp_path / "a.txt").write_text("\ufeffred", "utf-8")  # as Windows writes it
    assert file.read_caption() == "red"


def test_a_caption_s_file_is_read_up_to_its_limit_only(tmp_path, monkeypatch):
    (file,) = FileList([("a.png", save_image(tmp_path / "a.png", RED))])
    (tmp_path / "a.txt").write_bytes(b" " * 9_999 + b"x")
    assert file.read_caption() == "x"
    with (tmp_path / "a.txt").open("wb") as huge:
        huge.truncate(50_000_000_000)  # a file without blocks on the disk
    with pytest.raises(InvalidInputError, match=r"Its caption, 'a.txt', has more than 10,000 bytes"):
        file.read_caption()


@pytest.fixture
def close(monkeypatch):
    """Return a function that closes a folder, or what a link leads to: to root nothing really is."""
    closed, scandir = set(), os.scandir

    class Entry:
        def __init__(self, entry):
            self.name, self.path, self._entry = entry.name, entry.path, entry

        def is_file(self):
            return self._look("is_file")

        def is_dir(self):
            return self._look("is_dir")

        def _look(self, kind):
            if self.path in closed and self._entry.is_symlink():
                raise PermissionError(errno.EACCES, "Permission denied")
            return getattr(self._entry, kind)()

    def scan(folder):
        if str(folder) in closed:
            raise PermissionError(errno.EACCES, "Permission denied")
        return map(Entry, scandir(folder))

    monkeypatch.setattr(os, "scandir", scan)
    return lambda path: closed.add(str(path))


def test_a_folder_in_it_that_cannot_be_read_is_told_and_leaves_it_incomplete(tmp_path, close):
    save_image(tmp_path / "a.png", RED)
    save_image(tmp_path / "b" / "in" / "x.png", RED)
    save_image(tmp_path / "c" / "y.png", RED)
    assert list(Folder(tmp_path))
    close(tmp_path / "b" / "in")
    folder = Folder(tmp_path)
    assert folder.complete  # nobody has looked yet
    a, closed, c = folder
    assert ([a.id, closed.id, c.id], folder.count()) == (["a.png", "b/in/", "c/y.png"], 3)
    assert not folder.complete
    with pytest.raises(
        InvalidInputError, match=r"cannot be read \(Permission denied\), so nothing counts as"
    ):
        closed.read()


def test_links_to_where_nobody_may_look_are_told(tmp_path, close):
    save_image(tmp_path / "elsewhere" / "x.png", RED)
    (tmp_path / "in").mkdir()
    for name in ("link", "photo.png", ".hidden"):
        (tmp_path / "in" / name).symlink_to(tmp_path / "elsewhere")
        close(tmp_path / "in" / name)
    folder = Folder(tmp_path / "in")
    assert ids(folder) == ["link/", "photo.png"]
    assert not folder.complete


def test_a_whole_folder_is_complete(tmp_path):
    folder = Folder(save_colours(tmp_path))
    assert (ids(folder), folder.complete) == (["blue.png", "green.png", "red.png"], True)


def test_a_folder_that_is_closed_is_refused(tmp_path, close):
    save_image(tmp_path / "sub" / "a.png", RED)
    close(tmp_path / "sub")
    with pytest.raises(InvalidInputError, match="nothing in it, and 1 folder that cannot be read;"):
        Folder(tmp_path).count()
    with pytest.raises(InvalidInputError, match=r"'sub' cannot be read \(Permission denied\)\."):
        Folder(tmp_path / "sub").count()


def test_no_files_are_refused():
    with pytest.raises(InvalidInputError, match="at least one image"):
        FileList([]).count()


def test_the_demo_gallery_has_captions():
    files = list(DemoGallery())
    assert len(files) == DemoGallery().count() >= 200
    assert all(file.read_caption() for file in files)
    assert files[0].read()


def test_the_sources_colours(tmp_path):
    assert Folder(save_colours(tmp_path)).count() == 3
