"""The claims ledger: what each chapter measured about a claim, one JSON file a claim.

A chapter ends its argument with `record`. While `make refresh` runs, that writes `claims/<id>.json`
beside the notebook; at any other time it compares with the file, so that a course whose numbers no
longer agree with its ledger fails its tests. Away from the course's folder it does neither.
"""

import json
import math
import os
from pathlib import Path
from typing import NamedTuple

STATUSES = ("true", "true if", "contested", "false as stated")


class Verdict(NamedTuple):
    """One row of the ledger."""

    claim: str  # "S1".."S11"
    statement: str  # the claim in our words
    status: str  # one of STATUSES
    condition: str  # when it holds, in one sentence
    quantity: str  # what was measured, with its unit and level
    value: float
    low: float  # 95 % interval
    high: float
    seeds: int
    reference: str  # the best source to read
    chapter: str  # stem of the notebook


def record(verdict, factor=1.5, folder="claims"):
    """Write the verdict while the book is refreshed, compare it with the ledger otherwise; return it.

    Args:
        verdict: a `Verdict`; its numbers are stored with two significant digits.
        factor: how far the value may lie from the one in the ledger: 1.5 allows half of it either way.
        folder: where the ledger is; where it does not exist nothing is written or compared.
    Raises:
        ValueError: an unknown status, too few seeds, or a value outside its own interval.
        AssertionError: the ledger says something else.
    """
    if verdict.status not in STATUSES:
        raise ValueError(f"status must be one of {STATUSES}, got {verdict.status!r}")
    if verdict.seeds < 20:
        raise ValueError(f"a claim needs at least 20 seeds, got {verdict.seeds}")
    if not verdict.low <= verdict.value <= verdict.high:
        raise ValueError(f"value outside its interval: {verdict}")
    rounded = {name: _round(getattr(verdict, name)) for name in ("value", "low", "high")}
    verdict = verdict._replace(**rounded)
    path = Path(folder) / f"{verdict.claim}.json"
    if os.environ.get("BNCOURSE_REFRESH"):
        path.parent.mkdir(exist_ok=True)
        text = json.dumps(verdict._asdict(), indent=1, ensure_ascii=False)
        path.write_text(text + "\n", encoding="utf-8")
    elif path.parent.is_dir():
        _compare(read(folder).get(verdict.claim), verdict, factor)
    return verdict


def read(folder="claims"):
    """All verdicts of a ledger, as a dict from the claim's id, in the order S1, S2, ..., S11."""
    paths = sorted(Path(folder).glob("S*.json"), key=lambda path: int(path.stem[1:]))
    return {path.stem: Verdict(**json.loads(path.read_text(encoding="utf-8"))) for path in paths}


def _compare(stored, verdict, factor):
    if stored is None:
        raise AssertionError(f"{verdict.claim} is not in the ledger: run `make refresh`")
    numbers = {"value", "low", "high"}
    for name, old, new in zip(Verdict._fields, stored, verdict, strict=True):
        if name not in numbers and old != new:
            raise AssertionError(f"{verdict.claim}: the ledger has {name} {old!r}, not {new!r}")
    if abs(verdict.value - stored.value) > (factor - 1) * abs(stored.value):
        raise AssertionError(
            f"{verdict.claim}: the ledger has {stored.value:g}, now measured {verdict.value:g}"
        )


def _round(number):
    digits = 1 - math.floor(math.log10(abs(number))) if number else 0
    return round(float(number), digits)
