"""Exercises of the chapter `bug_museum`: name the bug of each exhibit, and repair some of them."""

import numpy as np

from bncourse.batchnorm import (
    batchnorm_backward,
    batchnorm_forward,
    batchnorm_inference,
    update_running,
)
from bncourse.exercises.checks import Checks
from bncourse.exercises.concepts import Case, Concept
from bncourse.exercises.engine import Exercise, Regime
from bncourse.exhibits import Amber, Basalt, Dolomite, Emerald, Flint, Halite


def name_the_bug(answers):
    """Name the bug of every exhibit; each has one at most.

    Args:
        answers: a dict from the name of the exhibit to one of these words; some
            of the bugs are not among the exhibits. "detached_statistics":
            backward takes mean and variance for constants,
            "batch_statistics_in_eval": evaluation depends on the rest of the
            batch, "updates_in_eval": running statistics move in evaluation mode
            too, "state_not_saved": running statistics are lost by saving and
            loading, "shared_state": layers change each other's running
            statistics, "momentum_swapped": momentum is the weight of the old
            running value, "averages_std": standard deviations are averaged, not
            variances, "one_pass_variance": mean of the squares minus square of
            the mean, "unbiased_variance": the output of training is normalized
            with N - 1 (the running variance is meant to be), "eps_outside_root":
            eps is added to the standard deviation, "wrong_axis": each example is
            normalized by its own statistics, "no_bug": it does all that it is
            meant to do.
    Returns:
        The answers, judged one by one.
    """


