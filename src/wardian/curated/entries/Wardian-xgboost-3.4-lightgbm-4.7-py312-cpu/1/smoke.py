"""Train both kinds of boosted trees on data that scikit-learn ships."""

import lightgbm
import xgboost
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split

data = load_breast_cancer(as_frame=True)
train_x, hold_x, train_y, hold_y = train_test_split(data.data, data.target, random_state=0, stratify=data.target)
for model in (
    xgboost.XGBClassifier(n_estimators=50, max_depth=3, random_state=0),
    lightgbm.LGBMClassifier(n_estimators=50, random_state=0, verbose=-1),
):
    accuracy = model.fit(train_x, train_y).score(hold_x, hold_y)
    assert accuracy > 0.9, (model, accuracy)
    print(f"smoke: {type(model).__name__} accuracy {accuracy:.3f}")
