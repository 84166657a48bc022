"""The command line: arguments in, a table or one line of JSON out, sentences on stderr."""

import io
import json
import os
import signal
import subprocess
import sys
import threading
import time

import psutil
import pytest

from app.cli import benchmark, build, classify, doctor, random_checkpoint, records, settings
from app.cli.errors import run_command
from app.settings import Settings
from engines.errors import InferenceError, InvalidInputError
from tests.app.processes import PROJECT
from tests.fakes import FIGURES, FakePool, fake_spec


@pytest.fixture
def fake_pool(monkeypatch):
    specs = {"siglit-mini": fake_spec("siglit-mini"), "lit-mini": fake_spec("lit-mini", "softmax")}
    monkeypatch.setattr(classify, "build_pool", lambda settings: FakePool(**specs))


def test_json_is_one_line_with_all_images_in_order(fake_pool, red_png, tmp_path, red_image, capsys):
    red_image.transpose(0).save(tmp_path / "second.png")
    paths = [str(red_png), str(tmp_path / "second.png")]
    assert classify.main([*paths, "--labels", "blue, red", "--json"]) == 0
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    answer = json.loads(out)
    assert (answer["model"], answer["engine"]) == ("siglit-mini", "fake")
    assert [result["image"] for result in answer["results"]] == paths
    assert [score["label"] for score in answer["results"][0]["scores"]] == ["red", "blue"]
    assert set(answer["results"][0]["scores"][0]) == {"label", "score", "cosine", "logit"}
    assert {"load", "decode", "queue", "infer"} <= set(answer["timings_ms"])