NAME_THE_BUG = Concept(
    statement=name_the_bug,
    choices={
        "detached_statistics": "backward treats the batch's mean and variance as constants",
        "batch_statistics_in_eval": "the output in evaluation mode depends on the other examples",
        "updates_in_eval": "the running statistics move in evaluation mode too",
        "state_not_saved": "the running statistics are lost by saving and loading",
        "shared_state": "layers change each other's running statistics",
        "momentum_swapped": "momentum is the weight of the old running value",
        "averages_std": "standard deviations are averaged, where variances are due",
        "one_pass_variance": "the mean of the squares minus the square of the mean",
        "unbiased_variance": "the output is normalized with N - 1",
        "eps_outside_root": "eps is added to the standard deviation",
        "wrong_axis": "each example is normalized by its own statistics",
        "no_bug": "it does all that it is meant to do",
    },
    cases={
        "Amber": Case(
            "state_not_saved",
            "It trains, and evaluates well, until it is loaded: then its running mean is 0 and its variance 1 again.",
            {
                "shared_state": "Its running statistics are arrays of its own, made in `__init__`.",
                "updates_in_eval": "They are changed in place, but in training mode only.",
            },
        ),
        "Basalt": Case(
            "detached_statistics",
            "Without the two projections its dx is the one of evaluation mode. It trains, along a wrong gradient.",
            {
                "unbiased_variance": "N - 1 appears in the running variance, where it belongs; the output divides by N.",
            },
        ),
        "Coral": Case(
            "unbiased_variance",
            "A batch of two gives -0.71 and 0.71 instead of -1 and 1. Its backward fits its forward, so a numerical gradient finds nothing.",
            {
                "detached_statistics": "Its dx is the derivative of its own forward: a numerical gradient agrees with it. Look at what is differentiated.",
                "state_not_saved": "One array holds all that it has learned and measured, and `load_state_dict` takes all of it.",
            },
        ),
        "Dolomite": Case(
            "shared_state",
            "All layers of one width have their running statistics in the same arrays. In training nothing shows.",
            {
                "state_not_saved": "All four arrays are saved, and loading copies every one of them.",
                "updates_in_eval": "It does not move by its own evaluation. What else could have moved it?",
                "averages_std": "What it averages are variances; ask whose.",
            },
        ),
        "Emerald": Case(
            "one_pass_variance",
            "Two large numbers are subtracted that agree in all digits that float32 has; at a mean of 3000 the result may be negative, and its root is NaN.",
            {
                "unbiased_variance": "N - 1 goes into the running variance alone, where it belongs.",
                "eps_outside_root": "Eps is added where it is due; but can it save a variance that is below zero?",
            },
        ),
        "Flint": Case(
            "averages_std",
            "After standard deviations 1 and 9 it keeps the square of 5 where the mean of the variances is 41. Training never uses it.",
            {
                "unbiased_variance": "The output of training divides by N; what is kept for evaluation uses N - 1, as it is meant to.",
                "momentum_swapped": "The new batch has the weight momentum; ask what is weighted.",
                "eps_outside_root": "Eps joins the variance before the root in both modes; look at where that variance comes from.",
            },
        ),
        "Garnet": Case(
            "wrong_axis",
            "It is layer normalization under another name, and a good layer; only it is not the one that was asked for.",
            {
                "detached_statistics": "A numerical gradient of its forward agrees with its dx.",
                "batch_statistics_in_eval": "Give it one example alone and then among others: its output is the same, in either mode. That is the clue.",
                "state_not_saved": "A layer that was loaded evaluates like the one that was saved: nothing it needs is missing.",
                "unbiased_variance": "It divides by the count of what it sums. Count once more what that is.",
                "averages_std": "It averages nothing over time at all.",
                "momentum_swapped": "It never uses its momentum. Why does it not need it?",
                "updates_in_eval": "Nothing in it is updated by a forward pass, in either mode.",
                "shared_state": "Beside gamma and beta there is nothing in it that two layers could share.",
                "no_bug": "It has no running statistics and does the same in both modes: what must it be normalizing by?",
            },
        ),
        "Halite": Case(
            "batch_statistics_in_eval",
            "It asks for the size of the batch where it should ask for the mode, so `eval()` changes no output.",
            {
                "updates_in_eval": "The running statistics move only in training mode. Are they used when they should be?",
                "state_not_saved": "All of it is saved and loaded; a loaded layer does what the saved one does.",
                "averages_std": "It averages variances. Look for the batches that get to see the average.",
                "no_bug": "Evaluate an example in two batches with different companions, and compare.",
            },
        ),
        "Ivory": Case(
            "no_bug",
            "It is written in an unusual way, and agrees with PyTorch in both modes, forward and backward.",
            {
                "unbiased_variance": "N - 1 goes into the running variance alone, as in PyTorch; the output divides by N.",
                "momentum_swapped": "Work out old - momentum * (old - batch): the batch has the weight momentum.",
                "detached_statistics": "The mean and the part along xhat are both taken out of dx, one line each; a numerical gradient agrees.",
                "eps_outside_root": "The power -0.5 applies to the sum of variance and eps.",
            },
        ),
        "Jade": Case(
            "eps_outside_root",
            "With variance 4 and eps 1 it divides by 3, not by the root of 5; and a constant feature makes its dx NaN.",
            {
                "detached_statistics": "Its dx is the derivative of its own forward: a numerical gradient agrees with it. Look at what is differentiated.",
                "averages_std": "It does keep variances; compare the two places where a root is taken with what is under it.",
            },
        ),
    },
    mistakes={
        "detached_statistics": "Detached statistics show in one number: compare dx with a numerical gradient, for a dy that is neither constant nor centred.",
        "batch_statistics_in_eval": "For batch statistics in evaluation mode, evaluate one example in two different batches and compare.",
        "updates_in_eval": "For updates in evaluation mode, evaluate a batch twice with an odd batch in between: the two outputs would differ.",
        "state_not_saved": "For a state that is not saved, load it into a new layer and compare the two in evaluation mode.",
        "shared_state": "For shared state, train a second layer of the same width, and see whether the first one evaluates as before.",
        "momentum_swapped": "For a swapped momentum, feed a new layer one batch with momentum 0.1: the running mean should be a tenth of the batch's.",
        "averages_std": "For averaged standard deviations, evaluate after batches of very different spread; with equal batches there is nothing to see.",
        "one_pass_variance": "For a one-pass variance, add 10,000 to a float32 batch: the output of training should stay nearly the same.",
        "unbiased_variance": "For N - 1 in the output, normalize a batch of two: with a tiny eps it should become -1 and 1.",
        "eps_outside_root": "For eps outside of the root, choose a large one: variance 4 and eps 1 should divide by the root of 5.",
        "wrong_axis": "For the wrong axis, add 100 to one whole column: the output of training should stay the same.",
        "no_bug": "An exhibit that trains may still have its bug: most of them do train, so test evaluation, saving, several layers, large numbers and the gradient.",
    },
    code=lambda choice, right: choice,
    hints=(
        "The training loss says little here. Try for each: a numerical gradient, a batch of two, a large eps, float32 numbers around 10,000, evaluation, saving and loading, two layers.",
        "Compare each with `torch.nn.BatchNorm1d`, step by step: training output, gradients, running statistics, evaluation output, a loaded layer, a second layer.",
        "No bug is there twice, two of the bugs are not there, and one exhibit is right.",
    ),
    otherwise={
        "detached_statistics": "A numerical gradient of its forward agrees with its dx (try it in float64).",
        "batch_statistics_in_eval": "In evaluation mode an example's output is the same alone and among others.",
        "updates_in_eval": "Evaluation leaves its running statistics as they were: evaluate the same batch twice.",
        "state_not_saved": "Load its state into a new layer: the two agree in evaluation mode.",
        "shared_state": "Train two layers of the same width on different batches: each keeps what it has seen.",
        "momentum_swapped": "After one batch with momentum 0.1, the running mean has gone a tenth of the way.",
        "averages_std": "After batches of very different spread it has kept the average of their variances.",
        "one_pass_variance": "Add 10,000 to a float32 batch: its output stays what it was, up to rounding.",
        "unbiased_variance": "Normalize a batch of two, with small numbers and a tiny eps: the output is -1 and 1.",
        "eps_outside_root": "With an eps as large as the variance, it divides by the root of twice that variance, as it should.",
        "wrong_axis": "Add 100 to one whole column: the output of training does not change.",
        "no_bug": "Something is wrong with it, though it trains. Which of the tests of hint 1 have you run?",
    },
)


