"""Who imports whom, and what may not stand where."""

import ast
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
ARROWS = {  # module -> what it may import of the package; a new arrow is a visible decision
    "batchnorm": set(),
    "data": set(),
    "stats": set(),
    "plots": set(),
    "claims": set(),
    "exhibits": set(),
    "layers": {"batchnorm"},
    "nets": {"layers", "batchnorm"},
    "experiments": {"nets", "layers", "data", "stats"},
    "exercises": {"exercises", "exhibits", "batchnorm", "layers"},
}


def imports(path):
    """Modules of the package that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert not any(alias.name == "*" for alias in node.names), f"import * in {path}"
            assert node.level == 0, f"relative import in {path}"
            names = (
                [f"bncourse.{alias.name}" for alias in node.names]
                if node.module == "bncourse"
                else [node.module]
            )
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        found |= {name.split(".")[1] for name in names if name.startswith("bncourse.")}
        assert not {name.split(".")[0] for name in names} & {"book", "tests"}, path
    return found


def test_the_arrows_between_modules_are_the_allowed_ones():
    paths = [p for p in (ROOT / "bncourse").rglob("*.py") if p.read_text(encoding="utf-8").strip()]
    assert len(paths) > 8
    for path in paths:
        module = path.relative_to(ROOT / "bncourse").parts[0].removesuffix(".py")
        if module != "__init__":
            assert imports(path) <= ARROWS[module], f"{path}: {imports(path) - ARROWS[module]}"


def test_importing_the_course_does_not_import_torch():
    modules = [f"bncourse.{name}" for name in ARROWS]
    code = f"import {', '.join(modules)}, sys; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_the_wheel_holds_every_package():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    packages = {
        str(p.parent.relative_to(ROOT)).replace("/", ".")
        for p in ROOT.glob("bncourse/**/__init__.py")
    }
    assert set(settings["tool"]["setuptools"]["packages"]) == packages


def test_requirements_are_exact_pins():
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[\w.\-]+==[\w.]+", pin) for pin in pins) and len(pins) > 50
    names = [re.sub(r"[-_.]+", "-", pin.split("==")[0].lower()) for pin in pins]
    assert names == sorted(set(names), key=str.lower) or len(set(names)) == len(names)
    assert {"jupyter-book==1.0.4.post1", "torch==2.13.0"} <= set(pins)


def test_one_address_everywhere():
    config = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    url = config["repository"]["url"]
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert settings["project"]["urls"]["Repository"] == url
    places = [*ROOT.glob("*.md"), *ROOT.glob("book/*.md"), *ROOT.glob("book/*.ipynb")]
    for path in places:
        text = path.read_text(encoding="utf-8")
        for slug in re.findall(r"github(?:\.com)?/([\w.-]+/bncourse)\b", text):
            assert f"https://github.com/{slug}" == url, f"{path.name} names {slug}"


@pytest.mark.parametrize(
    "path", sorted((ROOT / "book").glob("claims/*.json")), ids=lambda p: p.stem
)
def test_the_ledger_names_existing_chapters(path):
    row = json.loads(path.read_text(encoding="utf-8"))
    assert row["claim"] == path.stem
    assert (ROOT / "book" / f"{row['chapter']}.ipynb").is_file()


def test_the_ledger_has_the_claims_that_were_judged():
    assert {p.stem for p in (ROOT / "book" / "claims").glob("*.json")} >= {"S1"}
