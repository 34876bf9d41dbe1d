"""Exercises with checks that say what is wrong, one module for each chapter.

`from bncourse.exercises.normalization import check` gives the checks of a chapter, and
`from bncourse.exercises import check` those of all chapters: `check.NAME(answer)`.
"""

import importlib
import pkgutil


def chapters():
    """The checks of every chapter, as a dict from the chapter's name."""
    modules = {
        name: importlib.import_module(f"{__name__}.{name}")
        for _, name, _ in pkgutil.iter_modules(__path__)
    }
    return {name: module.check for name, module in modules.items() if hasattr(module, "check")}


def __getattr__(name):
    if name != "check":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from bncourse.exercises.checks import Checks

    globals()["check"] = Checks(
        *(exercise for checks in chapters().values() for exercise in checks)
    )
    return globals()["check"]
