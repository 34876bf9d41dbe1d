"""The page of solutions, from the source that the checks run: `make refresh` writes it."""

from pathlib import Path

import yaml

from bncourse.exercises import chapters

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "book" / "solutions.md"
HEAD = """# Solutions

Try first: every check has three hints, `check.NAME.hint()`.
These are the solutions that the course's own tests run; `check.NAME.solution()` shows the same source.
There are other right ones, and the checks accept them.
"""


def page():
    """Every solution behind a disclosure, in the order of the chapters; the others follow."""
    order = [
        Path(c["file"]).name for c in yaml.safe_load((ROOT / "_toc.yml").read_text())["chapters"]
    ]
    known = chapters()
    names = [name for name in order if name in known]
    names += [name for name in known if name not in names]
    parts = [HEAD]
    for name in names:
        parts.append(f"## {name.replace('_', ' ').capitalize()}\n")
        for exercise in known[name]:
            parts.append(f"### {exercise.name}\n\n{exercise.doc.splitlines()[0]}\n")
            code = f"```python\n{exercise.source().rstrip()}\n```"
            summary = f"<summary>Show the solution of {exercise.name}</summary>"
            parts.append(f"<details>{summary}\n\n{code}\n\n</details>\n")
    return "\n".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