class repair_amber(Amber):
    """Amber without its bug: a layer that is right in every respect.

    Write the class anew, or inherit from `Amber` and override what is wrong.

    Args:
        num_features, eps, momentum: as for every exhibit.
    Returns:
        A layer with the interface of the exhibits; `gamma` and `beta` are
        arrays that a training loop may replace.
    """

    def state_dict(self):
        names = "gamma", "beta", "running_mean", "running_var"
        return {name: getattr(self, name).copy() for name in names}

    def load_state_dict(self, state):
        for name, array in state.items():
            setattr(self, name, array.copy())


class repair_basalt(Basalt):
    """Basalt without its bug: a layer that is right in every respect.

    Write the class anew, or inherit from `Basalt` and override what is wrong.

    Args:
        num_features, eps, momentum: as for every exhibit.
    Returns:
        A layer with the interface of the exhibits; `gamma` and `beta` are
        arrays that a training loop may replace.
    """

    def backward(self, dy):
        self.dgamma = (dy * self.xhat).sum(axis=0)
        self.dbeta = dy.sum(axis=0)
        if self.training:
            dy = dy - (self.dbeta + self.xhat * self.dgamma) / len(dy)
        return self.gamma * dy / self.std


class repair_dolomite(Dolomite):
    """Dolomite without its bug: a layer that is right in every respect.

    Write the class anew, or inherit from `Dolomite` and override what is wrong.

    Args:
        num_features, eps, momentum: as for every exhibit.
    Returns:
        A layer with the interface of the exhibits; `gamma` and `beta` are
        arrays that a training loop may replace.
    """

    def __init__(self, num_features, eps=1e-5, momentum=0.1):
        self.eps, self.momentum, self.training = eps, momentum, True
        self.gamma, self.beta = np.ones(num_features), np.zeros(num_features)
        self.running_mean, self.running_var = np.zeros(num_features), np.ones(num_features)


class repair_emerald(Emerald):
    """Emerald without its bug: a layer that is right in every respect.

    Write the class anew, or inherit from `Emerald` and override what is wrong.

    Args:
        num_features, eps, momentum: as for every exhibit.
    Returns:
        A layer with the interface of the exhibits; `gamma` and `beta` are
        arrays that a training loop may replace.
    """

    def forward(self, x):
        n, mean, var = len(x), self.running_mean, self.running_var
        if self.training:
            mean = x.mean(axis=0)
            var = ((x - mean) ** 2).mean(axis=0)
            self.running_mean = self.running_mean + self.momentum * (mean - self.running_mean)
            unbiased = var * (n / (n - 1))
            self.running_var = self.running_var + self.momentum * (unbiased - self.running_var)
        self.std = np.sqrt(var + self.eps)
        self.xhat = (x - mean) / self.std
        return self.gamma * self.xhat + self.beta


class repair_flint(Flint):
    """Flint without its bug: a layer that is right in every respect.

    Write the class anew, or inherit from `Flint` and override what is wrong.

    Args:
        num_features, eps, momentum: as for every exhibit.
    Returns:
        A layer with the interface of the exhibits; `gamma` and `beta` are
        arrays that a training loop may replace.
    """

    def forward(self, x):
        mean, var = self.running_mean, self.running_std**2
        if self.training:
            old, new = 1 - self.momentum, self.momentum
            self.running_std = np.sqrt(old * var + new * x.var(axis=0, ddof=1))
            mean, var = x.mean(axis=0), x.var(axis=0)
            self.running_mean = old * self.running_mean + new * mean
        self.std = np.sqrt(var + self.eps)
        self.xhat = (x - mean) / self.std
        return self.gamma * self.xhat + self.beta


