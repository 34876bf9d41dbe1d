"""What the chapters measure. Functions return arrays with one row per seed and never draw."""

from typing import NamedTuple

import numpy as np

from bncourse import data, layers, nets

RATES = np.concatenate([np.geomspace(0.01, 1.9, 40), 2 - np.geomspace(0.05, 1e-4, 5)])


class Quadratic(NamedTuple):
    """A least-squares problem in the eigenbasis of its Hessian."""

    eigenvalues: np.ndarray  # (D + 1,)
    shares: np.ndarray  # (D + 1,) share of the initial excess loss along each eigenvector


def quadratic(x, targets):
    """Linear regression of `targets` on `[1 x]`, started from zero weights, in its eigenbasis.

    Args:
        x: (N, D) inputs, D + 1 <= N, `[1 x]` of full rank.
        targets: (N, K).
    Returns:
        A `Quadratic`: the Hessian is `[1 x]^T [1 x] / N`.
    """
    design = np.column_stack([np.ones(len(x)), x])
    u, singular, _ = np.linalg.svd(design / np.sqrt(len(x)), full_matrices=False)
    loads = np.sum((u.T @ targets) ** 2, axis=1)
    return Quadratic(singular**2, loads / loads.sum())


def excess_loss(problem, rate, steps):
    """Share of the initial excess loss that is left after `steps` of gradient descent, exactly.

    `sum_i shares_i * (1 - rate * eigenvalue_i) ** (2 * steps)`; no step is taken, so 10^8 of them cost
    nothing. `rate` and `steps` broadcast.
    """
    factors = np.abs(1 - np.multiply.outer(rate, problem.eigenvalues))
    return np.sum(problem.shares * factors ** (2 * np.asarray(steps, float)[..., None]), axis=-1)


def steps_to_level(problem, level):
    """Fewest steps of gradient descent that leave `level` of the initial excess loss.

    The constant learning rate is the best of 45 between 0.01 and 1.9999 over the largest eigenvalue
    (at 2 it diverges); the number of steps is found by bisection.
    """
    rates = RATES / problem.eigenvalues.max()
    low, high = np.zeros(len(rates)), np.full(len(rates), 1e13)
    while np.any(high - low > 1):
        middle = np.floor((low + high) / 2)
        enough = excess_loss(problem, rates, middle) <= level
        low, high = np.where(enough, low, middle), np.where(enough, middle, high)
    return int(high.min())


def subset(dataset, seed, share=2 / 3):
    """A random share of a data set: inputs (N, D) and one-hot targets (N, K)."""
    count = round(share * len(dataset.x))
    index = np.random.default_rng(seed).permutation(len(dataset.x))[:count]
    return dataset.x[index], np.eye(len(dataset.classes))[dataset.y[index]]


def adam_steps(problems, rates, level, max_steps, betas=(0.9, 0.999), eps=1e-8):
    """First step at which Adam leaves `level` of the initial excess loss of least squares.

    All problems and rates run as one computation. Source: Kingma & Ba 2015, arXiv:1412.6980.

    Args:
        problems: S pairs `(x, targets)`, as from `subset`, all of equal shapes.
        rates: R learning rates.
        max_steps: where to stop; a run that has not arrived gives infinity.
    Returns:
        (S, R) steps.
    """
    designs = [np.column_stack([np.ones(len(x)), x]) for x, _ in problems]
    hessian = np.array([a.T @ a / len(a) for a in designs])[:, None]
    slope = np.array([a.T @ t / len(a) for a, (_, t) in zip(designs, problems, strict=True)])
    slope = slope[:, None]
    best = np.linalg.solve(hessian, slope)
    goal = level * np.sum(best * slope, axis=(-2, -1)) / 2
    rate = np.reshape(rates, (1, -1, 1, 1))
    w = np.zeros((len(problems), len(rates), *slope.shape[-2:]))
    m, v, first = np.zeros_like(w), np.zeros_like(w), np.full(w.shape[:2], np.inf)
    gradient = hessian @ w - slope
    for step in range(1, max_steps + 1):
        m = betas[0] * m + (1 - betas[0]) * gradient
        v = betas[1] * v + (1 - betas[1]) * gradient**2
        w = w - rate * (m / (1 - betas[0] ** step)) / (np.sqrt(v / (1 - betas[1] ** step)) + eps)
        gradient = hessian @ w - slope
        excess = np.sum((w - best) * gradient, axis=(-2, -1)) / 2
        first = np.where((excess <= goal) & np.isinf(first), step, first)
    return first


