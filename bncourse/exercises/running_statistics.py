"""Exercises of the chapter `running_statistics`."""

import math

import numpy as np

from bncourse.exercises.checks import Checks
from bncourse.exercises.concepts import Case, Concept
from bncourse.exercises.engine import Exercise, Regime


def update_running(running_mean, running_var, x, momentum):
    """One update of the running statistics by a training batch, as PyTorch does it.

    Args:
        running_mean: (D,) running mean before the batch.
        running_var: (D,) running variance before the batch.
        x: (N, D) the batch, N >= 2.
        momentum: weight of the new batch; what was there before keeps the rest.
    Returns:
        (mean, var): (D,) each, the running statistics after the batch. The batch
        enters with its mean and its unbiased variance (divide by N - 1).
    """
    mean = (1 - momentum) * running_mean + momentum * x.mean(axis=0)
    var = (1 - momentum) * running_var + momentum * x.var(axis=0, ddof=1)
    return mean, var


def _update_running(wrong, running_mean, running_var, x, momentum):
    old_mean, old_var = np.asarray(running_mean, float), np.asarray(running_var, float)
    x = np.asarray(x, float)
    mean, var = x.mean(0), x.var(0, ddof=0 if "biased_variance" in wrong else 1)
    new = 1 - momentum if "momentum_swapped" in wrong else momentum
    old = 1 if "no_decay" in wrong else 1 - new
    if "last_batch_only" in wrong:
        old, new = 0, 1
    if "averages_std" in wrong:
        return old * old_mean + new * mean, (old * np.sqrt(old_var) + new * np.sqrt(var)) ** 2
    if "averages_std:2" in wrong:
        var = np.sqrt(var)
    return old * old_mean + new * mean, old * old_var + new * var


def _spread(rng, n, d, center, std):
    """(n, d) numbers whose columns have exactly this mean and unbiased standard deviation."""
    x = rng.normal(size=(n, d))
    x -= x.sum(0) / n
    return center + std * x / np.sqrt((x * x).sum(0) / (n - 1))


def _signed(rng, low, high, d):
    return rng.uniform(low, high, d) * (2 * rng.integers(0, 2, d) - 1)


def _update_args(rng, n, d, kind="float", old_var=(0.2, 0.8)):
    """A batch far from the running mean, with a variance far from the running one."""
    mean, var = _signed(rng, 2, 5, d), rng.uniform(*old_var, d)
    x = _spread(rng, n, d, mean + _signed(rng, 2, 4, d), rng.uniform(1.6, 3, d))
    momentum = rng.uniform(0.05, 0.35)
    if kind == "int":
        mean, var = np.rint(mean).astype(int), rng.integers(1, 3, d)
        x, momentum = np.rint(6 * x).astype(int), rng.uniform(0.1, 0.35)
    elif kind == "float32":
        # a large spread too: in float32 the mean of squares minus the squared mean is right to 0.1 %
        mean, var, x = (v.astype(np.float32) for v in (mean + 1e3, 100 * var, 10 * x + 1e3))
        momentum = rng.uniform(0.15, 0.35)
    elif kind == "strided":
        mean, x = np.repeat(mean, 2)[::2], np.asfortranarray(x)
    return mean, var, x, float(momentum)


def _update_loop(running_mean, running_var, x, momentum):
    mean, var = [], []
    for j in range(len(running_mean)):
        column = [float(row[j]) for row in x]
        center = sum(column) / len(column)
        square = sum((value - center) ** 2 for value in column) / (len(column) - 1)
        mean.append(running_mean[j] - momentum * (running_mean[j] - center))
        var.append(running_var[j] - momentum * (running_var[j] - square))
    return mean, var


def _update_einsum(running_mean, running_var, x, momentum):
    n = len(x)
    center = np.einsum("nd->d", x) / n
    square = np.einsum("nd,nd->d", x - center, x - center) / n * n / (n - 1)
    old = np.stack([running_mean, running_var])
    return old * (1 - momentum) + momentum * np.stack([center, square])


def _update_in_place_on_copies(running_mean, running_var, x, momentum):
    mean, var = np.array(running_mean, float), np.array(running_var, float)
    mean *= 1 - momentum
    mean += momentum * np.average(x, axis=0)
    var *= 1 - momentum
    var += momentum * np.diag(np.atleast_2d(np.cov(x, rowvar=False)))
    return mean, var


