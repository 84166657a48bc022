"""Built files appear whole or not at all, once for the same facts."""

import shutil
import threading
from importlib.metadata import PackageNotFoundError

import pytest

from engines.artifacts import store
from engines.artifacts.builders import run_builder
from engines.artifacts.store import default_cache_dir, ensure_artifact
from engines.errors import UnknownModelError


def test_the_same_facts_are_built_once_and_others_anew(tmp_path):
    builds = []
    folders = [
        ensure_artifact(tmp_path, "model", {"weights": weights}, lambda folder: builds.append(folder))
        for weights in ("a", "a", "b")
    ]
    assert folders[0] == folders[1] != folders[2]
    assert len(builds) == 2


def test_a_failed_build_leaves_nothing_behind(tmp_path):
    def build(folder):
        (folder / "half").write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        ensure_artifact(tmp_path, "model", {}, build)
    assert [path for path in tmp_path.iterdir() if path.suffix != ".lock"] == []
    folder = ensure_artifact(tmp_path, "model", {}, lambda folder: (folder / "whole").write_text("whole"))
    assert (folder / "whole").exists()


def test_what_a_kill_left_is_removed_by_the_next_build(tmp_path):
    folder = ensure_artifact(tmp_path, "model", {}, lambda folder: None)
    left = tmp_path / f".{folder.name}-abc"
    left.mkdir()
    shutil.rmtree(folder)
    assert ensure_artifact(tmp_path, "model", {}, lambda folder: None) == folder
    assert not left.exists()


def test_a_builder_reads_paths_as_who_started_it_does(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in.json").write_text("[1]")
    run_builder("json.tool", "in.json", "out.json")
    assert (tmp_path / "out.json").read_text().split() == ["[", "1", "]"]


def test_a_builder_s_error_is_raised_here():
    with pytest.raises(UnknownModelError, match="There is no model 'nothing'"):
        run_builder("tests.engines.failing_builder", "nothing")


def test_threads_that_ask_at_once_build_once(tmp_path):
    builds, ready = [], threading.Barrier(4)

    def ask():
        ready.wait()
        ensure_artifact(tmp_path, "model", {}, lambda folder: builds.append(folder))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(builds) == 1


def test_the_cache_folder_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("SIGLIP_CACHE_DIR", raising=False)
    assert default_cache_dir() == tmp_path / "siglip-as-server"
    monkeypatch.setenv("SIGLIP_CACHE_DIR", str(tmp_path / "chosen"))
    assert default_cache_dir() == tmp_path / "chosen"


@pytest.mark.parametrize("damage", ["changed", "cut", "missing"])
def test_a_damaged_artifact_is_built_again(tmp_path, damage, monkeypatch):
    def build(folder):
        (folder / "weights").write_text("weights")

    folder = ensure_artifact(tmp_path, "model", {}, build)
    weights = folder / "weights"
    if damage == "missing":
        weights.unlink()
    else:
        weights.write_text({"changed": "weighty", "cut": "wei"}[damage])
    monkeypatch.setattr("engines.artifacts.store._verified", set())  # as in a new process
    assert ensure_artifact(tmp_path, "model", {}, build) == folder
    assert weights.read_text() == "weights"


def test_a_package_is_looked_up_once(monkeypatch):
    asked = []
    monkeypatch.setattr(store, "version", lambda name: asked.append(name) or "1.2")
    for _ in range(2):
        assert store.package_versions("made-up-package") == {"made-up-package": "1.2"}
    assert asked == ["made-up-package"]


def test_a_package_that_is_missing_is_an_error():
    with pytest.raises(PackageNotFoundError):
        store.package_versions("no-such-package")


def test_whoever_may_read_the_cache_folder_may_read_what_is_in_it(tmp_path):
    def build(folder):
        (folder / "graph").write_text("graph")
        (folder / "graph").chmod(0o600)

    for mode, folder_mode, file_mode in ((0o755, 0o755, 0o644), (0o700, 0o700, 0o600), (0o777, 0o755, 0o644)):
        cache_dir = tmp_path / f"{mode:o}"
        cache_dir.mkdir()
        cache_dir.chmod(mode)
        folder = store.ensure_artifact(cache_dir, "graphs", {}, build)
        assert folder.stat().st_mode & 0o777 == folder_mode
        assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {file_mode}