class repair_halite(Halite):
    """Halite without its bug: a layer that is right in every respect.

    Write the class anew, or inherit from `Halite` and override what is wrong.

    Args:
        num_features, eps, momentum: as for every exhibit.
    Returns:
        A layer with the interface of the exhibits; `gamma` and `beta` are
        arrays that a training loop may replace.
    """

    def forward(self, x):
        self.is_batch = self.training
        mean, var = self.running_mean, self.running_var
        if self.training:
            mean, var = x.mean(axis=0), x.var(axis=0)
            self.running_mean = self.running_mean + self.momentum * (mean - self.running_mean)
            change = x.var(axis=0, ddof=1) - self.running_var
            self.running_var = self.running_var + self.momentum * change
        self.std = np.sqrt(var + self.eps)
        self.xhat = (x - mean) / self.std
        return self.gamma * self.xhat + self.beta


# A layer with this momentum forgets whatever was before its last batch. So two layers that share their
# statistics show it in the same way whatever the class was used for earlier, and can be named.
_FORGETFUL = 1 - 1e-12
_OUTPUTS = (
    "y in training mode",
    "dx in training mode",
    "dgamma and dbeta in training mode",
    "y in evaluation mode",
    "what backward gives in evaluation mode",
    "y after load_state_dict",
    "y of two layers side by side",
    "y with the default eps and momentum",
    "the number of arrays changed in place",
)


def _put_to_work(layer_class, num_features, eps, momentum, gamma, beta, batches, dys, others):
    """What layers of a class give in a fixed scenario: one entry for each of `_OUTPUTS`."""
    *batches, test = batches
    given = []

    def copy(x):
        given.append((x, x.copy(order="K")))
        return given[-1][1]

    def y(layer, x):
        return layer.forward(copy(x))

    def gradients(layer, dy):
        return [layer.backward(copy(dy)), _stack([[layer.dgamma], [layer.dbeta]])]

    layer = layer_class(num_features, eps, momentum)
    if not callable(getattr(layer, "forward", None)):
        return layer
    layer.gamma, layer.beta = gamma.copy(), beta.copy()
    training, evaluation, back = [], [], []
    for x, dy in zip(batches[:-1], dys, strict=False):
        training.append(y(layer, x))
        back.append(gradients(layer, dy))
    layer.eval()
    evaluation.append(y(layer, test))
    in_evaluation = gradients(layer, dys[-1])
    evaluation.append(y(layer, test))
    layer.train()
    training.append(y(layer, batches[-1]))
    back.append(gradients(layer, dys[-2]))
    layer.eval()
    evaluation.append(y(layer, test))

    other = layer_class(num_features, eps=eps, momentum=momentum)
    other.load_state_dict(layer.state_dict())
    other.eval()
    loaded = [y(other, test)]
    other.train()
    y(other, batches[0])
    loaded.append(y(layer, test))

    # Where statistics are shared, or change in evaluation, what follows can only crash: another width
    # would not fit, and one row has no unbiased variance. The crash would hide its cause.
    one, two = (layer_class(num_features, eps, _FORGETFUL) for _ in range(2))
    y(one, batches[0])
    one.eval()
    beside = [y(one, test)]
    y(two, batches[1])
    two.eval()
    beside += [y(one, test), y(two, test)]
    if np.array_equal(beside[0], beside[1]):
        new = layer_class(others[0].shape[1])
        default = [y(new, others[0])]
        new.eval()
        default.append(y(new, others[1]))
        evaluation.append(y(layer, test[:1]))
    else:
        default = [np.full(x.shape, np.nan) for x in others]
        evaluation.append(np.full((1, num_features), np.nan))
    changed = sum(old.tobytes() != new.tobytes() for old, new in given)
    dxs, params = zip(*back, strict=True)
    parts = (training, dxs, params, evaluation, in_evaluation, loaded, beside, default)
    return [*map(_stack, parts), changed]


def _stack(outputs):
    """Several outputs as one array, or the first of them that can't be part of it."""
    odd = [y for y in outputs if np.ndim(y) != 2]
    return odd[0] if odd else np.concatenate(outputs)


def _repaired(wrong, *args):
    """What `_put_to_work` gives for a right layer, or for one that makes the mistakes `wrong`."""
    shared = {}

    def new(width, eps=1e-5, momentum=0.1):
        return _Layer(wrong, shared, width, eps, momentum)

    parts = _put_to_work(new, *args)
    if "shared_state" in wrong:  # then these depend on what the class was used for before
        for i in (3, 4, 5):
            parts[i] = np.ma.array(parts[i], mask=True)
    return parts


