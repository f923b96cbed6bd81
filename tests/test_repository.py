"""Agreement of the files of the repository: versions, targets, modules."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

from tests.documents import make_targets
from tools import cover

ROOT = Path(__file__).parent.parent
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
WORKFLOWS = {
    path.stem: yaml.safe_load(path.read_text("utf-8"))
    for path in (ROOT / ".github" / "workflows").glob("*.yml")
}
PREFIX = "Programming Language :: Python :: "


def classified() -> list[str]:
    """Return the versions of Python that the classifiers name, oldest first."""
    named = [each.removeprefix(PREFIX) for each in PROJECT["project"]["classifiers"]]
    return [each for each in named if re.fullmatch(r"3\.\d+", each)]


def test_classifiers_nox_and_ci_name_the_same_pythons() -> None:
    noxfile = (ROOT / "noxfile.py").read_text("utf-8")
    (supported,) = re.findall(r"^SUPPORTED = \[(.*)\]$", noxfile, flags=re.MULTILINE)
    in_ci = WORKFLOWS["ci"]["jobs"]["tests"]["strategy"]["matrix"]["python"]
    assert re.findall(r'"(.*?)"', supported) == in_ci
    assert [version for version in in_ci if version.startswith("3") and version[-1] != "t"] == (
        classified()
    )


def test_every_setting_names_the_oldest_python() -> None:
    oldest = classified()[0]
    tool = PROJECT["tool"]
    assert PROJECT["project"]["requires-python"] == f">= {oldest}"
    assert tool["mypy"]["python_version"] == tool["pyright"]["pythonVersion"] == oldest
    assert tool["ruff"]["target-version"] == f"py{oldest.replace('.', '')}"
    assert f"CPython {oldest} to {classified()[-1]}" in (ROOT / "README.rst").read_text("utf-8")


def test_workflows_run_targets_that_there_are() -> None:
    steps = [
        step
        for workflow in WORKFLOWS.values()
        for job in workflow["jobs"].values()
        for step in job["steps"]
    ]
    commands = "\n".join(step.get("run", "") for step in steps)
    named = set(re.findall(r"\bmake (\w+)", commands))
    assert {"lint", "docs", "test", "coverage", "dist"} <= named <= make_targets()
    files = re.findall(r"\btests/\w+\.py\b", commands)
    assert files
    assert [name for name in files if not (ROOT / name).exists()] == []


def test_workflows_pin_what_they_use_and_have_no_rights_by_default() -> None:
    for workflow in WORKFLOWS.values():
        assert workflow["permissions"] == {}
        for job in workflow["jobs"].values():
            assert job["timeout-minutes"] <= 60
            used = [step["uses"] for step in job["steps"] if "uses" in step]
            assert [name for name in used if not re.search("@[0-9a-f]{40}$", name)] == []


def test_the_citation_names_the_project_and_no_version() -> None:
    """The package alone has the version."""
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert "version" not in citation
    assert citation["repository-code"] == PROJECT["project"]["urls"]["Source"]


def test_every_module_has_tests_of_its_own() -> None:
    """By these the coverage of each is measured."""
    modules = cover.modules()
    assert {"protocol/parser.py", "pystreamredis/core/merge.py"} <= set(modules)
    own = {name for module in modules for name in cover.tests_of(module)}
    assert [name for name in own if not (ROOT / name).exists()] == []
    assert set(cover.OTHER_TESTS) <= set(modules), "tests are named of modules that are gone"
