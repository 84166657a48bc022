"""README and .env.example name what there is, and every module says its job."""

import ast
import re
from pathlib import Path

import pytest

from app.cli import settings
from engines.factory import ENGINES
from engines.models import bundled_models
from use_cases.record_tables import render_model
from use_cases.results import RESULTS_DIR, read_record

PROJECT = Path(__file__).parent.parent
README = (PROJECT / "README.md").read_text("utf-8")
MODULES = [
    path for package in ("app", "engines", "use_cases") for path in sorted((PROJECT / package).rglob("*.py"))
]


def test_the_readme_and_the_example_file_list_all_settings_as_they_are(monkeypatch):
    for variable in ("SPACE_ID", "SIGLIP_CACHE_DIR", "XDG_CACHE_HOME"):  # they change defaults
        monkeypatch.delenv(variable, raising=False)
    assert settings.markdown_table() in README
    assert settings.env_example() == (PROJECT / ".env.example").read_text("utf-8")


@pytest.mark.parametrize("name", [*ENGINES, *bundled_models()])
def test_every_engine_and_bundled_model_is_in_the_readme(name):
    assert f"`{name}`" in README


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PROJECT)))
def test_every_module_says_its_job(path):
    assert ast.get_docstring(ast.parse(path.read_text("utf-8")))


def test_relative_links_in_the_readme_lead_somewhere():
    links = re.findall(r"\]\((?!https?:|#)([^)#\s]+)", README)
    assert links
    assert [link for link in links if not (PROJECT / link).exists()] == []


def test_the_engines_figures_in_the_readme_are_those_of_a_committed_record():
    model = "random:siglip-base-patch16-224"
    records = [read_record(path) for path in RESULTS_DIR.glob("towers-*.json")]
    tables = [render_model(record, model) for record in records if f"{model}," in record["command"]]
    assert any(table in README for table in tables)