class _Layer:
    """A layer in float64 with a switch for every mistake."""

    def __init__(self, wrong, shared, width, eps, momentum):
        self.wrong, self.eps, self.training = wrong, eps, True
        self.new = 1 - momentum if "momentum_swapped" in wrong else momentum
        self.gamma, self.beta = np.ones(width), np.zeros(width)
        state = np.stack([np.zeros(width), np.ones(width)])
        self.state = shared.setdefault(width, state) if "shared_state" in wrong else state

    def moments(self, x):
        mean = x.sum(0) / len(x)
        if not {"one_pass_variance", "one_pass_variance:2"} & self.wrong:
            mean = np.sum(x, 0, float) / len(x)
            return mean, np.square(x - mean).sum(0) / len(x)
        mean = x.mean(axis=0)  # in the precision of x, and with the very steps of the exhibit
        var = (x * x).mean(axis=0) - mean * mean
        return mean, np.maximum(var, 0) if "one_pass_variance:2" in self.wrong else var

    def update(self, x):
        n, (mean, var) = len(x), self.moments(x)
        if "biased_running_variance" not in self.wrong:
            var = var * np.divide(n, n - 1)
        old, new = 1 - self.new, self.new
        self.state[0] = old * self.state[0] + new * mean
        if "averages_std" in self.wrong:
            self.state[1] = (old * np.sqrt(self.state[1]) + new * np.sqrt(var)) ** 2
        elif "averages_std:2" in self.wrong:
            self.state[1] = old * self.state[1] + new * np.sqrt(var)
        else:
            self.state[1] = old * self.state[1] + new * var

    def forward(self, x):
        wrong, n = self.wrong, len(x)
        alone = "batch_statistics_in_eval" in wrong and n > 1
        self.from_batch = self.training or alone or "batch_statistics_in_eval:2" in wrong
        if self.training or "updates_in_eval:2" in wrong:
            self.update(x)
        mean, var = self.moments(x) if self.from_batch else self.state
        if self.from_batch and "unbiased_variance" in wrong:
            var = var * np.divide(n, n - 1)
        outside = "eps_outside_root" in wrong
        self.std = np.sqrt(var) + self.eps if outside else np.sqrt(var + self.eps)
        self.xhat = (x - mean) / self.std
        y = self.gamma * self.xhat + self.beta
        if not self.training and "updates_in_eval" in wrong:
            self.update(x)
        return y

    def backward(self, dy):
        wrong, count = self.wrong, 1 if "missing_1_over_n" in self.wrong else len(dy)
        self.dgamma, self.dbeta = (dy * self.xhat).sum(0), dy.sum(0)
        through = self.from_batch or "batch_gradient_in_eval" in wrong
        if through and "detached_statistics" not in wrong:
            if "detached_mean" not in wrong:
                dy = dy - self.dbeta / count
            if "detached_variance" not in wrong:
                dy = dy - self.xhat * self.dgamma / count
        return dy / self.std if "no_gamma" in wrong else self.gamma * dy / self.std

    def train(self):
        self.training = True

    def eval(self):
        self.training = False

    def state_dict(self):
        return self.gamma, self.beta, self.state

    def load_state_dict(self, state):
        gamma, beta, state = state
        if "affine_not_saved" not in self.wrong:
            self.gamma, self.beta = gamma, beta
        if "aliased_state" in self.wrong:
            self.state = state
        for i, omitted in enumerate(("state_not_saved:3", "state_not_saved:2")):
            if not {omitted, "state_not_saved"} & self.wrong:
                self.state[i] = state[i]


def _signed(rng, low, high, size):
    """Numbers of magnitude low to high, of both signs where there are two."""
    return rng.uniform(low, high, size) * rng.permutation(np.resize([1, -1], size))


def _spread(rng, n, d, center, std):
    """n rows with this mean and standard deviation, so that no column comes out nearly constant."""
    noise = rng.normal(size=(n, d)) + np.linspace(-1.5, 1.5, n)[:, None]
    noise -= noise.sum(0) / n
    return center + noise * (std / np.sqrt((noise * noise).sum(0) / n))


def _args(rng, sizes, kind="float"):
    """Batches that differ, the last of which is for evaluation, and two of another width.

    The width is always 3, and the other one is met last: a class whose layers share their statistics
    would crash at a second width before it could be told what is wrong.
    """
    width, offset, scale, eps = 3, 0.0, 1.0, rng.uniform(0.1, 0.5)
    if kind == "int":
        scale = 4.0
    elif kind.startswith("float32"):
        offset = 5000.0
    centers = offset + scale * _signed(rng, 1, 5, (len(sizes), width))
    # the spread grows or shrinks a good deal from batch to batch, which tells averages of it apart
    order = [-1, 1][rng.integers(2)] * np.linspace(-0.5, 0.5, len(sizes))[:, None]
    stds = scale * rng.uniform(1.2, 1.6, centers.shape) * 3**order
    batches = [_spread(rng, n, width, *row) for n, *row in zip(sizes, centers, stds, strict=True)]
    if kind.endswith("constant"):
        for x in batches:
            x[:, 1] = offset + rng.integers(2, 9)
    elif kind == "int":
        batches = [np.asfortranarray(np.rint(x).astype(int)) for x in batches]
    if kind.startswith("float32"):
        batches = [x.astype(np.float32) for x in batches]
    gamma, beta = _signed(rng, 0.6, 2, width), _signed(rng, 0.3, 1, width)
    dy_means = _signed(rng, 0.5, 1, centers.shape)
    dys = [rng.normal(size=x.shape) + mean for x, mean in zip(batches, dy_means, strict=True)]
    other = (2, 4, 5)[rng.integers(3)]
    center = _signed(rng, 1, 2, other)
    # so little spread that the default eps = 1e-5 shows
    others = [_spread(rng, n, other, center, 0.005) for n in sizes[:2]]
    momentum = float(rng.uniform(0.15, 0.35))
    return width, float(eps), momentum, gamma, beta, batches, dys, others