UPDATE_RUNNING = Exercise(
    solution=update_running,
    oracle=_update_running,
    mistakes={
        "momentum_swapped": "The two weights are swapped: in PyTorch momentum is the weight of the new batch, and the old value keeps 1 - momentum.",
        "biased_variance": "The batch's variance was divided by N; the running variance estimates that of the population, so it takes N - 1 (`ddof=1`).",
        "averages_std": "A standard deviation was averaged; the running statistic is a variance, and it is variances that are mixed.",
        "no_decay": "The old value was kept whole; it has to shrink by 1 - momentum, or the running statistics grow for ever.",
        "last_batch_only": "These are the statistics of the batch alone; the old values keep the weight 1 - momentum.",
        "mutates_input": "An argument was changed in place, so the caller's statistics changed too; compute new arrays.",
    },
    forms=("averages_std:2",),
    regimes={
        "a batch of two": Regime(lambda rng: _update_args(rng, 2, 3)),
        "a batch of seven": Regime(lambda rng: _update_args(rng, 7, 2)),
        "as many rows as columns": Regime(lambda rng: _update_args(rng, 4, 4)),
        "a running variance much larger than the batch's": Regime(
            lambda rng: _update_args(rng, 3, 5, old_var=(30, 60))
        ),
        "whole numbers (integer arrays)": Regime(lambda rng: _update_args(rng, 5, 3, "int")),
        "float32 numbers around 1000": Regime(
            lambda rng: _update_args(rng, 3, 4, "float32"), rtol=1e-2
        ),
        "arrays that are not contiguous": Regime(lambda rng: _update_args(rng, 4, 3, "strided")),
    },
    outputs=("mean", "var"),
    hints=(
        "After the update, which share of the running mean is old, and which share comes from the new batch?",
        "new = (1 - momentum) * old + momentum * batch, once for the mean and once for the variance.",
        "The batch's part is `x.mean(axis=0)` for the mean and `x.var(axis=0, ddof=1)` for the variance.",
    ),
    alternatives=(_update_loop, _update_einsum, _update_in_place_on_copies),
)


def steps_to_forget(momentum, remaining):
    """Updates that it takes until running statistics forget where they started.

    Args:
        momentum: weight of the new batch in every update, between 0 and 1.
        remaining: share of the starting value that may be left, between 0 and 1.
    Returns:
        int: the first step t, counted from 1, after which the weight of the
            starting value is
        `remaining` or less. Every update multiplies that weight by 1 - momentum.
    """
    return math.ceil(math.log(remaining) / math.log(1 - momentum))


def _steps_to_forget(wrong, momentum, remaining):
    keep = momentum if "momentum_swapped" in wrong else 1 - momentum
    steps = math.log(remaining) / math.log(keep)
    if "linear_decay" in wrong:
        steps = (1 - remaining) / (1 - keep)
    if "off_by_one" in wrong:
        return math.ceil(steps) - 1
    return math.ceil(steps) + (1 if "off_by_one:2" in wrong else 0)


def _forget_args(momentums, remainders, fraction):
    """A draw with a given fraction of a step left over, on which all mistakes are far apart.

    Both halves of a step are needed: rounding to the nearest step is right in the upper half.
    """

    def draw(rng):
        while True:
            momentum, remaining = rng.uniform(*momentums), rng.uniform(*remainders)
            steps = math.log(remaining) / math.log(1 - momentum)
            others = [
                _steps_to_forget({"momentum_swapped"}, momentum, remaining),
                _steps_to_forget({"linear_decay"}, momentum, remaining),
                _steps_to_forget({"momentum_swapped", "linear_decay"}, momentum, remaining),
            ]
            apart = min(abs(a - b) for a, b in [(steps, o) for o in others] + [others[:2]])
            if fraction[0] < steps % 1 < fraction[1] and apart > 2.5:
                return float(momentum), float(remaining)

    return draw


def _steps_loop(momentum, remaining):
    weight, steps = 1.0, 0
    while weight > remaining:
        weight -= momentum * weight
        steps += 1
    return steps


def _steps_search(momentum, remaining):
    weights = (1 - momentum) ** np.arange(1, 20_000)
    return np.argmax(weights <= remaining) + 1


def _steps_bisect(momentum, remaining):
    low, high = 0, 1 << 20
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if (1 - momentum) ** middle <= remaining else (middle, high)
    return high


