"""Zip archives: what is read from them, what is refused, and how much of them is read at all."""

import struct
import zipfile

import pytest

from engines.errors import InvalidInputError
from tests.use_cases.retrieval.pictures import RED, save_image
from use_cases.retrieval import zip_directory
from use_cases.retrieval.archives import ZipArchive

PNG = b"\x89PNG\r\n\x1a\n"
END, END64 = b"PK\x05\x06", b"PK\x06\x06"


def write_zip(path, members, **options):
    with zipfile.ZipFile(path, "w", **options) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


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


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_of_two_members_of_one_name_the_hidden_one_is_reported(tmp_path):
    path = tmp_path / "twice.zip"
    members = [("a.png", b"first"), ("b.png", PNG), ("a.txt", ""), ("a.txt", "x"), ("a.png", b"second")]
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members:
            archive.writestr(name, data)
    archive = ZipArchive(path)
    files = {file.id: file for file in archive}
    assert archive.count() == len(files) == 3
    assert (files["a.png"].read(), files["a.png"].read_caption()) == (b"second", "x")
    (hidden,) = files.keys() - {"a.png", "b.png"}
    assert hidden == "a.png (hidden, 1)"
    with pytest.raises(InvalidInputError, match="has the same name"):
        files[hidden].read()


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
    with pytest.raises(InvalidInputError, match="has 1 file, no image among them"):
        ZipArchive(write_zip(tmp_path / "a.zip", {"a.txt": "text"})).count()


def test_a_damaged_member_is_refused(tmp_path):
    path = write_zip(tmp_path / "a.zip", {"red.png": save_image(tmp_path / "red.png", RED).read_bytes()})
    data = bytearray(path.read_bytes())
    data[60] ^= 0xFF
    path.write_bytes(data)
    (file,) = ZipArchive(path)
    with pytest.raises(InvalidInputError, match="damaged"):
        file.read()


def test_what_is_damaged_in_odd_ways_is_refused(tmp_path):
    """Names that are no text, and a method of packing that not every Python knows."""
    path = write_zip(tmp_path / "a.zip", {"é.png": PNG})
    path.write_bytes(path.read_bytes().replace("é".encode(), b"\xc3\xc3", 1))  # in the member's own header
    (file,) = ZipArchive(path)
    with pytest.raises(InvalidInputError, match="It is damaged, or packed"):
        file.read()
    (file,) = ZipArchive(write_zip(tmp_path / "b.zip", {"a.png": PNG}, compression=zipfile.ZIP_LZMA))
    with pytest.raises(InvalidInputError, match="packed in a way that cannot be read"):
        file.read()


def test_a_member_without_a_name_is_left_out(tmp_path):
    path = write_zip(tmp_path / "a.zip", {"x": b"", "a.png": PNG})
    data = path.read_bytes()
    place = data.index(b"PK\x01\x02")
    header = (
        data[place : place + 28] + struct.pack("<HH", 0, 1) + data[place + 32 :]
    )  # its name is a field now
    path.write_bytes(data[:place] + header)
    assert [file.id for file in ZipArchive(path)] == ["a.png"]


def test_captions_are_read_as_windows_writes_them_and_up_to_their_limit(tmp_path):
    captions = {
        "a.txt": "\ufeffred".encode(),
        "b.txt": b"caf\xe9",
        "c.txt": b"x" * 10_001,
        "d.txt": b"x" * 3000,
    }
    images = {name.replace("txt", "png"): PNG for name in captions}
    a, b, c, d = ZipArchive(write_zip(tmp_path / "a.zip", images | captions))
    assert a.read_caption() == "red"
    for file, sentence in (
        (b, "'b.txt', cannot be read as UTF-8"),
        (c, "'c.txt', has more than 10,000 bytes"),
        (d, "more than 2,000 characters"),
    ):
        with pytest.raises(InvalidInputError, match=sentence):
            file.read_caption()


def test_a_damaged_caption_is_told_from_a_damaged_image(tmp_path):
    path = write_zip(tmp_path / "a.zip", {"a.png": PNG, "a.txt": "a caption"})
    path.write_bytes(path.read_bytes().replace(b"a caption", b"A caption"))
    (file,) = ZipArchive(path)
    assert file.read() == PNG
    with pytest.raises(InvalidInputError, match=r"Its caption, 'a.txt', is damaged"):
        file.read_caption()


