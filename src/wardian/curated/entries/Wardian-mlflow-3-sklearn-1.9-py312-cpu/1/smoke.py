"""Write a model with MLflow, load it as a Python function, and score a table with it."""

import tempfile
from pathlib import Path

import mlflow.pyfunc
import mlflow.sklearn
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

data = load_iris(as_frame=True)
model = LogisticRegression(max_iter=500).fit(data.data, data.target)
with tempfile.TemporaryDirectory() as directory:
    place = Path(directory) / "model"
    mlflow.sklearn.save_model(model, str(place), input_example=data.data.head(2))
    loaded = mlflow.pyfunc.load_model(str(place))
    found = loaded.predict(data.data)
accuracy = (found == data.target).mean()
assert accuracy > 0.9, accuracy
print(f"smoke: mlflow {mlflow.__version__}, accuracy {accuracy:.3f}")