STEPS_TO_FORGET = Exercise(
    solution=steps_to_forget,
    oracle=_steps_to_forget,
    mistakes={
        "momentum_swapped": "The starting value was given the weight momentum^t; momentum weighs the new batch, so the old value keeps 1 - momentum in each step.",
        "linear_decay": "The same amount was taken away in every step; each step takes a share of what is left, so the weight falls as (1 - momentum)^t.",
        "off_by_one": "That is one step away: t is the first step whose weight (1 - momentum)^t is `remaining` or less.",
    },
    forms=("off_by_one:2",),
    regimes={
        "a tenth or so left": Regime(_forget_args((0.2, 0.35), (0.05, 0.15), (0.55, 0.9))),
        "half or so left": Regime(_forget_args((0.05, 0.1), (0.4, 0.6), (0.1, 0.45))),
        "a quarter or so left": Regime(_forget_args((0.05, 0.1), (0.2, 0.3), (0.55, 0.9))),
        "a small remainder": Regime(_forget_args((0.05, 0.35), (1e-4, 1e-2), (0.1, 0.45))),
        "a small momentum": Regime(_forget_args((0.002, 0.01), (0.1, 0.9), (0.1, 0.9))),
    },
    outputs=("the number of steps",),
    hints=(
        "Follow the starting value alone: what is its weight after one update, and after two?",
        "After t updates the weight is (1 - momentum)^t. Set it equal to `remaining` and take logarithms.",
        "t = log(remaining) / log(1 - momentum), rounded up: `math.ceil`.",
    ),
    alternatives=(_steps_loop, _steps_search, _steps_bisect),
)


class BatchNorm1d:
    """Batch normalization of (N, D) batches, with running statistics for evaluation.

    A new layer is in training mode; gamma is 1, beta 0, the running mean 0 and
    the running variance 1.
    `layer(x)` in training mode normalizes by the batch's mean and variance
    (divide by N), then updates the running statistics as PyTorch does (unbiased
    variance, divide by N - 1). In evaluation mode it normalizes by the running
    statistics, whatever the batch is, and leaves them as they are.
    `train()` and `eval()` switch the mode. `state_dict()` gives all that a layer
    has learned and measured, under names of your choice, and
    `load_state_dict(state)` takes it over into another
    layer: the two do not share arrays afterwards. No layer knows of another one.

    Args:
        num_features: D.
        eps: is added to the variance, inside the square root.
        momentum: weight of the new batch in the running statistics.
    Returns:
        A layer; `layer(x)` is y = gamma * xhat + beta, (N, D), as a new array.
    """

    def __init__(self, num_features, eps=1e-5, momentum=0.1):
        self.eps, self.momentum, self.training = eps, momentum, True
        self.gamma, self.beta = np.ones(num_features), np.zeros(num_features)
        self.mean, self.var = np.zeros(num_features), np.ones(num_features)

    def __call__(self, x):
        mean, var = (x.mean(axis=0), x.var(axis=0)) if self.training else (self.mean, self.var)
        if self.training:
            self.mean, self.var = update_running(self.mean, self.var, x, self.momentum)
        return self.gamma * (x - mean) / np.sqrt(var + self.eps) + self.beta

    def train(self):
        self.training = True

    def eval(self):
        self.training = False

    def state_dict(self):
        return {name: getattr(self, name).copy() for name in ("gamma", "beta", "mean", "var")}

    def load_state_dict(self, state):
        vars(self).update({name: array.copy() for name, array in state.items()})


# A layer with this momentum forgets whatever was before its last batch. So two layers that share their
# statistics show it in the same way whatever the class was used for earlier, and can be named.
_FORGETFUL = 1 - 1e-12


def _put_to_work(layer_class, num_features, eps, momentum, batches, others):
    """What layers of a class give in a fixed scenario; `_batchnorm1d` tells it without any class."""
    *batches, test = batches

    def y(layer, x):
        out = layer(x)
        return out.detach().cpu().numpy() if type(out).__module__ == "torch" else out

    layer = layer_class(num_features, eps, momentum)
    if not callable(layer):
        return layer
    training = [y(layer, x) for x in batches[:-1]]
    layer.eval()
    evaluation = [y(layer, test)]
    layer.eval()
    evaluation.append(y(layer, test))
    layer.train()
    training.append(y(layer, batches[-1]))
    layer.eval()
    evaluation.append(y(layer, test))
    new = layer_class(num_features, eps=eps, momentum=momentum)
    new.eval()
    evaluation.append(y(new, test))

    copy = layer_class(num_features, eps=eps, momentum=momentum)
    copy.eval()
    state = layer.state_dict()
    copy.load_state_dict(state)  # and stays in evaluation mode
    loaded = [y(copy, test)]
    copy.train()
    y(copy, batches[0])
    third = layer_class(num_features, eps=eps, momentum=momentum)
    third.eval()
    third.load_state_dict(state)  # which is still what was saved
    loaded.append(y(third, test))
    loaded.append(y(layer, test))
    layer.train()
    y(layer, batches[1])
    copy.eval()
    loaded.append(y(copy, test))

    # Where statistics are shared, or change in evaluation, what follows can only crash: another width
    # would not fit, and one row has no unbiased variance. The crash would hide its cause.
    one, two = (layer_class(num_features, eps, _FORGETFUL) for _ in range(2))
    two.train()
    y(one, batches[0])
    one.eval()
    beside = [y(one, test)]
    y(two, batches[1])
    two.eval()
    beside += [y(one, test), y(two, test)]
    if np.array_equal(beside[0], beside[1]):
        other = layer_class(others[0].shape[1])
        default = [y(other, others[0])]
        other.eval()
        default.append(y(other, others[1]))
        beside.append(y(one, test))
        layer.eval()
        evaluation.append(y(layer, test[:1]))
    else:
        default = [np.full(x.shape, np.nan) for x in others]
        beside.append(np.full(test.shape, np.nan))
        evaluation.append(np.full((1, num_features), np.nan))
    return [*map(_stack, (training, evaluation, loaded, beside, default))]