class _Lists:
    """Plain Python: columns are lists, and the state is a list of pairs."""

    def __init__(self, num_features, eps=1e-5, momentum=0.1):
        self.settings, self.learning = (eps, momentum), True
        self.gamma, self.beta = [1.0] * num_features, [0.0] * num_features
        self.stats = [(0.0, 1.0)] * num_features

    def forward(self, x):
        eps, momentum = self.settings
        self.columns, self.stds = [], []
        for j, column in enumerate(zip(*x.tolist(), strict=True)):
            mean, var = self.stats[j]
            if self.learning:
                n = len(column)
                batch_mean = sum(column) / n
                var_n = sum((value - batch_mean) ** 2 for value in column)
                self.stats[j] = (
                    mean + momentum * (batch_mean - mean),
                    var + momentum * (var_n / (n - 1) - var),
                )
                mean, var = batch_mean, var_n / n
            self.stds.append((var + eps) ** 0.5)
            self.columns.append([(value - mean) / self.stds[-1] for value in column])
        y = [
            [value * gamma + beta for value in column]
            for column, gamma, beta in zip(self.columns, self.gamma, self.beta, strict=True)
        ]
        return [list(row) for row in zip(*y, strict=True)]

    def backward(self, dy):
        n, columns = len(dy), []
        self.dgamma, self.dbeta = [], []
        for j, column in enumerate(zip(*dy.tolist(), strict=True)):
            pairs = list(zip(column, self.columns[j], strict=True))
            self.dgamma.append(sum(d * xhat for d, xhat in pairs))
            self.dbeta.append(sum(column))
            a, b = (self.dbeta[j] / n, self.dgamma[j] / n) if self.learning else (0.0, 0.0)
            columns.append([self.gamma[j] / self.stds[j] * (d - a - h * b) for d, h in pairs])
        return [list(row) for row in zip(*columns, strict=True)]

    def train(self):
        self.learning = True

    def eval(self):
        self.learning = False

    def state_dict(self):
        return list(self.gamma), list(self.beta), list(self.stats)

    def load_state_dict(self, state):
        self.gamma, self.beta, self.stats = map(list, state)


class _Buffers:
    """Row vectors that are updated in place; saving hands them out, loading copies into them."""

    def __init__(self, num_features, eps=1e-5, momentum=0.1):
        self.eps, self.momentum = eps, momentum
        self.gamma, self.beta = np.ones((1, num_features)), np.zeros((1, num_features))
        self.buffers = np.zeros((1, num_features)), np.ones((1, num_features))
        self.train()

    def train(self, mode=True):
        self.mode = mode
        return self

    def eval(self):
        return self.train(False)

    def forward(self, x):
        n, (mean, var) = len(x), self.buffers
        if self.mode:
            batch_mean = np.einsum("nd->d", x) / n
            centred = x - batch_mean
            batch_var = np.einsum("nd,nd->d", centred, centred) / n
            mean *= 1 - self.momentum
            mean += self.momentum * batch_mean
            var *= 1 - self.momentum
            var += self.momentum * n / (n - 1) * batch_var
            mean, var = batch_mean, batch_var
        self.inverse = 1 / np.hypot(np.sqrt(var), self.eps**0.5)
        self.xhat = (x - mean) * self.inverse
        return self.xhat * self.gamma + self.beta

    def backward(self, dy):
        self.dgamma = np.einsum("nd,nd->d", dy, self.xhat)
        self.dbeta = np.einsum("nd->d", dy)
        slope = self.gamma * self.inverse
        if not self.mode:
            return dy * slope
        return slope / len(dy) * (len(dy) * dy - self.dbeta - self.xhat * self.dgamma)

    def state_dict(self):
        return {"affine": (self.gamma, self.beta), "buffers": self.buffers}

    def load_state_dict(self, state):
        self.gamma, self.beta = map(np.copy, state["affine"])
        for buffer, saved in zip(self.buffers, state["buffers"], strict=True):
            buffer[...] = saved


