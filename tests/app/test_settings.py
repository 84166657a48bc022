"""Settings come from arguments, environment and .env, and bad ones are named."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from app.main import main
from app.settings import ENV_FILE, LISTS, Settings
from tests.app.processes import PROJECT


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch, tmp_path):
    monkeypatch.setitem(Settings.model_config, "env_file", tmp_path / ".env")
    for name in Settings.model_fields:
        monkeypatch.delenv(f"SIGLIP_{name.upper()}", raising=False)


def test_environment_wins_over_env_file(monkeypatch, tmp_path):
    (tmp_path / ".env").write_text("SIGLIP_PORT=1111\nSIGLIP_MODELS=a, b\n")
    assert (Settings().port, Settings().models) == (1111, ("a", "b"))
    monkeypatch.setenv("SIGLIP_PORT", "2222")
    assert Settings().port == 2222


def test_batcher_limits_are_passed_on(monkeypatch):
    monkeypatch.setenv("SIGLIP_MAX_BATCH_SIZE", "3")
    assert Settings().batcher_limits.max_batch_size == 3


def test_a_home_folder_is_expanded(monkeypatch):
    monkeypatch.setenv("SIGLIP_CACHE_DIR", "~/models")
    assert Settings().cache_dir == Path.home() / "models"


@pytest.mark.parametrize("path", ["siglip/demo", "/siglip/demo/", "//siglip//demo"])
def test_a_root_path_is_written_in_one_way(path):
    assert Settings(_env_file=None, root_path=path).root_path == "/siglip/demo"
    assert Settings(_env_file=None, root_path="/").root_path == ""


def test_a_hosted_space_listens_to_everybody(monkeypatch):
    assert (Settings().host, Settings().trusted_proxies) == ("127.0.0.1", ())
    monkeypatch.setenv("SPACE_ID", "someone/space")
    assert (Settings().host, Settings().trusted_proxies) == ("0.0.0.0", ("10.0.0.0/8",))


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        (["--port", "99999"], "setting port"),
        (["--port", "x"], "setting port"),
        (["--models", ","], "name at least one model"),
        (["--port", "0", "--models", "no-such-model"], "No model 'no-such-model'"),
        (
            ["--port", "0", "--model", "no-such-model"],
            "No model 'no-such-model'",
        ),  # as other commands have it
        (["--port", "0", "--engine", "tensorrt", "--models", "siglit-mini"], "Unknown engine 'tensorrt'"),
        (["--port", "0", "--models", "siglit-mini,no-such-model"], "No model 'no-such-model'"),
        (["--root-path", "http://example.com/siglip"], "must be a path such as /siglip"),
        (["--trusted-proxies", "10.0.0.1,proxy"], "'proxy' is no address, and no network such as 10.0.0.0/8"),
        (["--host", "256.0.0.1"], "cannot listen on 256.0.0.1"),
    ],
)
def test_unusable_settings_end_in_one_sentence_and_code_2(argv, sentence, capsys):
    assert main(argv) == 2
    assert sentence in capsys.readouterr().err


def test_an_unknown_argument_is_refused_by_the_parser():
    with pytest.raises(SystemExit) as stop:
        main(["--prot", "1"])
    assert stop.value.code == 2


@pytest.mark.parametrize(
    ("settings", "may_change"),
    [
        ({}, True),
        ({"root_path": "/behind/a/proxy"}, False),
        ({"host": "0.0.0.0"}, False),
        ({"host": "0.0.0.0", "auth": "user:password"}, False),
        ({"host": "0.0.0.0", "api_keys": "0123456789abcdef"}, False),
        ({"host": "0.0.0.0", "auth": "user:password", "api_keys": "0123456789abcdef"}, True),
        ({"host": "0.0.0.0", "allow_indexing": True}, True),
        ({"allow_indexing": False}, False),
    ],
)
def test_galleries_may_be_changed_where_no_stranger_can(settings, may_change):
    options = Settings(_env_file=None, **settings)
    assert options.gallery_options.may_change == may_change
    if "allow_indexing" not in settings:
        assert options.may_measure == may_change


def test_measuring_has_a_switch_of_its_own():
    assert Settings(_env_file=None, host="0.0.0.0", allow_measuring=True).may_measure
    assert not Settings(_env_file=None, allow_measuring=False).may_measure


@pytest.mark.parametrize("name", [name for name in Settings.model_fields if name not in LISTS])
def test_an_empty_variable_is_an_unset_one(monkeypatch, name):
    unset = getattr(Settings(), name)
    monkeypatch.setenv(f"SIGLIP_{name.upper()}", "")
    assert getattr(Settings(), name) == unset


@pytest.mark.parametrize("name", LISTS)
def test_an_empty_list_is_one(monkeypatch, name):
    monkeypatch.setenv(f"SIGLIP_{name.upper()}", "")
    assert getattr(Settings(), name) == ()


def test_an_env_file_that_is_not_there_is_refused(monkeypatch, capsys):
    monkeypatch.setenv(ENV_FILE, "/etc/siglp.env")
    assert main([]) == 2
    assert capsys.readouterr().err == "error: SIGLIP_ENV_FILE names '/etc/siglp.env', which is not there\n"


def test_another_env_file_can_be_named(tmp_path):
    (tmp_path / "other").write_text("SIGLIP_PORT=1234\n")
    ask = "from app.settings import Settings; print(Settings().port)"
    done = subprocess.run(
        [sys.executable, "-c", ask],
        cwd=PROJECT,
        env=os.environ | {ENV_FILE: str(tmp_path / "other")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "1234\n"