def _stack(outputs):
    """Several outputs as one array, or the first of them that can't be part of it."""
    odd = [y for y in outputs if np.ndim(y) != 2]
    return odd[0] if odd else np.concatenate(outputs)


def _batchnorm1d(wrong, num_features, eps, momentum, batches, others):
    shared, known = {}, {}

    def new(width):
        state = np.stack([np.zeros(width), np.ones(width)])
        return shared.setdefault(width, state) if "shared_state" in wrong else state

    def moments(x):
        if id(x) not in known:
            mean = x.sum(0) / len(x)
            known[id(x)] = mean, ((x - mean) ** 2).sum(0) / len(x)
        return known[id(x)]

    def normalize(x, state, eps=eps):
        return (x - state[0]) / np.sqrt(state[1] + eps)

    def update(state, x, momentum=momentum):
        weight = 1 - momentum if "momentum_swapped" in wrong else momentum
        mean, var = moments(x)
        if "biased_running_variance" not in wrong:
            var = var * len(x) / max(len(x) - 1, 1)
        state[0] += weight * (mean - state[0])
        state[1] += weight * (var - state[1])

    def train(state, x, eps=eps, momentum=momentum):
        update(state, x, momentum)
        return normalize(x, moments(x), eps)

    def evaluate(state, x, eps=eps, momentum=momentum):
        if "updates_in_eval:2" in wrong:
            update(state, x, momentum)
        y = normalize(x, moments(x) if "batch_statistics_in_eval" in wrong else state, eps)
        if "updates_in_eval" in wrong:
            update(state, x, momentum)
        return y

    *batches, test = [np.asarray(x, float) for x in batches]
    layer = new(num_features)
    training = [train(layer, x) for x in batches[:-1]]
    evaluation = [evaluate(layer, test), evaluate(layer, test)]
    training.append(train(layer, batches[-1]))
    evaluation += [evaluate(layer, test), evaluate(new(num_features), test)]

    def restored(saved):
        state = new(num_features)
        for i, omitted in enumerate(("state_not_saved:3", "state_not_saved:2")):
            if not {omitted, "state_not_saved"} & wrong:
                state[i] = saved[i]
        return state

    saved = layer.copy()
    copy = layer if "aliased_state" in wrong else restored(saved)
    loaded = [evaluate(copy, test)]
    train(copy, batches[0])
    third = copy if {"aliased_state", "aliased_state:2"} & wrong else restored(saved)
    loaded += [evaluate(third, test), evaluate(layer, test)]
    train(layer, batches[1])
    loaded.append(evaluate(copy, test))

    one, two = new(num_features), new(num_features)
    train(one, batches[0], momentum=_FORGETFUL)
    beside = [evaluate(one, test, momentum=_FORGETFUL)]
    train(two, batches[1], momentum=_FORGETFUL)
    beside += [evaluate(state, test, momentum=_FORGETFUL) for state in (one, two)]
    if np.array_equal(beside[0], beside[1]):
        other, row = new(others[0].shape[1]), test[:1]
        default = [train(other, others[0], 1e-5, 0.1), evaluate(other, others[1], 1e-5, 0.1)]
        beside.append(evaluate(one, test, momentum=_FORGETFUL))
        evaluation.append(evaluate(layer, row))
    else:
        default = [np.full(x.shape, np.nan) for x in others]
        beside.append(np.full(test.shape, np.nan))
        evaluation.append(np.full((1, num_features), np.nan))
    parts = [np.concatenate(ys) for ys in (training, evaluation, loaded, beside, default)]
    if shared and not np.array_equal(
        beside[0], beside[1]
    ):  # then these depend on what the class was used for before
        parts[1:3] = [np.ma.array(ys, mask=True) for ys in parts[1:3]]
    return parts


