"""Golden cases of length control on data of our own: writes length_control.json beside this file.

Made with Python 3.11.7, scikit-learn 1.9.1, numpy 2.4.6 (x86-64). The pairs are random; the estimator is scikit-learn's
LogisticRegressionCV (liblinear, L1), set up as alpaca_eval 0.6.6 sets it up.
"""

import json
import pathlib
import warnings

import numpy
import sklearn
from sklearn.linear_model import LogisticRegressionCV
from sklearn.model_selection import GroupKFold

warnings.filterwarnings("ignore")  # penalty="l1" is deprecated, and what upstream passes

FOLDS = 5
GAMED_WEIGHT = 0.1


def held_out_score(estimator, x, y, sample_weight):
    """Log-likelihood of the fractional targets, a mean over rows before duplication."""
    q = numpy.clip(estimator.predict_proba(x)[:, 1], 1e-15, 1 - 1e-15)
    return (sample_weight * numpy.where(y == 1, numpy.log(q), numpy.log(1 - q))).sum() / (len(y) / 2)


def fit(design, rows, gamed):
    """Rows are (preference or None, length difference, difficulty); gamed lengths are standardised already."""
    delta = numpy.array([r[1] for r in rows], float)
    difficulty = numpy.array([r[2] for r in rows], float)
    x = numpy.column_stack([numpy.tanh(delta / delta.std(ddof=1)), difficulty, numpy.ones(len(rows))])
    y = numpy.array([numpy.nan if r[0] is None else r[0] for r in rows])
    weight = numpy.ones(len(rows))
    if design == "length_controlled_v1":
        g = numpy.array(gamed)
        x = numpy.vstack([numpy.column_stack([numpy.tanh(g[:, 1]), g[:, 2], numpy.zeros(len(g))]), x])
        y = numpy.concatenate([g[:, 0], y])
        weight = numpy.concatenate([numpy.full(len(g), GAMED_WEIGHT), weight])
    columns = [0, 2] if design == "length_controlled_minimal" else [0, 1, 2]
    kept = ~numpy.isnan(y)
    x, y, weight = x[kept][:, columns], y[kept], weight[kept]

    # A fractional target is one row of each label; both share a group, so they are held out together.
    n = len(y)
    doubled = numpy.vstack([x, x])
    labels = numpy.concatenate([numpy.ones(n), numpy.zeros(n)])
    groups = numpy.concatenate([numpy.arange(n), numpy.arange(n)])
    model = LogisticRegressionCV(
        Cs=10, cv=list(GroupKFold(n_splits=FOLDS).split(doubled, labels, groups)), penalty="l1", solver="liblinear",
        fit_intercept=False, tol=1e-4, max_iter=100, random_state=123, scoring=held_out_score)
    model.fit(doubled, labels, sample_weight=numpy.concatenate([weight * y, weight * (1 - y)]))

    beta = model.coef_[0]
    gamma = 0 if design == "length_controlled_minimal" else beta[1]
    q = 1 / (1 + numpy.exp(-(gamma * difficulty + beta[-1])))
    return {
        "design": design,
        "coefficients": beta.tolist(),
        "inverse_regularization": float(model.C_[0]),
        "cross_validation_scores": numpy.squeeze(model.scores_[1]).tolist(),
        "win_rate": float(100 * q.mean()),
        "standard_error": float(100 * q.std(ddof=1) / len(q) ** 0.5),
    }


def pairs(random, count, strength, nulls, discrete):
    difficulty = random.normal(-0.06, 1.5, count)
    delta = random.integers(-2500, 2500, count)
    logit = strength + 0.6 * difficulty - 1.1 * numpy.tanh(delta / 1400) + random.normal(0, 1, count)
    preference = 1 / (1 + numpy.exp(-logit))
    if discrete:
        preference = numpy.round(preference)
    return [
        [None if i < nulls else round(float(p), 6), int(d), round(float(k), 6)]
        for i, (p, d, k) in enumerate(zip(preference, delta, difficulty))
    ]


def main():
    assert sklearn.__version__ == "1.9.1", sklearn.__version__
    random = numpy.random.default_rng(805)
    gamed = [[p, round(d / 1400, 6), k] for p, d, k in pairs(random, 90, 0.0, 0, False)]
    inputs = {
        "weak": pairs(random, 60, -1.5, 0, False),
        "strong with missing verdicts": pairs(random, 77, 1.2, 6, False),
        "discrete verdicts": pairs(random, 100, 0.3, 3, True),
        "five prompts": pairs(random, 5, 0.0, 0, False),
        "two prompts": pairs(random, 2, 0.0, 0, False),
    }
    designs = ["length_controlled_v1", "length_controlled_noreg", "length_controlled_minimal"]
    cases = [
        {
            "name": name,
            "rows": rows,
            "fits": [fit(d, rows, gamed) for d in designs if d == "length_controlled_v1" or len(rows) >= 50],
        }
        for name, rows in inputs.items()
    ]
    versions = {"scikit-learn": sklearn.__version__, "numpy": numpy.__version__}
    out = pathlib.Path(__file__).with_name("length_control.json")
    out.write_text(json.dumps({"versions": versions, "gamed": gamed, "cases": cases}) + "\n")


if __name__ == "__main__":
    main()
