"""`wardian env create -f DIR` of an MLflow model."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.support.cli import Cli


def test_an_mlflow_model_is_a_definition(cli: Cli) -> None:
    cli.write("model/MLmodel", "flavors: {python_function: {env: {virtualenv: python_env.yaml}}}\n")
    cli.write("model/python_env.yaml", "python: 3.12.1\nbuild_dependencies: [wheel]\ndependencies: [-r requirements.txt]\n")
    cli.write("model/requirements.txt", "scikit-learn==1.5.0\n")
    done = cli.ok("env", "create", "served", "-f", "model", "--json")
    assert [loss["value"] for loss in done.document["losses"]] == ["wheel"]
    assert "python_env.yaml, which MLflow takes" in done.err
    assert "scikit-learn==1.5.0" in cli.ok("env", "export", "served", "--to", "source").out
