"""Spoilt copies of batchnorm.py, each of which at least one law must catch."""

import inspect
import types

import laws
import pytest

from bncourse import batchnorm

MUTANTS = {
    "mean of another axis": ("mean = _sum(x, axis) / count", "mean = _sum(x, axis) / (count + 1)"),
    "second centring left out": ("    centred -= rest\n", ""),
    "variance without the mean": ("centred * centred, axis", "x * x, axis"),
    "N - 1 in the normalizer": (
        "var = _sum(centred * centred, axis) / count",
        "var = _sum(centred * centred, axis) / (count - 1)",
    ),
    "eps outside the root": ("1 / np.sqrt(var + eps)", "1 / (np.sqrt(var) + eps)"),
    "eps forgotten": ("1 / np.sqrt(var + eps)", "1 / np.sqrt(var + 1e-5)"),
    "no square root": ("1 / np.sqrt(var + eps)", "1 / (var + eps)"),
    "beta forgotten": ("    y += beta\n", ""),
    "gamma forgotten": ("centred * (gamma * inv_std)", "centred * inv_std"),
    "mean detached in backward": ("    dx -= scale * dbeta / cache.count\n", ""),
    "variance detached in backward": (
        "    dx -= centred * (scale * inv_std * dgamma / cache.count)\n",
        "",
    ),
    "sign of the variance's path": ("dx -= centred", "dx += centred"),
    "gamma forgotten in backward": ("scale = cache.gamma * inv_std", "scale = inv_std"),
    "dgamma not normalized": (
        "dgamma = inv_std * _sum(dy * centred, axis)",
        "dgamma = _sum(dy * centred, axis)",
    ),
    "dbeta is a mean": ("dbeta = _sum(dy, axis)", "dbeta = _sum(dy, axis) / cache.count"),
    "backward changes dy": ("dx = dy * scale", "dy *= scale; dx = dy"),
    "forward changes x": ("centred = x - mean", "x -= mean; centred = x"),
    "momentum the other way round": (
        "momentum=0.1):\n",
        "momentum=0.1):\n    momentum = 1 - momentum\n",
    ),
    "biased variance is stored": ("cache.var * (cache.count / (cache.count - 1))", "cache.var"),
    "running mean never moves": ("+ momentum * cache.mean", "+ 0 * cache.mean"),
    "inference by the batch": ("(x - mean) / np.sqrt", "(x - x.mean(0)) / np.sqrt"),
    "inference without eps": (
        "return gamma * (x - mean) / np.sqrt(var + eps) + beta",
        "return gamma * (x - mean) / np.sqrt(var) + beta",
    ),
    "pixels not averaged": ("(0, *range(2, x.ndim))", "(0,)"),
    "parameters meet the last axis": ("values.reshape(channels + (1,) * (x.ndim - 2))", "values"),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_mutant_is_caught(name):
    source = inspect.getsource(batchnorm)
    old, new = MUTANTS[name]
    assert source.count(old) == 1, f"{old!r} stands {source.count(old)} times in batchnorm.py"
    mutant = types.ModuleType("mutant")
    exec(compile(source.replace(old, new), "mutant", "exec"), vars(mutant))
    caught = []
    for law in laws.LAWS:
        try:
            law(mutant)
        except (AssertionError, ValueError, IndexError):
            caught.append(law.__name__)
            break
    assert caught, f"no law catches: {name}"
