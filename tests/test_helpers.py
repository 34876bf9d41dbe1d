"""Data, statistics, the ledger, experiments and figures."""

import json

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pytest

from bncourse import claims, data, experiments, plots, stats

VERDICT = claims.Verdict(
    "S1", "a claim", "true", "always", "steps", 12.34, 10.0, 15.0, 24, "a paper", "normalization"
)


@pytest.mark.parametrize(
    ("make", "shape", "classes"),
    [(data.wine, (178, 13), 3), (data.breast_cancer, (569, 30), 2), (data.digits, (1797, 64), 10)],
)
def test_data_sets_have_their_published_sizes(make, shape, classes):
    dataset = make()
    assert dataset.x.shape == shape and len(dataset.features) == shape[1]
    assert sorted(set(dataset.y)) == list(range(classes)) and len(dataset.classes) == classes


def test_split_is_seeded_disjoint_and_keeps_the_classes():
    wine = data.wine()
    first, again, other = (data.split(wine, seed) for seed in (1, 1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[0], other[0])
    rows = {tuple(row) for row in first[0]}
    assert not rows & {tuple(row) for row in first[1]} and len(first[0]) + len(first[1]) == 178
    shares = [np.bincount(y) / len(y) for y in first[2:]]
    assert np.abs(shares[0] - shares[1]).max() < 0.02


def test_the_interval_covers_the_median_about_as_often_as_it_says():
    rng = np.random.default_rng(0)
    inside = [
        e.low <= 0 <= e.high
        for e in (stats.estimate(rng.normal(size=24), resamples=400) for _ in range(200))
    ]
    assert 0.88 <= np.mean(inside) <= 0.99


def test_pairs_cancel_what_both_share():
    shared = np.random.default_rng(0).normal(0, 100, 30)
    difference = stats.paired(shared + 1, shared)
    assert difference.low > 0.99 and difference.high < 1.01
    assert stats.paired_ratio([2.0, 4, 6], [1.0, 2, 3]) == (2, 2, 2)
    assert f"{stats.estimate([1.0, 1.0]):.1f}" == "1.0 [1.0, 1.0]"


@pytest.mark.parametrize("values", [[1.0], [1.0, np.nan], [[1.0, 2.0]], [1.0, np.inf]])
def test_estimates_need_finite_numbers_of_several_seeds(values):
    with pytest.raises(ValueError, match="at least 2 seeds"):
        stats.estimate(values)


def test_pairs_need_equal_shapes():
    with pytest.raises(ValueError, match="equal shapes"):
        stats.paired([1.0, 2], [1.0, 2, 3])


def test_a_verdict_is_written_while_refreshing_and_compared_later(tmp_path, monkeypatch):
    monkeypatch.setenv("BNCOURSE_REFRESH", "1")
    claims.record(VERDICT, folder=tmp_path)
    assert json.loads((tmp_path / "S1.json").read_text())["value"] == 12.0
    monkeypatch.delenv("BNCOURSE_REFRESH")
    assert claims.record(VERDICT, folder=tmp_path) == claims.read(tmp_path)["S1"]
    claims.record(VERDICT._replace(value=14.0), folder=tmp_path)
    for field, value in (("value", 30.0), ("value", 4.0), ("status", "contested"), ("seeds", 40)):
        other = VERDICT._replace(**{field: value}, **({"low": 1.0, "high": 50.0}))
        with pytest.raises(AssertionError, match="ledger"):
            claims.record(other, folder=tmp_path)
    with pytest.raises(AssertionError, match="S2 is not in the ledger"):
        claims.record(VERDICT._replace(claim="S2"), folder=tmp_path)


def test_away_from_the_course_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert claims.record(VERDICT).value == 12.0
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("change", "says"),
    [({"status": "maybe"}, "maybe"), ({"seeds": 19}, "20 seeds"), ({"high": 11.0}, "interval")],
)
def test_a_verdict_that_can_not_be_is_refused(change, says, tmp_path):
    with pytest.raises(ValueError, match=says):
        claims.record(VERDICT._replace(**change), folder=tmp_path)


def test_the_ledger_is_read_in_the_order_of_the_claims(tmp_path, monkeypatch):
    monkeypatch.setenv("BNCOURSE_REFRESH", "1")
    for name in ("S10", "S2", "S1"):
        claims.record(VERDICT._replace(claim=name), folder=tmp_path)
    assert list(claims.read(tmp_path)) == ["S1", "S2", "S10"]


def descend(design, targets, rate, steps):
    w, losses = np.zeros((design.shape[1], targets.shape[1])), []
    best = np.linalg.lstsq(design, targets, rcond=None)[0]
    for _ in range(steps + 1):
        losses.append(np.sum((design @ (w - best)) ** 2))
        w = w - rate * design.T @ (design @ w - targets) / len(design)
    return np.array(losses) / losses[0]


