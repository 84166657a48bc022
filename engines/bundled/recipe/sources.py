"""Fetch the raw material from Debian's archive and npm, verified by SHA-256, into the work folder."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from engines.bundled.towers import file_sha256


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One pinned package of pictures or words."""

    name: str
    version: str
    file: str  # as the package client names it
    sha256: str
    license: str


DEBIAN_SOURCES = (
    Source(
        name="tuxpaint-stamps-default",
        version="2022.06.04-1",
        file="tuxpaint-stamps-default_2022.06.04-1_all.deb",
        sha256="6db6c1bfc870a47f1499d6203b083522eacb57c5f9c87d468f2e92eb6d9d5f34",
        license="GPL-2+ and public domain",
    ),
    Source(
        name="openclipart-png",
        version="1:0.18+dfsg-19",
        file="openclipart-png_1%3a0.18+dfsg-19_all.deb",
        sha256="f07f1545a2970c2cf3fa339bc2405da1a95cf2b1827bfa05bf73eb1c20291c02",
        license="public domain",
    ),
    Source(
        name="wordnet-base",
        version="1:3.0-37",
        file="wordnet-base_1%3a3.0-37_all.deb",
        sha256="61060d960f9ada8fa120872312eccd3ecebfbab8c4579e4f5a74e1cf67620752",
        license="WordNet",
    ),
)
EVALUATION_SOURCES = (  # measured, never trained on
    Source(
        name="gcompris-qt-data",
        version="3.1-2",
        file="gcompris-qt-data_3.1-2_all.deb",
        sha256="e9cf06ab2105529068df73085784e835d2ff03f870d2a8091f09125d40abac9f",
        license="CC0-1.0, public domain, CC-BY-SA-4.0 and others by picture",
    ),
)
NPM_SOURCES = (
    Source(
        name="emoji-datasource-google",
        version="16.0.0",
        file="emoji-datasource-google-16.0.0.tgz",
        sha256="fb5fd131b362aab7a55542d2a147a79708cce0a8b1c1bbacd470172708b5c438",
        license="Apache-2.0 pictures (Noto), MIT data",
    ),
    Source(
        name="emoji-datasource-twitter",
        version="16.0.0",
        file="emoji-datasource-twitter-16.0.0.tgz",
        sha256="f64a530c63bca463bd8317fdc4615ce63a53a0c65018e4ce2d848aaba7a28877",
        license="CC-BY 4.0 pictures (Twemoji), MIT data",
    ),
    Source(
        name="fluentui-emoji",
        version="1.3.0",
        file="fluentui-emoji-1.3.0.tgz",
        sha256="ec892e607e854859b812c7d827801756adc19955b0ef56d4ae8afcddd19492c5",
        license="MIT (Microsoft Fluent Emoji)",
    ),
)


def fetch_sources(work_dir: Path) -> dict[str, Path]:
    """Download, verify and unpack every source once; return the folder of each.

    Raises:
        ValueError: when a downloaded file is not the pinned one.
    """
    archives, unpacked = work_dir / "archives", work_dir / "unpacked"
    archives.mkdir(parents=True, exist_ok=True)
    folders = {}
    for source in DEBIAN_SOURCES + EVALUATION_SOURCES + NPM_SOURCES:
        folders[source.name] = unpacked / source.name
        if (unpacked / source.name / ".complete").exists():
            continue
        archive = _fetch(source, archives)
        folders[source.name].mkdir(parents=True, exist_ok=True)
        if archive.suffix == ".deb":
            _run(["dpkg-deb", "-x", str(archive), str(folders[source.name])], archives)
        else:
            _run(["tar", "-xzf", str(archive), "-C", str(folders[source.name])], archives)
        (folders[source.name] / ".complete").touch()
    return folders


def _fetch(source: Source, archives: Path) -> Path:
    archive = archives / source.file
    if not archive.exists() and source not in NPM_SOURCES:
        _run(["apt-get", "download", f"{source.name}={source.version}"], archives)
    elif not archive.exists():
        _run(["npm", "pack", "--silent", f"{source.name}@{source.version}"], archives)
    found = file_sha256(archive)
    if found != source.sha256:
        raise ValueError(f"{archive.name} has SHA-256 {found}, but {source.sha256} is pinned.")
    return archive


def _run(command: list[str], folder: Path) -> None:
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