class _FromTheCourse:
    """The functions of `bncourse.batchnorm`; the mode is the method that `forward` is."""

    def __init__(self, num_features, eps=1e-5, momentum=0.1):
        self.settings = eps, momentum
        self.gamma, self.beta = np.ones(num_features), np.zeros(num_features)
        self.running = np.zeros(num_features), np.ones(num_features)
        self.train()

    def learn(self, x):
        eps, momentum = self.settings
        y, cache = batchnorm_forward(x, self.gamma, self.beta, eps)
        self.running = update_running(*self.running, cache, momentum)
        self.cache = cache
        return y

    def predict(self, x):
        eps, _ = self.settings
        zero, one = np.zeros_like(self.beta), np.ones_like(self.beta)
        self.xhat = batchnorm_inference(x, one, zero, *self.running, eps)
        self.slope = self.gamma / np.sqrt(self.running[1] + eps)
        self.cache = None
        return self.gamma * self.xhat + self.beta

    def backward(self, dy):
        if self.cache:
            dx, self.dgamma, self.dbeta = batchnorm_backward(dy, self.cache)
            return dx
        self.dgamma, self.dbeta = np.diag(dy.T @ self.xhat), dy.sum(0)
        return dy * self.slope

    def train(self):
        self.forward = self.learn

    def eval(self):
        self.forward = self.predict

    def state_dict(self):
        return {"gamma": self.gamma, "beta": self.beta, "running": self.running}

    def load_state_dict(self, state):
        vars(self).update(state)


_MISTAKES = {
    "state_not_saved": "Running statistics are lost between `state_dict()` and `load_state_dict()`; a restored layer has to evaluate like the one that was saved.",
    "affine_not_saved": "Gamma and beta are lost between `state_dict()` and `load_state_dict()`; they were saved before the repair, and have to be.",
    "aliased_state": "After `load_state_dict` the two layers hold the same arrays, so training one changes the other; copy the arrays.",
    "detached_statistics": "In training mode dx still leaves out that the mean and the variance depend on x: both have to be differentiated.",
    "detached_mean": "The gradient goes through the variance, not through the mean: dx still lacks the term with the mean of dy.",
    "detached_variance": "The gradient goes through the mean, not through the variance: dx still lacks the term with xhat.",
    "batch_gradient_in_eval": "In evaluation mode the statistics are constants, so dx is gamma * dy / std there; only in training mode do mean and variance depend on x.",
    "missing_1_over_n": "In dx the sums of dy and of dy * xhat have to be means: divide them by N.",
    "no_gamma": "Gamma is missing in dx.",
    "shared_state": "Two layers share their running statistics: training one changes the other. Make the arrays in `__init__`, for `self` alone.",
    "one_pass_variance": "The variance is the difference of two large numbers, and rounding leaves little of it (clipping it at 0 only hides that): subtract the mean first, then square.",
    "unbiased_variance": "The output of training is normalized with N - 1; it divides by N, and only the running variance takes N - 1.",
    "biased_running_variance": "The running variance was fed the variance divided by N; it takes the unbiased one (N - 1).",
    "averages_std": "In the running variance a standard deviation is averaged; average the variances, and take the root afterwards.",
    "momentum_swapped": "The two weights of the running statistics are swapped: momentum is the weight of the new batch, the old value keeps 1 - momentum.",
    "eps_outside_root": "Eps is added to the standard deviation; it belongs inside the root, beside the variance.",
    "batch_statistics_in_eval": "In evaluation mode the output still depends on the statistics of the batch; the mode decides, and the running statistics take their place.",
    "updates_in_eval": "The running statistics change in evaluation mode too; only training batches may move them.",
}
_REGIMES = {
    "small batches": Regime(lambda rng: _args(rng, (3, 4, 3, 2)), rtol=1e-5),
    "batches of as many rows as columns, one column constant": Regime(
        lambda rng: _args(rng, (3, 3, 3, 3), "constant"), rtol=1e-5
    ),
    "whole numbers (integer arrays, not contiguous)": Regime(
        lambda rng: _args(rng, (5, 4, 3, 4), "int"), rtol=1e-5
    ),
    "float32 numbers around 5000": Regime(
        lambda rng: _args(rng, (4, 5, 3, 6), "float32"), rtol=1e-2
    ),
}
_LARGE_NUMBERS = {
    "float32 numbers around 5000": Regime(
        lambda rng: _args(rng, (3, 4, 3, 2), "float32"), rtol=1e-2
    ),
    "float32 numbers around 5000, in batches of different sizes": Regime(
        lambda rng: _args(rng, (4, 6, 5, 3), "float32"), rtol=1e-2
    ),
    "float32 numbers around 5000, one column constant": Regime(
        lambda rng: _args(rng, (5, 3, 4, 4), "float32 constant"), rtol=1e-2
    ),
}
_EVERY_REPAIR = {
    "oracle": _repaired,
    "outputs": _OUTPUTS,
    "alternatives": (_Lists, _Buffers, _FromTheCourse),
    "run": _put_to_work,
    "arguments": ("num_features", "eps", "momentum", "gamma", "beta", "batches", "dys", "others"),
}