def _layer_args(rng, sizes, kind="float"):
    """Batches that differ, the last of which is for evaluation, and two of another width.

    The width is always 3, and the other one is met last: a class whose layers share their statistics
    would crash at a second width before it could be told what is wrong.
    """
    width, (n, m) = 3, sizes[:2]
    offset, scale, eps = 0.0, 1.0, rng.uniform(0.1, 0.5)
    if kind == "tiny":
        scale, eps = 0.1, rng.uniform(0.003, 0.01)
    elif kind == "float32":
        offset, scale = 1e3, 10.0
    elif kind == "int":
        scale = 4.0
    centers = offset + scale * _signed(rng, 1, 5, (len(sizes), width))
    stds = scale * rng.uniform(0.7, 2.5, centers.shape)
    batches = [
        _spread(rng, *size) for size in zip(sizes, [width] * len(sizes), centers, stds, strict=True)
    ]
    if kind == "constant":
        for x in batches:
            x[:, 1] = rng.integers(2, 9)
    elif kind == "int":
        batches = [np.asfortranarray(np.rint(x).astype(int)) for x in batches]
    elif kind == "float32":
        batches = [x.astype(np.float32) for x in batches]
    other_width = (2, 4, 5)[rng.integers(3)]
    center = _signed(rng, 1, 2, other_width)
    # so little spread that the default eps = 1e-5 shows
    others = [_spread(rng, rows, other_width, center, 0.005) for rows in (n, m)]
    return width, float(eps), float(rng.uniform(0.1, 0.35)), batches, others


class _Lists:
    """Plain Python: rows are lists, and the state is a tuple of lists."""

    def __init__(self, num_features, eps=1e-5, momentum=0.1):
        self.settings, self.learning = (eps, momentum), True
        self.stats = [(0.0, 1.0)] * num_features

    def __call__(self, x):
        eps, momentum = self.settings
        columns = []
        for j, column in enumerate(zip(*x.tolist(), strict=True)):
            mean, var = self.stats[j]
            if self.learning:
                old_mean, old_var, n = mean, var, len(column)
                mean = sum(column) / n
                squares = sum((value - mean) ** 2 for value in column)
                self.stats[j] = (
                    old_mean + momentum * (mean - old_mean),
                    old_var + momentum * (squares / (n - 1) - old_var),
                )
                var = squares / n
            columns.append([(value - mean) / (var + eps) ** 0.5 for value in column])
        return [list(row) for row in zip(*columns, strict=True)]

    def train(self):
        self.learning = True
        return self

    def eval(self):
        self.learning = False
        return self

    def state_dict(self):
        return tuple(self.stats)

    def load_state_dict(self, state):
        self.stats = list(state)


class _LikeTorch:
    """Buffers that are updated in place; loading copies into them, saving hands them out."""

    def __init__(self, num_features, eps=1e-5, momentum=0.1):
        self.eps, self.momentum = eps, momentum
        self.weight, self.bias = np.ones((1, num_features)), np.zeros((1, num_features))
        self.buffers = {
            "running_mean": np.zeros((1, num_features)),
            "running_var": np.ones((1, num_features)),
            "num_batches_tracked": np.zeros((), int),
        }
        self.train()

    def train(self, mode=True):
        self.mode = mode

    def eval(self):
        self.train(False)

    def __call__(self, x):
        n, mean, var = len(x), self.buffers["running_mean"], self.buffers["running_var"]
        if self.mode:
            batch_mean = x.mean(0, keepdims=True)
            centred = x - batch_mean
            batch_var = np.einsum("nd,nd->d", centred, centred) / n
            mean *= 1 - self.momentum
            mean += self.momentum * batch_mean
            var *= 1 - self.momentum
            var += self.momentum * n / (n - 1) * batch_var
            self.buffers["num_batches_tracked"] += 1
            mean, var = batch_mean, batch_var
        scale = self.weight / np.sqrt(var + self.eps)
        return x * scale + (self.bias - mean * scale)

    def state_dict(self):
        return {"weight": self.weight, "bias": self.bias, **self.buffers}

    def load_state_dict(self, state):
        for name, buffer in self.buffers.items():
            buffer[...] = state[name]


