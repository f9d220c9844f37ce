"""Train a classifier on scikit-learn's breast cancer data, check it on a hold-out, and keep model and metrics."""

from __future__ import annotations

import json
import os
from pathlib import Path

import joblib
import sklearn
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, roc_auc_score
from sklearn.model_selection import cross_val_score, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

SEED = int(os.environ.get("SEED", "20200711"))


def main() -> None:
    """Train, check, write ``model.joblib`` and ``metrics.json`` into the run's outputs."""
    data = load_breast_cancer()
    train_x, hold_x, train_y, hold_y = train_test_split(
        data.data, data.target, test_size=0.25, random_state=SEED, stratify=data.target
    )
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000, random_state=SEED))
    folds = cross_val_score(model, train_x, train_y, cv=5)
    model.fit(train_x, train_y)

    outputs = Path(os.environ.get("WARDIAN_OUTPUT_DIR", "outputs"))
    outputs.mkdir(parents=True, exist_ok=True)
    joblib.dump(model, outputs / "model.joblib")

    # the hold-out is scored with the model as it was written: what is kept is what was measured
    kept = joblib.load(outputs / "model.joblib")
    metrics = {
        "accuracy": round(float(accuracy_score(hold_y, kept.predict(hold_x))), 4),
        "roc_auc": round(float(roc_auc_score(hold_y, kept.predict_proba(hold_x)[:, 1])), 4),
        "cross_validation_accuracy": round(float(folds.mean()), 4),
        "train_rows": len(train_y),
        "hold_out_rows": len(hold_y),
        "seed": SEED,
        "scikit_learn": sklearn.__version__,
    }
    (outputs / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")
    print(f"accuracy {metrics['accuracy']} on {metrics['hold_out_rows']} rows never seen, ROC AUC {metrics['roc_auc']}")


if __name__ == "__main__":
    main()
