"""Exercises of the chapter `normalization`."""

import numpy as np

from bncourse.exercises.checks import Checks
from bncourse.exercises.engine import Exercise, Regime


def standardize(train, test):
    """Standardize the columns of two arrays by the statistics of the first.

    Args:
        train: (N, D) numbers.
        test: (M, D) numbers in the same units.
    Returns:
        (train_z, test_z), of the same shapes. Every column of train_z has mean 0
        and standard deviation 1 (divide by N). A column that is constant in
        train becomes 0 in train_z; in test_z it is only centred.
    """
    mean = train.mean(axis=0)
    constant = np.ptp(train, axis=0) == 0
    std = np.where(constant, 1, train.std(axis=0))
    return (train - mean) / std, (test - mean) / std


def _standardize(wrong, train, test):
    axis = 1 if "wrong_axis" in wrong else None if "whole_array_statistics" in wrong else 0
    ddof = 1 if "unbiased_variance" in wrong else 0

    def transform(x, ref):
        low, spread = ref.mean(axis, keepdims=True), ref.std(axis, ddof=ddof, keepdims=True)
        if "min_max" in wrong:
            low = ref.min(axis, keepdims=True)
            spread = ref.max(axis, keepdims=True) - low
        if "divides_by_variance" in wrong:
            spread = spread**2
        if "scaled_only" in wrong:
            low = 0
        if "centred_only" in wrong:
            return x - low
        if "constant_column" not in wrong:
            spread = np.where(spread > 0, spread, 1)
        return (x - low) / spread

    train, test = np.asarray(train, float), np.asarray(test, float)
    if axis == 1:
        return transform(train, train), transform(test, test)
    if "untouched" in wrong:
        return train, test
    if "test_untreated" in wrong:
        return transform(train, train), test
    ref = np.concatenate([train, test]) if "pooled_statistics" in wrong else train
    return transform(train, ref), transform(test, test if "test_statistics" in wrong else ref)


def _standardize_args(rng, n, m, d, kind="float"):
    """Offset columns of different scale, the last one constant, a test set that is not like train."""
    center, scale = rng.uniform(2, 9, d) * rng.choice([-1, 1], d), rng.uniform(0.5, 3, d)
    train = center + scale * rng.normal(size=(n, d))
    test = center + 2 * scale * (1 + rng.normal(size=(m, d)))
    train[:, -1] = test[:, -1] = rng.integers(2, 9)
    if kind == "int":
        train, test = np.rint(4 * train).astype(int), np.rint(4 * test).astype(int)
        train[:, :-1] += 3 * np.arange(n)[:, None]  # no accidental constant column
    elif kind == "float32":
        train, test = (train + 1e3).astype(np.float32), (test + 1e3).astype(np.float32)
    elif kind == "strided":
        train, test = np.repeat(train, 2, 1)[:, ::2], np.asfortranarray(test)
    return train, test


def _standardize_loop(train, test):
    columns = []
    for j in range(train.shape[1]):
        column = [float(value) for value in train[:, j]]
        mean = sum(column) / len(column)
        std = (sum((value - mean) ** 2 for value in column) / len(column)) ** 0.5 or 1.0
        columns.append([[(float(v) - mean) / std for v in part[:, j]] for part in (train, test)])
    return [list(map(list, zip(*part, strict=True))) for part in zip(*columns, strict=True)]


def _standardize_sklearn(train, test):
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler().fit(train)
    return scaler.transform(train), scaler.transform(test)


def _standardize_einsum(train, test):
    centred = train - np.einsum("nd->d", train) / len(train)
    variance = np.einsum("nd,nd->d", centred, centred) / len(train)
    inverse = np.divide(
        1, np.sqrt(variance), out=np.zeros_like(variance, float), where=variance > 0
    )
    return centred * inverse, (test - train.mean(0)) * inverse


