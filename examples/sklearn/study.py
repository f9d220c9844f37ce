"""Train in an environment three times from Python, each with another seed, and compare what the runs left: `python study.py`."""

from __future__ import annotations

import json
from pathlib import Path

from wardian import Environment, Workspace

HERE = Path(__file__).parent


def main() -> None:
    """Submit the runs, all at once; then wait for each, and say what it left and what it ran with."""
    workspace = Workspace.open()
    environment = Environment.from_file(HERE / "wardian.yaml")
    runs = [
        workspace.submit(environment, "train.py", source=HERE, variables={"SEED": seed}, experiment="seeds") for seed in "123"
    ]
    for run in runs:
        run.wait(check=True)
        metrics = json.loads((run.output_directory / "metrics.json").read_text(encoding="utf-8"))
        print(f"seed {metrics['seed']}: accuracy {metrics['accuracy']}")
    print("all of them with", {f"{run.environment} lock {run.lock.digest.short}" for run in runs if run.lock})


if __name__ == "__main__":
    main()