class _Flat:
    """One array holds everything, and the mode is the method that `__call__` uses."""

    def __init__(self, num_features, eps=1e-5, momentum=0.1):
        self.numbers = np.repeat([[0.0], [1.0]], num_features, axis=1)
        self.eps, self.rate, self.mode = eps, momentum, self._learn

    def _learn(self, x):
        batch = np.array([np.mean(x, 0), np.cov(x, rowvar=False).diagonal()])
        self.numbers = (1 - self.rate) * self.numbers + self.rate * batch
        return (x - batch[0]) / (batch[1] * (len(x) - 1) / len(x) + self.eps) ** 0.5

    def _predict(self, x):
        mean, var = self.numbers
        return (x - mean) / (var + self.eps) ** 0.5

    def __call__(self, x):
        return self.mode(np.asarray(x, float))

    def train(self):
        self.mode = self._learn

    def eval(self):
        self.mode = self._predict

    def state_dict(self):
        return {"numbers": self.numbers}

    def load_state_dict(self, state):
        self.__dict__.update(state)


BATCHNORM1D = Exercise(
    solution=BatchNorm1d,
    oracle=_batchnorm1d,
    mistakes={
        "updates_in_eval": "The running statistics change in evaluation mode too; only training batches may move them.",
        "batch_statistics_in_eval": "In evaluation mode the output still depends on the statistics of the batch; the running mean and variance take their place there.",
        "state_not_saved": "Running statistics are lost between `state_dict()` and `load_state_dict()`; a restored layer has to evaluate like the one that was saved.",
        "shared_state": "Two layers share their running statistics: training one changes the other. Make the arrays in `__init__`, for `self` alone.",
        "momentum_swapped": "The two weights of the running statistics are swapped: momentum is the weight of the new batch, the old value keeps 1 - momentum.",
        "biased_running_variance": "The running variance was fed the variance divided by N; it takes the unbiased one (N - 1), while the output of training divides by N.",
        "aliased_state": "After `load_state_dict` the two layers hold the same arrays, so training one changes the other; copy the arrays.",
    },
    forms=("updates_in_eval:2", "state_not_saved:2", "state_not_saved:3", "aliased_state:2"),
    regimes={
        "small batches": Regime(lambda rng: _layer_args(rng, (2, 3, 4, 2)), rtol=1e-5),
        "batches of as many rows as columns, one column constant": Regime(
            lambda rng: _layer_args(rng, (3, 3, 3, 3), "constant"), rtol=1e-5
        ),
        "a tiny eps and small variances": Regime(
            lambda rng: _layer_args(rng, (4, 5, 3, 6), "tiny"), rtol=1e-5
        ),
        "whole numbers (integer arrays, not contiguous)": Regime(
            lambda rng: _layer_args(rng, (5, 4, 2, 3), "int"), rtol=1e-5
        ),
        "float32 numbers around 1000": Regime(
            lambda rng: _layer_args(rng, (4, 3, 5, 2), "float32"), rtol=1e-2
        ),
    },
    outputs=(
        "y in training mode",
        "y in evaluation mode",
        "y after load_state_dict",
        "y of several layers side by side",
        "y with the default eps and momentum",
    ),
    hints=(
        "Which statistics does `__call__` use in each mode, and in which mode may it change what `self` keeps?",
        "In training: `x.mean(axis=0)` and `x.var(axis=0)` for the output, then one `update_running`. In evaluation: only read the running statistics.",
        "Keep a flag that `train()` and `eval()` set and `__call__` asks. `state_dict` returns copies of the running mean and variance, gamma and beta in a dictionary; `load_state_dict` copies them into `self`.",
    ),
    alternatives=(_Lists, _LikeTorch, _Flat),
    run=_put_to_work,
    arguments=("num_features", "eps", "momentum", "batches", "others"),
)


def precise_statistics(batches):
    """Mean and variance of all examples of several batches, as if they were one.

    Args:
        batches: list of (N_i, D) arrays; the sizes N_i differ.
    Returns:
        (mean, var): (D,) each, of the N_1 + N_2 + ... examples together (divide
        by their number).
    """
    together = np.concatenate(batches)
    return together.mean(axis=0), together.var(axis=0)


def _precise_statistics(wrong, batches):
    batches = [np.asarray(x, float) for x in batches]
    if "last_batch_only" in wrong:
        batches = batches[-1:]
    sizes = np.array([[len(x)] for x in batches])
    means, variances = np.array([x.mean(0) for x in batches]), np.array([x.var(0) for x in batches])
    weights = (np.ones_like(sizes) if "unweighted" in wrong else sizes) / len(batches)
    weights = weights / weights.sum()
    mean, var = (weights * means).sum(0), (weights * variances).sum(0)
    if "average_of_variances" not in wrong:
        var = var + (weights * (means - mean) ** 2).sum(0)
    if "unbiased_variance" in wrong:
        var = var * sizes.sum() / (sizes.sum() - 1)
    return mean, var


