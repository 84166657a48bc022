"""The README's examples run as they stand."""

import json
import os
import re
import shlex
import subprocess
import sys

import pytest

from tests.app.processes import PROJECT

pytestmark = pytest.mark.model
README = (PROJECT / "README.md").read_text("utf-8")


def block(language, word):
    """Return the first code block of a language that contains a word."""
    return next(code for code in re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL) if word in code)


def test_the_gradio_client_example_prints_the_best_label(server):
    code = block("python", "gradio_client").replace("http://127.0.0.1:7860", server)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True
    )
    assert "'label': 'a cat'" in done.stdout


def test_the_command_line_example_prints_what_the_readme_shows():
    command, _, shown = (
        block("console", "app.cli.classify").removeprefix("$ .venv/bin/python ").partition("\n")
    )
    done = subprocess.run(
        [sys.executable, *shlex.split(command)],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
        env=os.environ,
    )
    assert labels(done.stdout) == labels(shown)
    assert len(labels(shown)) == 4  # three labels and none of these


def labels(table):
    """Return the label column; the digits may differ in the last place from one CPU to another."""
    return re.findall(r"^ +[\d.]+%.* {2}(\S.*)$", table, re.MULTILINE)


def test_the_curl_example_gets_scores(server):
    command = block("bash", "curl").replace("http://127.0.0.1:7860", server)
    done = subprocess.run(shlex.split(command), cwd=PROJECT, capture_output=True, text=True, check=True)
    results = json.loads(done.stdout)["data"][0]["results"]
    assert {result["scores"][0]["label"] for result in results} == {"a cat"}


def test_the_openai_example_finds_the_cat(server):
    code = block("python", "from openai").replace("http://127.0.0.1:7860", server)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "True"


def test_the_gallery_example_finds_the_picture(server):
    commands = block("bash", "/v1/index").replace("http://127.0.0.1:7860", server).splitlines()
    fill, search = (
        json.loads(
            subprocess.run(
                shlex.split(command), cwd=PROJECT, capture_output=True, text=True, check=True
            ).stdout
        )
        for command in commands
    )
    assert fill["job"]["added"] == 1
    assert search["data"][0]["results"][0]["hits"][0]["id"] == "cat.jpg"