def test_the_table_shows_scores_and_none_of_these(fake_pool, red_png, capsys):
    assert classify.main([str(red_png), "--labels", "blue, red"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "siglit-mini on fake, sigmoid scores"
    assert [line.split()[-1] for line in lines[4:6]] == ["red", "blue"]
    assert lines[6].endswith("(none of these)")


def test_a_quantized_engine_s_distance_from_float32_is_told(fake_pool, red_png, monkeypatch, capsys):
    monkeypatch.setattr(FakePool, "quality", FIGURES)
    assert classify.main([str(red_png), "--labels", "blue, red"]) == 0
    assert "cosine to float32 0.9300 for images, 0.9990 for texts" in capsys.readouterr().out
    assert classify.main([str(red_png), "--labels", "blue, red", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["quality"]["image_cosine_min"] == 0.9


def test_more_images_than_a_chunk_keep_their_order(fake_pool, red_png, capsys, monkeypatch):
    monkeypatch.setattr(classify, "_CHUNK", 2)
    assert classify.main([*[str(red_png)] * 5, "--labels", "red", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["results"]) == 5


@pytest.mark.parametrize(
    ("extra", "sentence"),
    [
        (["--labels", " , "], "There are no labels"),
        (["--labels", "red", "--template", "a photo"], "must contain {label}"),
        (["--labels", "red, a\udcff"], r"The label is not valid UTF-8 at 'a\udcff'"),
        (["--labels", "red", "--template", "{label}\udcff"], "The prompt template is not valid UTF-8"),
    ],
)
def test_bad_input_ends_with_code_2_and_a_sentence(fake_pool, red_png, capsys, extra, sentence):
    assert classify.main([str(red_png), *extra]) == 2
    assert sentence in capsys.readouterr().err


def test_a_missing_image_ends_with_code_2(fake_pool, capsys):
    assert classify.main(["nothing.png", "--labels", "red"]) == 2
    assert "Cannot read the image 'nothing.png'" in capsys.readouterr().err


def test_a_text_file_ends_with_code_2(fake_pool, tmp_path, capsys):
    (tmp_path / "notes.txt").write_text("no image")
    assert classify.main([str(tmp_path / "notes.txt"), "--labels", "red"]) == 2
    assert "'notes.txt' is not a JPEG" in capsys.readouterr().err


@pytest.mark.parametrize(
    "main", [benchmark.main, classify.main, doctor.main, build.main, random_checkpoint.main]
)
def test_help_names_the_command(main, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--help"])
    assert stop.value.code == 0
    assert "python -m app.cli." in capsys.readouterr().out


def failing(error):
    def command():
        raise error

    return command


@pytest.mark.parametrize(
    ("error", "code"), [(InvalidInputError("No."), 2), (InferenceError("No."), 1), (LookupError("No."), 2)]
)
def test_an_expected_error_is_one_sentence_and_an_exit_code(error, code, capsys):
    assert run_command(failing(error), LookupError) == code
    assert capsys.readouterr() == ("", "error: No.\n")


def test_a_setting_that_cannot_be_used_is_named(monkeypatch, capsys):
    monkeypatch.setenv("SIGLIP_PORT", "none")
    assert run_command(Settings) == 2
    assert capsys.readouterr().err.startswith("error: setting port: ")


def test_a_bug_keeps_its_traceback():
    for error in (LookupError("No."), BrokenPipeError("of a worker"), OSError("of a file")):
        with pytest.raises(type(error)):
            run_command(failing(error))
    assert run_command(lambda: 7) == 7


def test_a_folder_that_is_in_use_gets_no_random_checkpoint(tmp_path, capsys):
    (tmp_path / "mine").write_text("mine")
    assert random_checkpoint.main(["siglip-base-patch16-224", str(tmp_path)]) == 2
    assert "exists and is not empty; name a new folder." in capsys.readouterr().err
    assert random_checkpoint.main(["siglip-base-patch16-224", str(tmp_path / "mine" / "below")]) == 2
    assert capsys.readouterr().err.startswith("error: Cannot write ")


def test_ctrl_c_is_one_word_and_code_130(capsys):
    assert run_command(failing(KeyboardInterrupt())) == 130
    assert capsys.readouterr() == ("", "Interrupted.\n")


_COMMANDS = """
import asyncio, sys, time
from pathlib import Path
from app.cli.errors import run_command
from app.cli.own_server import server_process
from engines.artifacts.builders import run_builder
from use_cases import workers

_, name, child = sys.argv

def serve():
    with server_process({}, Path(child)):
        time.sleep(60)

async def serve_and_wait():
    with server_process({}, Path(child)):
        await asyncio.sleep(60)

def work():
    workers.COMMAND = (sys.executable, child)
    workers.run_worker({"threads": 1})

commands = {"serve": serve, "wait": lambda: asyncio.run(serve_and_wait()), "work": work}
commands["build"] = lambda: run_builder("long_task")
raise SystemExit(run_command(commands[name]))
"""
_LONG_TASK = """
import os, pathlib, signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: (time.sleep(0.5), sys.exit()))  # as a server that has work to end
print("http://127.0.0.1:9", flush=True)
here = pathlib.Path(__file__).parent
(here / "pid.new").write_text(str(os.getpid()))
(here / "pid.new").rename(here / "pid")
time.sleep(60)
"""


@pytest.mark.parametrize("command", ["serve", "wait", "work", "build"])
def test_sigterm_ends_a_command_with_what_it_has_started(command, tmp_path, monkeypatch):
    child = tmp_path / "long_task.py"
    child.write_text(_LONG_TASK)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(PROJECT), str(tmp_path)]))
    arguments = [sys.executable, "-c", _COMMANDS, command, str(child)]
    with subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True) as process:
        try:
            pid = int(wait_for(tmp_path / "pid"))
            process.send_signal(signal.SIGTERM)
            time.sleep(0.2)
            process.send_signal(signal.SIGTERM)  # `timeout` sends two
            _, err = process.communicate(timeout=30)
            assert err == "Terminated.\n"
            assert process.returncode in (143, -signal.SIGTERM)  # the second may come when all has ended
            assert not runs(pid)
        finally:
            process.kill()


def wait_for(path):
    end_s = time.monotonic() + 60
    while not path.exists() and time.monotonic() < end_s:
        time.sleep(0.02)
    return path.read_text()


def runs(pid):
    end_s = time.monotonic() + 10  # on a busy machine a process that was killed has not ended at once
    while psutil.pid_exists(pid) and time.monotonic() < end_s:
        time.sleep(0.05)
    return psutil.pid_exists(pid)


@pytest.fixture
def default_sigterm():
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGTERM, before)


def test_sigterm_is_handled_only_while_a_command_runs(default_sigterm):
    codes = []
    assert run_command(lambda: callable(signal.getsignal(signal.SIGTERM))) == 1
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    other = threading.Thread(target=lambda: codes.append(run_command(lambda: 7)))  # may handle no signal
    other.start()
    other.join()
    assert codes == [7]
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # somebody else's choice
    assert run_command(lambda: int(signal.getsignal(signal.SIGTERM))) == signal.SIG_IGN
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_IGN


@pytest.fixture(params=["short", "longer than what is kept back"])
def prints(request):
    """Return a command that prints; what is short is written only at the end."""

    def command():
        print("a line" * (1 if request.param == "short" else 100_000))
        return 0

    return command


def test_a_reader_that_has_enough_ends_a_command_quietly(prints, monkeypatch, capsys):
    for command in (lambda: run_command(prints), lambda: settings.main([])):
        reader, writer = os.pipe()
        os.close(reader)
        with open(writer, "w") as stdout:
            monkeypatch.setattr("sys.stdout", stdout)
            assert command() == 141
    assert capsys.readouterr().err == ""


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs Linux")
def test_a_full_disk_under_stdout_is_one_sentence(prints, monkeypatch, capsys):
    with open("/dev/full", "w") as stdout:
        monkeypatch.setattr("sys.stdout", stdout)
        assert run_command(prints) == 2
    assert capsys.readouterr().err == "error: The output cannot be written (No space left on device).\n"


def test_a_command_without_any_stdout_runs(prints, monkeypatch):
    monkeypatch.setattr("sys.stdout", None)
    assert run_command(prints) == 0


def test_what_the_terminal_s_encoding_lacks_is_written_in_escapes(monkeypatch):
    written = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(written, encoding="latin-1"))
    assert run_command(lambda: print("猫.tar, größer") or 0) == 0
    assert written.getvalue() == b"\\u732b.tar, gr\xf6\xdfer\n"


def full(*_):
    raise OSError(28, "No space left on device")


def test_a_record_that_cannot_be_kept_is_printed_all_the_same(monkeypatch, capsys):
    monkeypatch.setattr(records, "write_record", full)
    assert records.show_record({"kind": "towers"}, "a table", write=True) == 2
    out, err = capsys.readouterr()
    assert out.splitlines() == ["a table", '{"kind":"towers"}']
    assert err == "error: the record cannot be written (No space left on device).\n"


def test_a_record_that_does_not_fit_the_schema_is_printed_all_the_same(capsys):
    assert records.show_record({"kind": "towers"}, "a table", write=True) == 2
    out, err = capsys.readouterr()
    assert out.splitlines() == ["a table", '{"kind":"towers"}']
    assert err.startswith("error: the record cannot be kept (")


def test_a_record_whose_page_cannot_be_kept_is_not_called_lost(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(records, "write_record", lambda record: tmp_path / "towers.json")
    monkeypatch.setattr(records, "render_record", full)
    assert records.show_record({"kind": "towers"}, "a table", write=True) == 2
    out, err = capsys.readouterr()
    assert out.splitlines() == ["a table", "Written to towers.json.", '{"kind":"towers"}']
    assert err == "error: the page towers.md cannot be written (No space left on device).\n"
