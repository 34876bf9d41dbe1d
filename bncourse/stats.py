"""How a measured number is reported: the median over seeds with a 95 % bootstrap interval."""

from typing import NamedTuple

import numpy as np


class Estimate(NamedTuple):
    """A statistic of the measurements with its 95 % interval."""

    value: float
    low: float
    high: float

    def __format__(self, spec):
        return f"{self.value:{spec}} [{self.low:{spec}}, {self.high:{spec}}]"


def estimate(values, statistic=np.median, resamples=2000):
    """Median (or another statistic) of one number per seed, with its percentile bootstrap interval.

    The resampling is seeded, so the same values always give the same interval.

    Args:
        values: (S,) one number per seed, S >= 2, all finite.
        statistic: a NumPy reduction that takes `axis`, such as `np.median` or `np.mean`.
        resamples: bootstrap samples drawn.
    Raises:
        ValueError: fewer than two values, or one that is not finite.
    """
    from scipy.stats import bootstrap

    values = np.asarray(values, float)
    if values.ndim != 1 or len(values) < 2 or not np.isfinite(values).all():
        raise ValueError(f"need one finite number for each of at least 2 seeds, got {values!r}")
    if np.ptp(values) == 0:  # SciPy warns about, and cannot resample, a constant
        return Estimate(*[float(values[0])] * 3)
    result = bootstrap(
        (values,), statistic, n_resamples=resamples, method="percentile", rng=0, vectorized=True
    )
    return Estimate(
        float(statistic(values)),
        float(result.confidence_interval.low),
        float(result.confidence_interval.high),
    )


def paired(a, b, statistic=np.median):
    """Estimate of `a - b`, seed by seed: the same seed must stand at the same place in both (S,)."""
    return estimate(np.subtract(*_pairs(a, b)), statistic)


def paired_ratio(a, b, statistic=np.median):
    """Estimate of `a / b`, seed by seed."""
    return estimate(np.divide(*_pairs(a, b)), statistic)


def _pairs(a, b):
    a, b = np.asarray(a, float), np.asarray(b, float)
    if a.shape != b.shape:
        raise ValueError(f"pairs need equal shapes, got {a.shape} and {b.shape}")
    return a, b