def _precise_args(rng, sizes, d, kind="float"):
    """Batches of different size whose means lie apart, as those of shuffled-too-little data do."""
    center, std = _signed(rng, 2, 5, d), rng.uniform(0.8, 2, d)
    signs = rng.choice([-1, 1], (1, d)) * (-1) ** np.arange(len(sizes))[:, None]
    shifts = signs * rng.uniform(0.8, 1.6, (len(sizes), d)) * std
    batches = [
        center + shift + std * rng.uniform(0.6, 1.5, d) * rng.normal(size=(n, d))
        for n, shift in zip(sizes, shifts, strict=True)
    ]
    if kind == "int":
        batches = [np.rint(8 * x).astype(int) for x in batches]
    elif kind == "float32":
        # a large spread too: in float32 the mean of squares minus the squared mean is right to 0.1 %
        batches = [(10 * x + 1e3).astype(np.float32) for x in batches]
    elif kind == "strided":
        batches = [np.repeat(x, 2, 0)[::2] for x in batches]
    return (batches,)


def _precise_loop(batches):
    rows = [row for x in batches for row in x.tolist()]
    columns = list(zip(*rows, strict=True))
    means = [sum(column) / len(rows) for column in columns]
    squares = [sum((v - m) ** 2 for v in c) for c, m in zip(columns, means, strict=True)]
    return means, [square / len(rows) for square in squares]


def _precise_merge(batches):
    count, mean, square = 0, 0.0, 0.0
    for x in batches:  # the pairwise formula of Chan, Golub and LeVeque
        n, gap = len(x), x.mean(0) - mean
        square = square + x.var(0) * n + gap**2 * count * n / (count + n)
        mean = mean + gap * n / (count + n)
        count += n
    return mean, square / count


def _precise_moments(batches):
    n = sum(map(len, batches))
    total = np.sum([np.einsum("nd->d", x) for x in batches], axis=0)
    squares = np.sum([np.einsum("nd,nd->d", x, x) for x in batches], axis=0)
    return total / n, squares / n - (total / n) ** 2


def _precise_scipy(batches):
    from scipy import stats

    summary = stats.describe(np.vstack(batches), ddof=0)
    return summary.mean, summary.variance


PRECISE_STATISTICS = Exercise(
    solution=precise_statistics,
    oracle=_precise_statistics,
    mistakes={
        "average_of_variances": "The variances of the batches were averaged; the batch means differ among themselves, and that spread is part of the variance too.",
        "unweighted": "Every batch was given the same weight; a batch counts by the number of its examples.",
        "last_batch_only": "These are the statistics of the last batch alone; all batches count.",
        "unbiased_variance": "The variance was divided by the number of examples minus 1; here it is divided by their number.",
    },
    regimes={
        "two batches": Regime(lambda rng: _precise_args(rng, (2, 4), 3)),
        "three batches, the last of one row": Regime(lambda rng: _precise_args(rng, (4, 3, 1), 2)),
        "as many examples as columns": Regime(lambda rng: _precise_args(rng, (2, 3), 5)),
        "whole numbers (integer arrays)": Regime(
            lambda rng: _precise_args(rng, (5, 2, 3), 3, "int")
        ),
        "float32 numbers around 1000": Regime(
            lambda rng: _precise_args(rng, (3, 7), 4, "float32"), rtol=1e-2
        ),
        "arrays that are not contiguous": Regime(
            lambda rng: _precise_args(rng, (3, 5, 2, 4), 2, "strided")
        ),
    },
    outputs=("mean", "var"),
    hints=(
        "Would the result be the same if the examples came in other batches? It has to be.",
        "Put the batches together first (`np.concatenate`), or remember that the variance of everything is the mean of the variances plus the variance of the means, each weighted by size.",
        "With all examples in one array, return its mean and its variance along axis 0.",
    ),
    alternatives=(_precise_loop, _precise_merge, _precise_moments, _precise_scipy),
)


def diagnose_inference(answers):
    """Name the cause of each trouble between training and evaluation.

    Args:
        answers: a dict from the symptom to one of "training_mode" (the layers
            still use the statistics of the batch at hand),
            "statistics_not_saved", "stale_statistics" (the running ones lag
            behind the weights), "tiny_batches" (the training batches were too
            small), "statistics_still_move" (of a layer that is meant to be
            frozen), "overfitting", "learning_rate" and "no_grad" (gradients are
            still recorded).
    Returns:
        The answers, judged one by one.
    """