STANDARDIZE = Exercise(
    solution=standardize,
    oracle=_standardize,
    mistakes={
        "whole_array_statistics": "One mean and one standard deviation were taken over the whole array; each column needs its own.",
        "wrong_axis": "Each row was standardized by its own statistics; the statistics belong to a column (axis 0).",
        "divides_by_variance": "The columns were divided by the variance; its square root, the standard deviation, has the unit of the data.",
        "min_max": "The columns were scaled by minimum and maximum; standardizing means subtracting the mean and dividing by the standard deviation.",
        "test_statistics": "The test set was standardized by its own statistics; the mean and standard deviation of train belong to both.",
        "pooled_statistics": "The statistics were taken over train and test together, so the test set leaks into training.",
        "unbiased_variance": "The variance was divided by N - 1; here it is divided by N (`ddof=0`).",
        "constant_column": "A constant column was divided by its standard deviation 0; it has to become 0, not NaN or infinity.",
        "untouched": "Both arrays came back as they were.",
        "centred_only": "The mean was subtracted, but the columns were not divided by their standard deviation.",
        "scaled_only": "The columns were divided by their standard deviation, but the mean was not subtracted.",
        "test_untreated": "The test set was returned as it came; it has to be treated by the statistics of train.",
        "mutates_input": "An argument was changed in place, so the caller's data is no longer what it was; compute new arrays.",
    },
    regimes={
        "a few rows": Regime(lambda rng: _standardize_args(rng, 4, 3, 2)),
        "more columns than rows": Regime(lambda rng: _standardize_args(rng, 4, 5, 6)),
        "as many rows as columns": Regime(lambda rng: _standardize_args(rng, 5, 4, 5)),
        "many rows": Regime(lambda rng: _standardize_args(rng, 30, 12, 3)),
        "whole numbers (an integer array)": Regime(
            lambda rng: _standardize_args(rng, 5, 4, 3, "int")
        ),
        "float32 numbers around 1000": Regime(
            lambda rng: _standardize_args(rng, 6, 4, 3, "float32"), rtol=1e-2
        ),
        "arrays that are not contiguous": Regime(
            lambda rng: _standardize_args(rng, 5, 3, 4, "strided")
        ),
    },
    outputs=("train_z", "test_z"),
    hints=(
        "Which axis do you average over, so that a (N, D) array leaves D means?",
        "`train.mean(axis=0)` and `train.std(axis=0)` are all the statistics you need, for both arrays.",
        "Where a column of train is constant (its largest value is its smallest), divide by 1 instead: `np.where(constant, 1, std)`.",
    ),
    alternatives=(_standardize_loop, _standardize_sklearn, _standardize_einsum),
)


def condition_number(x):
    """Condition number of linear regression with an intercept.

    Args:
        x: (N, D) inputs.
    Returns:
        float: largest / smallest eigenvalue of the Hessian A^T A / N, where
        A = [1 x] is x with a column of ones in front.
    """
    a = np.column_stack([np.ones(len(x)), x])
    eigenvalues = np.linalg.eigvalsh(a.T @ a / len(x))
    return float(eigenvalues[-1] / eigenvalues[0])


def _condition_number(wrong, x):
    x = np.asarray(x, float)
    ranges = np.ptp(x, axis=0)
    a = x if "no_intercept" in wrong else np.column_stack([np.ones(len(x)), x])
    singular = np.linalg.svd(x - x.mean(0) if "hides_offset" in wrong else a, compute_uv=False)
    ratio = (singular[0] / singular[-1]) ** 2
    if "range_ratio" in wrong:
        ratio = ranges.max() / ranges.min()
    if "inverse" in wrong:
        ratio = 1 / ratio
    return np.sqrt(ratio) if "square_root_of_kappa" in wrong else ratio


def _offset_columns(rng, n, d):
    """Columns with an offset, so that the intercept matters, and of different range."""
    center = rng.uniform(1.5, 4, d) * rng.choice([-1, 1], d)
    return center + rng.normal(size=(n, d)) * np.geomspace(0.6, 2, d)


def _condition_number_svd(x):
    singular = np.linalg.svd(np.hstack([x, np.ones((len(x), 1))]), compute_uv=False)
    return singular.max() ** 2 / singular.min() ** 2


def _condition_number_cond(x):
    a = np.insert(np.asarray(x, float), 0, 1, axis=1)
    return np.linalg.cond(a.T @ a)


def _condition_number_eig(x):
    rows = [np.array([1.0, *row]) for row in x.tolist()]
    eigenvalues = np.linalg.eigvals(sum(np.outer(row, row) for row in rows)).real
    return np.float64(max(eigenvalues)) / min(eigenvalues)


CONDITION_NUMBER = Exercise(
    solution=condition_number,
    oracle=_condition_number,
    mistakes={
        "range_ratio": "That is the largest range of a column divided by the smallest; the condition number is a ratio of eigenvalues.",
        "no_intercept": "The column of ones is missing: the intercept is a weight too, and an offset of x makes it hard to learn.",
        "hides_offset": "That is the condition number of the covariance: subtracting the mean hides the offset, which belongs to the problem.",
        "inverse": "That is smallest / largest; the condition number is largest / smallest, never below 1.",
        "square_root_of_kappa": "That is the square root of the right number: the condition number of A itself; the Hessian A^T A / N squares it.",
    },
    regimes={
        "two columns": Regime(lambda rng: (_offset_columns(rng, 5, 2),)),
        "three columns": Regime(lambda rng: (_offset_columns(rng, 6, 3) * 1.7,)),
        "four columns of very different range": Regime(
            lambda rng: (_offset_columns(rng, 12, 4) * 10.0 ** np.arange(-1, 3),)
        ),
        "whole numbers (an integer array)": Regime(
            lambda rng: (np.rint(10 * _offset_columns(rng, 7, 3)).astype(int),)
        ),
        "float32 numbers": Regime(
            lambda rng: (_offset_columns(rng, 9, 2).astype(np.float32),), rtol=1e-2
        ),
        "an array that is not contiguous": Regime(
            lambda rng: (np.repeat(_offset_columns(rng, 8, 3), 2, 0)[::2],)
        ),
    },
    outputs=("the condition number",),
    hints=(
        "The Hessian of the mean squared error is A^T A / N with A = [1 x]: a (D+1, D+1) matrix.",
        "`np.column_stack([np.ones(len(x)), x])` makes A, and `np.linalg.eigvalsh` gives the eigenvalues of a symmetric matrix in rising order.",
        "Return the last eigenvalue divided by the first.",
    ),
    alternatives=(_condition_number_svd, _condition_number_cond, _condition_number_eig),
)


