"""Data sets that need no download: what scikit-learn ships."""

from typing import NamedTuple

import numpy as np


class Dataset(NamedTuple):
    """Examples with their labels."""

    x: np.ndarray  # (N, D) float64, as measured
    y: np.ndarray  # (N,) integers 0..K-1
    features: tuple  # D names of the columns
    classes: tuple  # K names of the labels


def wine():
    """178 Italian wines of 3 cultivars, 13 chemical measurements; proline 278..1680 beside hue 0.48..1.71.

    Source: Aeberhard & Forina, UCI Machine Learning Repository, https://doi.org/10.24432/C5PC7J.
    """
    from sklearn.datasets import load_wine

    return _dataset(load_wine())


def breast_cancer():
    """569 tumours, malignant or benign, 30 measurements of cell nuclei.

    Source: Wolberg et al., UCI Machine Learning Repository, https://doi.org/10.24432/C5DW2B.
    """
    from sklearn.datasets import load_breast_cancer

    return _dataset(load_breast_cancer())


def digits():
    """1797 handwritten digits, 8x8 pixels, grey levels 0..16.

    Source: Alpaydin & Kaynak, UCI Machine Learning Repository, https://doi.org/10.24432/C50P49.
    """
    from sklearn.datasets import load_digits

    return _dataset(load_digits())


def split(dataset, seed, test_size=1 / 3):
    """A random split with the same share of every class: `(x_train, x_test, y_train, y_test)`.

    Args:
        dataset: a `Dataset`.
        seed: the same seed gives the same split.
        test_size: share of the examples that are kept for testing, between 0 and 1.
    """
    from sklearn.model_selection import train_test_split

    return train_test_split(
        dataset.x, dataset.y, test_size=test_size, random_state=seed, stratify=dataset.y
    )


def _dataset(bunch):
    names = getattr(bunch, "feature_names", None)
    return Dataset(
        np.asarray(bunch.data, float),
        np.asarray(bunch.target),
        tuple(str(name) for name in names),
        tuple(str(name) for name in bunch.target_names),
    )