def _among(*codes):
    return {code: _MISTAKES[code] for code in codes}


REPAIR_AMBER = Exercise(
    solution=repair_amber,
    mistakes=_among("state_not_saved", "affine_not_saved", "aliased_state", "momentum_swapped"),
    forms=("state_not_saved:2", "state_not_saved:3"),
    regimes=_REGIMES,
    hints=(
        "What does a layer know after training that a new one does not know?",
        "Beside gamma and beta, the running mean and the running variance have to be in `state_dict()`, and `load_state_dict` has to take them.",
        "Copy all four arrays into the dictionary, and copy them again when you load: the forward pass changes two of them in place.",
    ),
    **_EVERY_REPAIR,
)
REPAIR_BASALT = Exercise(
    solution=repair_basalt,
    mistakes=_among(
        "detached_statistics",
        "detached_mean",
        "detached_variance",
        "batch_gradient_in_eval",
        "missing_1_over_n",
        "no_gamma",
    ),
    regimes=_REGIMES,
    hints=(
        "In training mode, through which other ways than x - mean does one x reach the output?",
        "In training mode dx = gamma / std * (dy - mean(dy) - xhat * mean(dy * xhat)), the means per column; in evaluation mode gamma / std * dy.",
        "dgamma and dbeta are N times those means: where `self.training`, subtract (dbeta + xhat * dgamma) / N from dy before gamma / std.",
    ),
    **_EVERY_REPAIR,
)
REPAIR_DOLOMITE = Exercise(
    solution=repair_dolomite,
    mistakes=_among("shared_state", "aliased_state", "state_not_saved", "momentum_swapped"),
    regimes=_REGIMES,
    hints=(
        "How many dictionaries `buffers` are there, if you make three layers?",
        "A name that is assigned in the body of a class belongs to all its layers; one that is assigned to `self` belongs to one of them.",
        "In `__init__`, set `self.running_mean` and `self.running_var` to new arrays of zeros and ones, and drop `buffers`.",
    ),
    **_EVERY_REPAIR,
)
REPAIR_EMERALD = Exercise(
    solution=repair_emerald,
    mistakes=_among(
        "one_pass_variance", "unbiased_variance", "biased_running_variance", "eps_outside_root"
    ),
    forms=("one_pass_variance:2",),
    regimes=_LARGE_NUMBERS,
    hints=(
        "How many digits has a float32, and how many has the square of 5000?",
        "The variance is the mean of (x - mean)**2: numbers that are small before they are squared.",
        "Take the mean first, then `var = ((x - mean) ** 2).mean(axis=0)`; the rest can stay.",
    ),
    **_EVERY_REPAIR,
)
REPAIR_FLINT = Exercise(
    solution=repair_flint,
    mistakes=_among(
        "averages_std", "biased_running_variance", "momentum_swapped", "unbiased_variance"
    ),
    forms=("averages_std:2",),
    regimes=_REGIMES,
    hints=(
        "Two batches have the standard deviations 1 and 9. What is the mean of their variances, and what is it here?",
        "Keep a running variance: (1 - momentum) * old + momentum * the batch's unbiased variance.",
        "Average `x.var(axis=0, ddof=1)` into a variance that starts at 1, use it in evaluation mode, and save it under the name you gave it.",
    ),
    **_EVERY_REPAIR,
)
REPAIR_HALITE = Exercise(
    solution=repair_halite,
    mistakes=_among(
        "batch_statistics_in_eval", "updates_in_eval", "batch_gradient_in_eval", "momentum_swapped"
    ),
    forms=("batch_statistics_in_eval:2", "updates_in_eval:2"),
    regimes=_REGIMES,
    hints=(
        "What does `eval()` change, and who asks for it?",
        "The mode, not the size of the batch, decides which statistics are used: in `forward`, and then in `backward`.",
        "Ask for `self.training` wherever the size of the batch is asked for now.",
    ),
    **_EVERY_REPAIR,
)

check = Checks(
    NAME_THE_BUG,
    REPAIR_AMBER,
    REPAIR_BASALT,
    REPAIR_DOLOMITE,
    REPAIR_EMERALD,
    REPAIR_FLINT,
    REPAIR_HALITE,
)