DIAGNOSE_INFERENCE = Concept(
    statement=diagnose_inference,
    choices={
        "training_mode": "the layers still use the statistics of the batch at hand",
        "statistics_not_saved": "the running statistics are not in the file",
        "stale_statistics": "the running statistics lag behind the weights",
        "tiny_batches": "the training batches were too small for their statistics to mean much",
        "statistics_still_move": "a layer that is meant to be frozen updates its running statistics",
        "overfitting": "the weights fit the training images too closely",
        "learning_rate": "the learning rate is too high or too low",
        "no_grad": "gradients are still recorded",
    },
    cases={
        "inside torch.no_grad(), the class of an image changes with its companions in the batch": Case(
            "training_mode",
            "In evaluation mode (`model.eval()`) a prediction is independent of its companions.",
            {
                "overfitting": "An overfitted network is wrong in the same way each time; here one and the same image gets different answers.",
                "learning_rate": "No weight changes here, and yet the answer does.",
                "no_grad": "`torch.no_grad()` is there already. It stops the recording of gradients and changes no output.",
            },
        ),
        "test accuracy is fine in shuffled batches and falls to a fraction in batches sorted by class": Case(
            "training_mode",
            "A batch of one class is normalized by the statistics of that class, and loses what sets it apart.",
            {
                "overfitting": "The images and the weights are the same in both orders; overfitting does not depend on an order.",
                "tiny_batches": "The batches are as large in both orders; look at what they consist of.",
            },
        ),
        "perfect before saving; at chance after loading the weights, gammas and betas into a new network": Case(
            "statistics_not_saved",
            "A new layer's running mean is 0 and its variance 1; they belong in the file as well.",
            {
                "overfitting": "It is the same network on the same images as before; nothing was fitted in between.",
                "training_mode": "In training mode the batch's own statistics would help it along; and the symptom would show before saving as well.",
                "stale_statistics": "Before saving they were good enough.",
            },
        ),
        "momentum 0.001, few steps: good on training batches, poor on the same images after model.eval()": Case(
            "stale_statistics",
            "With a weight of 0.001 for each new batch, most of the running statistics is still their start.",
            {
                "overfitting": "The images on which it fails are the training images themselves.",
                "learning_rate": "The weights are good: on training batches it does well.",
                "tiny_batches": "The batches themselves work well; it is what was averaged from them that is poor.",
            },
        ),
        "batches of two: the training loss is fine, model.eval() on the training images is far worse": Case(
            "tiny_batches",
            "In a dense layer two examples are normalized to about +1 and -1; the network learns on values that evaluation does not give it.",
            {
                "overfitting": "It fails on the very images that it was trained on.",
                "stale_statistics": "Even statistics averaged over all the training would not repair it.",
                "training_mode": "The symptom appears after `model.eval()`, when the batch at hand is no longer used.",
            },
        ),
        "a backbone with requires_grad off everywhere: after each epoch in train mode its model.eval() features differ": Case(
            "statistics_still_move",
            "Running statistics are not parameters: they move with every forward pass in training mode.",
            {
                "learning_rate": "Without gradients no rate moves a parameter.",
                "overfitting": "Its weights are not fitted at all.",
                "no_grad": "Gradients are off already; recording them or not changes nothing here.",
            },
        ),
    },
    mistakes={
        "overfitting_guess": "Overfitting is a gap between training images and new ones. Evaluate the training images as well, and it is found out at once.",
        "learning_rate_guess": "A learning rate does its harm while training, and shows in the training loss; here the trouble begins with evaluation.",
        "no_grad_is_eval": "`torch.no_grad()` and `model.eval()` are different switches: the first stops the recording of gradients, the second makes batch norm use its running statistics.",
    },
    code=lambda choice, right: {
        "overfitting": "overfitting_guess",
        "learning_rate": "learning_rate_guess",
        "no_grad": "no_grad_is_eval",
    }.get(choice),
    hints=(
        "Ask of each: are the weights bad, or are the statistics that go with them?",
        "Which of the two kinds of statistics is used, the batch's or the running ones? And where do the running ones come from?",
        "Two symptoms have the same cause; none of the six is the fault of the optimizer.",
    ),
    otherwise={
        "training_mode": "In training mode the layer uses the batch at hand; here the trouble is with the running statistics.",
        "statistics_not_saved": "Nothing was saved or loaded here.",
        "stale_statistics": "The running statistics would have to be in use, and to be old; ask whether both are so.",
        "tiny_batches": "Nothing says that the batches in training were small.",
        "statistics_still_move": "No layer is meant to be frozen here.",
        "overfitting": "Overfitting is a gap between training images and new ones; the symptom is not.",
        "learning_rate": "The weights are good here; the trouble begins with evaluation.",
        "no_grad": "Recording gradients costs memory and changes no output.",
    },
)

check = Checks(UPDATE_RUNNING, STEPS_TO_FORGET, BATCHNORM1D, PRECISE_STATISTICS, DIAGNOSE_INFERENCE)