def best_learning_rate(hessian):
    """Learning rate of gradient descent with the fastest worst case on a quadratic.

    Args:
        hessian: (D, D) symmetric, positive definite.
    Returns:
        float: 2 / (smallest eigenvalue + largest eigenvalue).
    """
    eigenvalues = np.linalg.eigvalsh(hessian)
    return float(2 / (eigenvalues[0] + eigenvalues[-1]))


def _best_learning_rate(wrong, hessian):
    hessian = np.asarray(hessian, float)
    eigenvalues = np.linalg.eigvalsh(hessian)
    if "uses_trace" in wrong:
        return 2 / np.trace(hessian)
    if "one_over_max" in wrong:
        return 1 / eigenvalues[-1]
    if "two_over_max" in wrong:
        return 2 / eigenvalues[-1]
    if "half_the_rate" in wrong:
        return 1 / (eigenvalues[0] + eigenvalues[-1])
    return 2 / (eigenvalues[0] + eigenvalues[-1])


def _hessian(rng, d, kind="float"):
    """Symmetric, positive definite, not diagonal, with eigenvalues well apart."""
    basis = np.linalg.qr(rng.normal(size=(d, d)))[0]
    eigenvalues = rng.uniform(0.5, 1) * 1.6 ** np.arange(d)
    hessian = (basis * eigenvalues) @ basis.T
    if kind == "int":
        root = np.rint(3 * hessian).astype(int) + 2 * np.eye(d, dtype=int)
        return root @ root.T
    return hessian.astype(kind)


def _best_learning_rate_eig(hessian):
    eigenvalues = sorted(np.linalg.eig(hessian)[0].real)
    return 2.0 / (eigenvalues[0] + eigenvalues[-1])


def _best_learning_rate_svd(hessian):
    singular = np.linalg.svd(hessian)[1]
    return np.array(1 / ((singular[0] + singular[-1]) / 2))


def _best_learning_rate_loop(hessian):
    inverse, largest, smallest = np.linalg.inv(hessian), 1.0, 1.0
    up = down = np.linspace(1, 2, len(hessian))
    for _ in range(3000):  # power iteration
        up, down = hessian @ up, inverse @ down
        largest, smallest = np.linalg.norm(up), 1 / np.linalg.norm(down)
        up, down = up / np.linalg.norm(up), down / np.linalg.norm(down)
    return 2 / (largest + smallest)


BEST_LEARNING_RATE = Exercise(
    solution=best_learning_rate,
    oracle=_best_learning_rate,
    mistakes={
        "one_over_max": "That is 1 / largest eigenvalue: safe, but the flat directions then take up to twice as many steps.",
        "two_over_max": "That is 2 / largest eigenvalue, the edge of divergence: along the steepest direction the error never shrinks.",
        "half_the_rate": "That is half the right rate: the two eigenvalues are averaged, and the rate is 1 over their mean.",
        "uses_trace": "The trace adds all eigenvalues; only the smallest and the largest set the worst case.",
    },
    regimes={
        "a 3x3 Hessian": Regime(lambda rng: (_hessian(rng, 3),)),
        "a 5x5 Hessian": Regime(lambda rng: (_hessian(rng, 5),)),
        "a steep 4x4 Hessian": Regime(lambda rng: (1e3 * _hessian(rng, 4),)),
        "whole numbers (an integer array)": Regime(lambda rng: (_hessian(rng, 3, "int"),)),
        "float32 numbers": Regime(lambda rng: (_hessian(rng, 4, "float32"),), rtol=1e-4),
    },
    outputs=("the learning rate",),
    hints=(
        "One step multiplies the error along an eigenvector by 1 - rate * eigenvalue.",
        "The worst factor is the larger of |1 - rate * smallest| and |1 - rate * largest|: the best rate makes the two equal.",
        "1 - rate * smallest = rate * largest - 1. Solve for the rate; `np.linalg.eigvalsh` gives the eigenvalues.",
    ),
    alternatives=(_best_learning_rate_eig, _best_learning_rate_svd, _best_learning_rate_loop),
)