def test_the_exact_excess_loss_is_that_of_real_descent():
    inputs, targets = experiments.subset(data.wine(), 0)
    inputs = (inputs - inputs.mean(0)) / inputs.std(0)
    problem = experiments.quadratic(inputs, targets)
    rate = 1.5 / problem.eigenvalues.max()
    design = np.column_stack([np.ones(len(inputs)), inputs])
    want = descend(design, targets, rate, 30)
    assert np.allclose(experiments.excess_loss(problem, rate, np.arange(31)), want, rtol=1e-8)
    steps = experiments.steps_to_level(problem, 0.01)
    rates = experiments.RATES / problem.eigenvalues.max()
    left = np.array([descend(design, targets, r, steps) for r in rates])
    assert (left[:, -1] <= 0.01).any() and not (left[:, -2] <= 0.01).any()


def test_adam_is_that_of_torch():
    import torch

    inputs, targets = experiments.subset(data.wine(), 0)
    inputs = (inputs - inputs.mean(0)) / inputs.std(0)
    design = torch.tensor(np.column_stack([np.ones(len(inputs)), inputs]))
    best = torch.linalg.lstsq(design, torch.tensor(targets)).solution
    w = torch.zeros_like(best, requires_grad=True)
    optimizer = torch.optim.Adam([w], lr=0.1)
    start = torch.sum((design @ best) ** 2)
    steps = 0
    while torch.sum((design @ (w.detach() - best)) ** 2) > 0.01 * start:
        steps += 1
        optimizer.zero_grad()
        loss = torch.sum((design @ w - torch.tensor(targets)) ** 2) / (2 * len(design))
        loss.backward()
        optimizer.step()
    ours = experiments.adam_steps([(inputs, targets)], [0.1, 1e-9], 0.01, 200)
    assert ours[0, 0] == steps > 10 and np.isinf(ours[0, 1])


def test_curves_are_looked_at_where_they_say():
    wine = data.wine()
    x = (wine.x - wine.x.mean(0)) / wine.x.std(0)
    rates = [1e-3, 0.3, 1e6]
    curves = experiments.train_curves(x, wine.y, [13, 8, 3], rates, [1, 2], 60, 20, every=20)
    assert curves.steps.tolist() == [20, 40, 60] and curves.loss.shape == (2, 3, 3)
    assert experiments.fastest_rate(curves, rates, 0.9) == (0.3, True)
    later = curves._replace(loss=curves.loss[:, 1:], accuracy=curves.accuracy[:, 1:])
    assert experiments.fastest_rate(later, rates[1:], 0.9) == (
        0.3,
        False,
    )
    first = experiments.first_step(curves, 0.9)
    assert np.isin(first[:, 1], curves.steps).all() and np.isinf(first[:, 0]).all()


def test_accuracy_by_source_of_statistics_uses_that_source():
    def standardize(x, reference):
        std = reference.std(0)
        return (x - reference.mean(0)) / np.where(std > 0, std, 1)

    wine = data.wine()
    result = experiments.test_accuracy(wine, standardize, range(3), 2 / 3, batches=(1, 8))
    assert set(result) == {
        "train",
        "train and test",
        "own batch of 1",
        "own batch of 8",
        "own batch of one class",
    }
    assert result["train"].shape == (3,) and result["train"].min() > 0.93
    assert len(set(result["own batch of 1"])) == 1  # zeros: always the same class


def test_every_colour_has_contrast_on_white_and_a_marker():
    for name, color in plots.COLORS.items():
        channels = np.array([int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)])
        linear = np.where(
            channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4
        )
        assert 1.05 / (linear @ [0.2126, 0.7152, 0.0722] + 0.05) >= 4.5, name
    assert len(set(plots.MARKERS.values())) == len(plots.MARKERS)


def test_figures_draw_what_they_are_given():
    fig, ax = plt.subplots()
    plots.points(ax, [1.0], [stats.Estimate(2.0, 1.0, 4.0)], "raw")
    plots.band(ax, [0, 1], [(1, 0, 2), (2, 1, 3)], "standardized")
    before = len(ax.lines)
    plots.guess_line(ax, None, [100.0], "guess")
    assert len(ax.lines) == before
    plots.guess_line(ax, 10, [100.0], "guess")
    assert ax.lines[-1].get_ydata()[0] == 10.0
    x = np.array([[1.0, 0.0], [0.0, 2.0], [1.0, 1.0]])
    plots.loss_surface(ax, x, np.array([1.0, 2.0, 1.5]), np.zeros((3, 2)), "raw")
    plt.close(fig)