def test_an_upload_has_a_source_of_its_own_kind(tmp_path):
    path = write_zip(tmp_path / "a.zip", {"a.png": PNG})
    assert ZipArchive(path).source == str(path)
    assert ZipArchive(path, "upload").source == "zip:upload"
    (tmp_path / "link.zip").symlink_to(path)
    assert ZipArchive(tmp_path / "link.zip").source == str(path)


@pytest.fixture
def few(monkeypatch):
    """Let an archive have two members, and a directory of a thousand bytes."""
    monkeypatch.setattr(zip_directory, "_MAX_MEMBERS", 2)
    monkeypatch.setattr(zip_directory, "_MAX_DIRECTORY_BYTES", 1000)


def telling(data, record, count_at, size_at, count, size=None):
    """Return an archive whose record tells other numbers than are true."""
    place, width = data.rindex(record), 8 if record == END64 else 2
    data = bytearray(data)
    data[place + count_at : place + count_at + width] = count.to_bytes(width, "little")
    if size is not None:
        width = max(width, 4)
        data[place + size_at : place + size_at + width] = size.to_bytes(width, "little")
    return bytes(data)


def as_zip64(data):
    """Return an archive with the records that more than 65,535 members need."""
    place = data.rindex(END)
    _, _, _, _, count, size, offset, _ = struct.unpack_from("<4s4H2LH", data, place)
    record = struct.pack("<4sQ2H2L4Q", END64, 44, 45, 45, 0, 0, count, count, size, offset)
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, place, 1)
    end = struct.pack("<4s4H2LH", END, 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    return data[:place] + record + locator + end


@pytest.mark.parametrize("comment", [b"", b"a comment"])
@pytest.mark.parametrize("wrap", [bytes, as_zip64])
def test_an_archive_with_too_many_members_is_not_opened(tmp_path, few, monkeypatch, wrap, comment):
    path = write_zip(tmp_path / "a.zip", {f"{n}.png": PNG for n in range(2)})
    path.write_bytes(wrap(path.read_bytes()))
    with zipfile.ZipFile(path, "a") as archive:
        archive.comment = comment
    assert ZipArchive(path).count() == 2
    path = write_zip(tmp_path / "b.zip", {f"{n}.png": PNG for n in range(3)})
    path.write_bytes(wrap(path.read_bytes()))
    monkeypatch.setattr(zipfile, "ZipFile", None)  # a call would fail
    with pytest.raises(InvalidInputError, match=r"^'b.zip' has more than 2 files; split it"):
        ZipArchive(path)


@pytest.mark.parametrize(("wrap", "record", "at"), [(bytes, END, (10, 12)), (as_zip64, END64, (32, 40))])
def test_what_a_record_tells_of_the_number_of_members_is_not_believed(tmp_path, few, wrap, record, at):
    path = write_zip(tmp_path / "a.zip", {f"{n}.png": PNG for n in range(3)})
    data = wrap(path.read_bytes())
    path.write_bytes(telling(data, record, *at, count=1))
    with pytest.raises(InvalidInputError, match="more than 2 files"):
        ZipArchive(path)
    path.write_bytes(telling(data, record, *at, count=1, size=1001))
    with pytest.raises(InvalidInputError, match=r"a directory of more than 0.001 MB; split it"):
        ZipArchive(path)


@pytest.mark.parametrize("near", [True, False])
def test_a_second_record_hides_no_members(tmp_path, few, near):
    """Some readers take the zip64 record before the locator, others the one that the locator points to."""
    path = write_zip(tmp_path / "a.zip", {f"{n}.png": PNG for n in range(3)})
    data = as_zip64(path.read_bytes())
    place = data.rindex(END64)
    empty = struct.pack("<4sQ2H2L4Q", END64, 44, 45, 45, 0, 0, 0, 0, 0, 0)
    record, end = data[place : place + 56], data[-22:]
    before, told = (empty + data[:place] + record, 0) if near else (data[:place] + record + empty, place)
    path.write_bytes(before + struct.pack("<4sLQL", b"PK\x06\x07", 0, told, 1) + end)
    with pytest.raises(InvalidInputError, match="more than 2 files"):
        ZipArchive(path)