class Curves(NamedTuple):
    """What was seen while networks trained."""

    steps: np.ndarray  # (T,) after how many steps it was looked
    loss: np.ndarray  # (S, R, T) training loss in nats
    accuracy: np.ndarray  # (S, R, T) training accuracy


def train_curves(x, y, widths, rates, seeds, steps, batch_size, every):
    """Train one network for each seed and learning rate, and look at all training examples in between.

    Args:
        x, y: examples (N, D) and labels (N,).
        widths: units of the ReLU network, input first, output last.
        rates: R learning rates, tried with each of S seeds.
        every: look after each `every`-th step.
    """
    x, seen = x.astype(np.float32), []
    pairs = [(seed, rate) for seed in seeds for rate in rates]

    def watch(step, net):
        if (step + 1) % every == 0:
            logits, _ = nets.forward(net, x)
            labels = np.broadcast_to(y, logits.shape[:2])
            loss, _ = layers.softmax_cross_entropy(logits, labels)
            seen.append((loss, (logits.argmax(-1) == y).mean(-1)))

    with np.errstate(all="ignore"):  # a rate that is too high overflows, and is not chosen
        nets.train(
            x,
            y,
            widths,
            [rate for _, rate in pairs],
            [seed for seed, _ in pairs],
            steps,
            batch_size,
            watch=watch,
        )
    loss, accuracy = np.moveaxis(seen, 0, -1).reshape(2, len(seeds), len(rates), -1)
    return Curves(every * np.arange(1, len(seen) + 1), loss, accuracy)


def first_step(curves, level):
    """(S, R) first step looked at whose training accuracy is `level` or more; infinity where none is."""
    reached = curves.accuracy >= level
    return np.where(reached.any(-1), curves.steps[reached.argmax(-1)], np.inf)


def fastest_rate(curves, rates, level):
    """The rate whose median first step at `level` is the smallest, and whether the grid brackets it.

    Where two rates tie, the one with the lower median final loss is taken.
    """
    steps = np.median(first_step(curves, level), axis=0)
    loss = np.median(np.nan_to_num(curves.loss[..., -1], nan=np.inf), axis=0)
    index = int(np.lexsort((loss, steps))[0])
    return rates[index], 0 < index < len(rates) - 1


def test_accuracy(dataset, transform, seeds, train_size, batches=()):
    """Test accuracy of logistic regression, by where the statistics of the test inputs come from.

    Args:
        transform: `transform(x, reference)` normalizes x by the statistics of reference.
        seeds: each gives its own split.
        train_size: share of the examples that are trained on.
        batches: also give test batches of these sizes to `transform` as their own reference, and
            one batch for each class.
    Returns:
        A dict from the source of the statistics to (S,) accuracies: "train", "train and test" (in
        training too), "own batch of N", "own batch of one class".
    """
    from sklearn.linear_model import LogisticRegression

    rows = []
    for seed in seeds:
        a, b, ya, yb = data.split(dataset, seed, 1 - train_size)
        everything = np.concatenate([a, b])
        fit = LogisticRegression(max_iter=5000).fit
        model = fit(transform(a, a), ya)
        row = {
            "train": model.score(transform(b, a), yb),
            "train and test": fit(transform(a, everything), ya).score(transform(b, everything), yb),
        }
        order = np.random.default_rng(seed).permutation(len(b))
        groups = {
            f"own batch of {size}": np.split(order, range(size, len(b), size))[: len(b) // size]
            for size in batches
        }
        if batches:
            groups["own batch of one class"] = [np.flatnonzero(yb == c) for c in np.unique(yb)]
        for name, indices in groups.items():
            row[name] = np.mean([model.score(transform(b[i], b[i]), yb[i]) for i in indices])
        rows.append(row)
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}
