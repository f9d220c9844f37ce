"""Train a classifier on data that scikit-learn ships, and predict with the model that was written."""

import os
from pathlib import Path

import joblib
import pandas as pd
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

data = load_breast_cancer(as_frame=True)
assert isinstance(data.data, pd.DataFrame)
train_x, hold_x, train_y, hold_y = train_test_split(data.data, data.target, random_state=0, stratify=data.target)
model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(train_x, train_y)
kept = Path(os.environ.get("WARDIAN_OUTPUT_DIR", ".")) / "model.joblib"
joblib.dump(model, kept)
accuracy = joblib.load(kept).score(hold_x, hold_y)
assert accuracy > 0.95, accuracy
print(f"smoke: accuracy {accuracy:.3f}")
