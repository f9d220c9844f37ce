# /// script
# requires-python = ">=3.11"
# dependencies = ["scikit-learn>=1.5"]
# ///
"""A script that says itself what it needs (PEP 723): `wardian run script_pep723.py`."""

from __future__ import annotations

from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.svm import SVC

digits = load_digits()
train_x, hold_x, train_y, hold_y = train_test_split(digits.data, digits.target, test_size=0.25, random_state=0)
model = SVC(gamma=0.001).fit(train_x, train_y)
print(f"accuracy {model.score(hold_x, hold_y):.4f} on {len(hold_y)} digits never seen")
