"""Fit the linear models of `kernels.beats`, and cross-validate them by record.

Run it with the folder of databases (default: VIGIE_ECG, or ``../shared/ecg`` beside the project)::

    python -m bench.accuracy.fit_beats

Logistic regression with an L2 penalty on standardised inputs. Every record and class weighs the square root
of its beats, both classes the same in sum: a record full of ectopic beats must not write the rule for all.
Leave one record out: each record is judged by weights fitted to the others. Penalty and limit are one number
each for all records, chosen on the cross-validated figures at plateaus.
"""

import argparse
import os
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

from bench.accuracy.beats import SKIP_S, classify, count, predictivity, sensitivity, truth
from bench.accuracy.qrs import PACED, detect, read
from kernels import beats

__all__ = ["fit", "main"]

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

PENALTY_V, LIMIT_V = 0.02, 1.85
PENALTY_S, LIMIT_S = 0.01, 1.15


def _weights(positive: Flags, record: I64) -> F64:
    weight = np.zeros(len(positive))
    for one in np.unique(record):
        for side in (False, True):
            mine = (record == one) & (positive == side)
            weight[mine] = max(int(mine.sum()), 1) ** -0.5
    for side in (False, True):
        weight[positive == side] /= 2.0 * weight[positive == side].sum()
    return weight


def fit(inputs: F64, positive: Flags, record: I64, penalty: float) -> F64:
    """Give the weight of each input, then the constant."""
    mean, spread = inputs.mean(axis=0), inputs.std(axis=0) + 1e-9
    x, weight, sign = (inputs - mean) / spread, _weights(positive, record), np.where(positive, 1.0, -1.0)

    def loss(at: F64) -> tuple[float, F64]:
        margin = sign * (x @ at[:-1] + at[-1])
        slope = -weight * sign / (1.0 + np.exp(np.clip(margin, -500, 500)))
        value = float(weight @ np.logaddexp(0.0, -margin) + 0.5 * penalty * at[:-1] @ at[:-1])
        return value, np.append(x.T @ slope + penalty * at[:-1], slope.sum())

    found = minimize(loss, np.zeros(inputs.shape[1] + 1), jac=True, method="L-BFGS-B").x
    weights: F64 = np.append(found[:-1] / spread, found[-1] - (found[:-1] * mean / spread).sum())
    return weights


def _left_out(inputs: F64, positive: Flags, keep: Flags, record: I64, penalty: float) -> F64:
    out = np.zeros(len(inputs))
    for one in np.unique(record):
        others = keep & (record != one)
        w = fit(inputs[others], positive[others], record[others], penalty)
        out[record == one] = inputs[record == one] @ w[:-1] + w[-1]
    return out


def main(arguments: list[str] | None = None) -> int:
    """Print figures and weights."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    default = os.environ.get("VIGIE_ECG") or Path(__file__).parents[3] / "shared" / "ecg"
    parser.add_argument("--ecg", type=Path, default=Path(default), help="folder of the databases")
    options = parser.parse_args(arguments)
    all_inputs, all_labels, all_records, all_late, all_classes, all_missed = [], [], [], [], [], []
    for header in sorted((options.ecg / "mitdb").glob("*.hea")):
        if header.stem in PACED:
            continue
        path = header.with_suffix("")
        samples, rate, gain, *_ = read(path)
        found, decided = detect(samples, rate, gain)
        rows, inputs = classify(samples, rate, gain, found, decided)
        labels, missed, missed_at = truth(path, found, rate)
        all_inputs.append(inputs)
        all_labels.append(labels)
        all_records.append(np.full(len(found), int(header.stem)))
        all_late.append(found >= round(SKIP_S * rate))
        all_classes.append(rows[:, 1])
        all_missed.append(missed[missed_at >= round(SKIP_S * rate)])
    x, labels, record = np.concatenate(all_inputs), np.concatenate(all_labels), np.concatenate(all_records)
    late, given, missed = np.concatenate(all_late), np.concatenate(all_classes), np.concatenate(all_missed)
    xv, xs = x[:, : beats.VENTRICULAR], x[:, beats.VENTRICULAR : beats.EARLY]
    keep_v, keep_s = ~np.isin(labels, list("FQX")), np.isin(labels, list("NS"))
    early = x[:, beats.EARLY] > beats.LEAST_EARLY
    v = _left_out(xv, labels == "V", keep_v, record, PENALTY_V) > LIMIT_V
    s = (_left_out(xs, labels == "S", keep_s, record, PENALTY_S) > LIMIT_S) & early
    call = np.where(given == beats.Q, "Q", np.where(v, "V", np.where(s, "S", "N")))
    counts = count(labels[late], call[late], missed)
    for name, three in (("V", counts[:3]), ("S", counts[3:])):
        print(f"{name} left out: Se {sensitivity(three):.1f} P+ {predictivity(three):.1f}", three.tolist())
    for name, part, keep, penalty, limit in (
        ("V", xv, keep_v, PENALTY_V, LIMIT_V),
        ("S", xs, keep_s, PENALTY_S, LIMIT_S),
    ):
        w = fit(part[keep], labels[keep] == name, record[keep], penalty)
        w[-1] -= limit
        print(f"_WEIGHTS_{name} = ({', '.join(f'{value:.3f}' for value in w)})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
