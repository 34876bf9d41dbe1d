"""What `make` says on a machine that is not ready, and what the tools do where they run."""

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).parents[1]
TOOL = ROOT / "tools" / "environment.py"


def run(code, cwd=ROOT, **env):
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, **env},
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("version", [(2, 7, 18), (3, 8, 1), (3, 14, 0)])
def test_an_unfit_python_gets_one_sentence(version):
    code = f"import sys, runpy; sys.version_info = {version}; sys.argv = ['x']; "
    code += f"runpy.run_path({str(TOOL)!r}, run_name='__main__')"
    status, out, err = run(code)
    assert status == 1 and out == ""
    assert (
        err.count("\n") == 1
        and "Python 3.11 to 3.13" in err
        and f"{version[0]}.{version[1]}" in err
    )


def test_the_tool_can_be_read_by_old_pythons():
    source = TOOL.read_text(encoding="utf-8")
    ast.parse(source, feature_version=(3, 4))
    assert not any(isinstance(node, ast.JoinedStr) for node in ast.walk(ast.parse(source)))
    for name in ("python2.7", "python3.6"):
        if found := shutil.which(name):
            done = subprocess.run([found, str(TOOL)], capture_output=True, text=True)
            if "command not found" not in done.stderr:
                assert done.returncode == 1 and done.stderr.count("\n") == 1


def test_a_missing_network_gets_one_sentence(tmp_path):
    """The real thing: a copy of the project whose package index can't be reached."""
    for name in ("tools", "bncourse"):
        shutil.copytree(ROOT / name, tmp_path / name)
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "requirements.txt").write_text("a-package-that-is-nowhere==1.0\n")
    index = {"PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_CONFIG_FILE": os.devnull}
    env = {k: v for k, v in os.environ.items() if not k.startswith("PIP_")} | index
    done = subprocess.run(
        [sys.executable, str(tmp_path / "tools" / "environment.py")],
        capture_output=True,
        text=True,
        env=env,
    )
    assert done.returncode == 1
    assert done.stderr == (
        "The package index can't be reached: connect to the network, then run make again.\n"
    )
    assert not (tmp_path / ".venv" / "made-from").exists()


def test_a_ready_environment_is_left_alone(tmp_path):
    code = (
        f"import sys; sys.path.insert(0, {str(TOOL.parent)!r}); import environment as e; "
        f"e.STAMP = {str(tmp_path / 'stamp')!r}; open(e.STAMP, 'w').write(e.fingerprint()); "
        "e.subprocess.call = None; sys.exit(e.main())"
    )
    assert run(code) == (0, "", "")


def test_reasons_are_sentences(monkeypatch):
    monkeypatch.syspath_prepend(TOOL.parent)
    import environment

    assert "venv module" in environment.reason("Error: ensurepip is not available")
    assert "disk is full" in environment.reason("OSError: No space left on device")
    assert "no torch" in environment.reason("x\nERROR: no torch\n")
    assert "network" in environment.reason("NewConnectionError: refused")


def test_refresh_stores_outputs_and_a_second_one_changes_nothing(tmp_path, monkeypatch):
    shutil.copytree(ROOT / "tools", tmp_path / "tools")
    shutil.copy(ROOT / "_toc.yml", tmp_path)
    (tmp_path / "book").mkdir()
    cell = nbformat.v4.new_code_cell("print(1)\nimport sys; print(2)\nsys.stdout.flush(); 3")
    path = tmp_path / "book" / "small.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), path)
    tool = [sys.executable, str(tmp_path / "tools" / "refresh.py")]
    seen = []
    for _ in range(2):
        done = subprocess.run(tool, capture_output=True, text=True, check=True)
        assert "[1/1] small" in done.stdout
        seen.append(path.read_bytes())
    assert seen[0] == seen[1] and b'"execution_count": 1' in seen[0]
    done = subprocess.run([*tool, "smal"], capture_output=True, text=True)
    assert done.returncode == 1 and done.stderr == "There is no chapter smal; there are small.\n"


def test_serve_takes_the_next_free_port(monkeypatch):
    monkeypatch.syspath_prepend(TOOL.parent)
    import serve

    with serve.server() as first, serve.server() as second:
        assert first.server_port != second.server_port
        with pytest.raises(SystemExit, match="No port"):
            serve.server(first.server_port, first.server_port + 1)
