"""Measure speed on one thread, print ratios from one run, write bench.json: `make bench`."""

import json
import os
import sys
import time
from pathlib import Path

ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
NETS = (((64, 32, 10), 32, 32), ((64, 100, 100, 100, 10), 60, 8))  # widths, batch, networks at once
KERNELS = ((256, 1024), (4096, 256), (64, 64, 32, 32))


def seconds(functions, repeats=7):
    """Median processor seconds of each function, taken in turn, so that all meet the same machine."""
    times = {name: [] for name in functions}
    for _ in range(repeats + 1):
        for name, function in functions.items():
            start = time.process_time()
            function()
            times[name].append(time.process_time() - start)
    return {name: sorted(values[1:])[repeats // 2] for name, values in times.items()}


def examples(widths):
    import numpy as np

    rng = np.random.default_rng(0)
    x = rng.normal(size=(1200, widths[0])).astype(np.float32)
    return x, rng.integers(0, widths[-1], 1200)


def torch_loop(widths, batch, steps):
    """Training of one network with torch modules, the batch norm of each hidden layer included."""
    import torch
    from torch import nn

    x, y = map(torch.tensor, examples(widths))
    parts = []
    for fan_in, fan_out in zip(widths[:-2], widths[1:-1], strict=True):
        parts += [nn.Linear(fan_in, fan_out, bias=False), nn.BatchNorm1d(fan_out), nn.ReLU()]
    model = nn.Sequential(*parts, nn.Linear(*widths[-2:]))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(steps):
        index = torch.randint(0, len(x), (batch,))
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x[index]), y[index]).backward()
        optimizer.step()


def bench_nets():
    """Microseconds per training step of one network: together, one after another, torch modules."""
    from bncourse import nets

    rows = []
    for widths, batch, count in NETS:
        x, y = examples(widths)

        def train(seeds, widths=widths, batch=batch, x=x, y=y):
            nets.train(x, y, widths, 0.1, seeds, 60, batch, batchnorm=True)

        took = seconds(
            {
                "ours": lambda: train(range(count)),  # noqa: B023
                "NumPy loop": lambda: [train([seed]) for seed in range(4)],  # noqa: B023
                "torch modules": lambda: torch_loop(widths, batch, 240),  # noqa: B023
            }
        )
        per_step = {
            "ours": took["ours"] / (60 * count),
            "NumPy loop": took["NumPy loop"] / 240,
            "torch modules": took["torch modules"] / 240,
        }
        rows.append(row("-".join(map(str, widths)) + f", batch {batch}, S = {count}", per_step))
    return rows


def bench_kernels():
    """Forward and backward of one batch norm, beside torch's and beside five copies of the memory."""
    import numpy as np
    import torch

    from bncourse.batchnorm import batchnorm_backward, batchnorm_forward

    rows = []
    for shape in KERNELS:
        rng = np.random.default_rng(0)
        x, dy = (rng.normal(size=shape).astype(np.float32) for _ in range(2))
        gamma, beta = np.ones((2, shape[1]), np.float32)
        tensor, slope = torch.tensor(x, requires_grad=True), torch.tensor(dy)
        weight, bias = (torch.tensor(a, requires_grad=True) for a in (gamma, beta))
        target = np.empty_like(x)

        def ours(x=x, dy=dy, gamma=gamma, beta=beta):
            batchnorm_backward(dy, batchnorm_forward(x, gamma, beta)[1])

        def torchs(tensor=tensor, slope=slope, weight=weight, bias=bias):
            y = torch.nn.functional.batch_norm(tensor, None, None, weight, bias, training=True)
            torch.autograd.grad(y, (tensor, weight, bias), slope)

        def copies(x=x, target=target):
            for _ in range(5):
                np.copyto(target, x)

        calls = max(1, 3_000_000 // x.size)
        took = seconds(
            {
                name: lambda f=f: [f() for _ in range(calls)]  # noqa: B023
                for name, f in (("ours", ours), ("torch", torchs), ("five copies", copies))
            }
        )
        per_call = {name: value / calls for name, value in took.items()}
        rows.append(row("batch norm " + "x".join(map(str, shape)), per_call))
    return rows


def bench_checks():
    """Milliseconds of a passed check and of a diagnosis, for each exercise on arrays."""
    from bncourse.exercises import chapters
    from bncourse.exercises.checks import judge
    from bncourse.exercises.engine import Exercise

    rows = []
    for exercise in [
        e for checks in chapters().values() for e in checks if isinstance(e, Exercise)
    ]:
        plain = exercise._replace(run=lambda answer, *args: answer(*args))
        wrong = frozenset([next(code for code in exercise.mistakes if code != "mutates_input")])

        def mistaken(*args, exercise=exercise, wrong=wrong):
            return exercise.oracle(wrong, *args)

        took = seconds(
            {
                "passed": lambda: judge(exercise, exercise.solution, 0),  # noqa: B023
                "diagnosed": lambda: judge(plain, mistaken, 0),  # noqa: B023
            }
        )
        rows.append({"what": exercise.name, **{f"{n} ms": 1e3 * v for n, v in took.items()}})
    return rows


def row(what, per_unit):
    ratios = {name: value / per_unit["ours"] for name, value in per_unit.items()}
    return {
        "what": what,
        "microseconds": {n: 1e6 * v for n, v in per_unit.items()},
        "ratios": ratios,
    }


def main():
    rows = bench_nets() + bench_kernels()
    print("One thread; times as multiples of ours, medians of 7 in turn.")
    for entry in rows:
        ratios = "  ".join(f"{n} {v:.2f}x" for n, v in entry["ratios"].items() if n != "ours")
        print(f"{entry['what']:40} ours {entry['microseconds']['ours']:8.1f} us   {ratios}")
    checks = bench_checks()
    for name in ("passed ms", "diagnosed ms"):
        times = sorted((entry[name], entry["what"]) for entry in checks)
        slow = ", ".join(f"{what} {ms:.1f}" for ms, what in times[:-4:-1])
        print(f"checks, {name:13} median {times[len(times) // 2][0]:.1f}, slowest: {slow}")
    path = Path("bench.json")
    path.write_text(json.dumps({"training and kernels": rows, "checks": checks}, indent=1) + "\n")
    print(f"Written to {path}.")


if __name__ == "__main__":
    wanted = {**{k: v for k, v in os.environ.items() if k != "OPENBLAS_CORETYPE"}, **ONE_THREAD}
    if wanted != dict(os.environ):  # threads and kernels are fixed when NumPy is first imported
        os.execve(sys.executable, [sys.executable, *sys.argv], wanted)
    import torch

    torch.set_num_threads(1)
    main()
