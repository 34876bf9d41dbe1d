"""Execute the book's notebooks in place and store outputs and verdicts: `make refresh`."""

import os
import subprocess
import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient

BOOK = Path(__file__).parents[1] / "book"


def refresh(path):
    """Execute one notebook from its own folder and store what it shows, without times or other noise."""
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook,
        timeout=120,
        kernel_name="python3",
        record_timing=False,
        coalesce_streams=True,  # or timing would decide how prints are split
        resources={"metadata": {"path": str(path.parent)}},
    )
    client.execute()
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    nbformat.validate(notebook)
    nbformat.write(notebook, path)


def main(names):
    os.environ["BNCOURSE_REFRESH"] = "1"
    paths = sorted(BOOK.glob("*.ipynb"))
    known = {path.stem for path in paths}
    if unknown := set(names) - known:
        raise SystemExit(f"There is no chapter {', '.join(unknown)}; there are {', '.join(known)}.")
    paths = [path for path in paths if not names or path.stem in names]
    for number, path in enumerate(paths, 1):
        start = time.time()
        print(f"[{number}/{len(paths)}] {path.stem} ...", end=" ", flush=True)
        refresh(path)
        print(f"{time.time() - start:.0f} s")
    subprocess.run([sys.executable, BOOK.parent / "tools" / "solutions.py"], check=True)


if __name__ == "__main__":
    main(sys.argv[1:])