def whiten(x):
    """Centre, rotate and rescale: uncorrelated columns of variance 1.

    Args:
        x: (N, D) with N > D.
    Returns:
        (N, D) with mean 0 and covariance (divide by N) equal to the identity.
        Any rotation or reflection of the result is as good.
    """
    centred = x - x.mean(axis=0)
    eigenvalues, eigenvectors = np.linalg.eigh(centred.T @ centred / len(x))
    return centred @ eigenvectors / np.sqrt(eigenvalues)


def _whiten(wrong, x):
    x = np.asarray(x, float)
    centred = x - x.mean(0)
    projected = x if {"no_centering", "no_centering:2"} & wrong else centred
    base = x if "no_centering" in wrong else centred
    count = len(x) - 1 if "unbiased_covariance" in wrong else len(x)
    covariance = base.T @ base / count
    if "standardizes_only" in wrong:
        covariance = np.diag(np.diag(covariance))
    eigenvalues, eigenvectors = np.linalg.eigh(covariance)
    power = 1 if "divides_by_eigenvalue" in wrong else 0 if "projects_only" in wrong else 0.5
    whitened = projected @ eigenvectors / eigenvalues**power
    return whitened / np.sqrt(len(x)) if "variance_one_over_n" in wrong else whitened


def _correlated(rng, n, d, kind="float"):
    x = rng.normal(size=(n, d)) @ (np.eye(d) + 0.8 * rng.uniform(0.5, 1, (d, d)))
    x = x * rng.uniform(0.7, 3, d) + rng.uniform(2, 5, d) * rng.choice([-1, 1], d)
    return np.rint(20 * x).astype(int) if kind == "int" else x.astype(kind)


def _whiten_svd(x):
    u = np.linalg.svd(x - np.mean(x, axis=0), full_matrices=False)[0]
    return np.sqrt(len(x)) * u


def _whiten_cholesky(x):
    centred = x - x.mean(0, keepdims=True)
    factor = np.linalg.cholesky(np.cov(x, rowvar=False, bias=True))
    return np.linalg.solve(factor, centred.T).T


def _whiten_zca(x):
    centred = x - np.einsum("nd->d", x) / x.shape[0]
    eigenvalues, vectors = np.linalg.eigh(np.einsum("ni,nj->ij", centred, centred) / x.shape[0])
    return (centred @ (vectors / eigenvalues**0.5) @ vectors.T).tolist()


WHITEN = Exercise(
    solution=whiten,
    oracle=_whiten,
    mistakes={
        "standardizes_only": "Every column has variance 1, but the columns are still correlated: dividing by standard deviations does not rotate.",
        "divides_by_eigenvalue": "The projections were divided by the eigenvalue; it is a variance: divide by its square root.",
        "no_centering": "The mean was not subtracted before projecting, so the result is not centred.",
        "projects_only": "The columns are uncorrelated, but their variances are still the eigenvalues; divide each by its square root.",
        "variance_one_over_n": "Every column has variance 1/N, as the singular vectors do: multiply by the square root of N.",
        "unbiased_covariance": "The covariance was divided by N - 1; here it is divided by N.",
    },
    forms=("no_centering:2",),
    regimes={
        "two columns": Regime(lambda rng: (_correlated(rng, 5, 2),)),
        "four columns": Regime(lambda rng: (_correlated(rng, 12, 4),)),
        "hardly more rows than columns": Regime(lambda rng: (_correlated(rng, 7, 5),), rtol=1e-5),
        "whole numbers (an integer array)": Regime(lambda rng: (_correlated(rng, 9, 3, "int"),)),
        "float32 numbers": Regime(lambda rng: (_correlated(rng, 10, 2, "float32"),), rtol=1e-2),
        "an array that is not contiguous": Regime(
            lambda rng: (np.asfortranarray(_correlated(rng, 8, 3)),)
        ),
    },
    outputs=("the whitened array",),
    expected="expected (or any rotation or reflection of it)",
    view=lambda z, x: z @ z.T,  # what no rotation and no reflection changes
    hints=(
        "Centre first; then look for the directions in which the centred data is uncorrelated.",
        "They are the eigenvectors of the covariance: `np.linalg.eigh(centred.T @ centred / len(x))`.",
        "Project on the eigenvectors, then divide each column by the square root of its eigenvalue.",
    ),
    alternatives=(_whiten_svd, _whiten_cholesky, _whiten_zca),
)

check = Checks(STANDARDIZE, CONDITION_NUMBER, BEST_LEARNING_RATE, WHITEN)
