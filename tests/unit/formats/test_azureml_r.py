from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from wardian import formats

if TYPE_CHECKING:
    from pathlib import Path

    from wardian.formats.ledger import Loss

CONDA = "in a conda file: "


def losses(place: Path, section: Any) -> dict[str, Loss]:
    """What a definition of SDK v1 with this R section loses of it."""
    document = {
        "name": "stats",
        "python": {"userManagedDependencies": True},
        "docker": {"baseImage": "rocker/r-ver:4.2"},
        "r": section,
    }
    path = place / "azureml_environment.json"
    path.write_text(json.dumps(document, indent=1))
    return {loss.field: loss for loss in formats.read(path).losses if loss.field.split(".")[0] == "r"}


@pytest.mark.parametrize(
    ("section", "field", "hint"),
    [
        ({"rVersion": "4.0.2"}, "r.rVersion", f"{CONDA}`r-base=4.0.2`"),
        ({"r_version": "4.0.2"}, "r.r_version", f"{CONDA}`r-base=4.0.2`"),
        ({"cranPackages": [{"name": "data.table", "version": "1.13.0"}]}, "r.cranPackages[0]", f"{CONDA}`r-data.table=1.13.0`"),
        ({"cranPackages": [{"name": "MASS", "version": "7.3-60"}]}, "r.cranPackages[0]", f"{CONDA}`r-mass=7.3_60`"),
        ({"cranPackages": [{"name": "caret"}]}, "r.cranPackages[0]", f"{CONDA}`r-caret`"),
        ({"cranPackages": ["caret"]}, "r.cranPackages[0]", f"{CONDA}`r-caret`"),
        ({"cranPackages": [{"name": "x`; rm"}]}, "r.cranPackages[0]", "install it in a Dockerfile, or in an image that has Rscript"),
        ({"cranPackages": {"name": "caret"}}, "r.cranPackages", f"{CONDA}`r-caret`"),
        ({"bioConductorPackages": ["limma"]}, "r.bioConductorPackages[0]", f"{CONDA}`bioconductor-limma`, of the channel bioconda"),
        ({"customUrlPackages": ["https://files.example.org/p_1.0.tar.gz"]}, "r.customUrlPackages[0]", "install it in a Dockerfile, or in an image that has Rscript"),
        ({"snapshotDate": "2020-10-01"}, "r.snapshotDate", "for packages of conda: `wardian env lock … --as-of 2020-10-01`"),
        ({"snapshotDate": "today; rm"}, "r.snapshotDate", None),
        ({"rscriptPath": "/opt/R/bin/Rscript"}, "r.rscriptPath", None),
        ({"newer": 1}, "r.newer", None),
        (["caret"], "r", None),
    ],
)  # fmt: skip
def test_each_thing_is_named_with_where_it_can_be_had(tmp_path: Path, section: Any, field: str, hint: str | None) -> None:
    found = losses(tmp_path, section)
    assert {name: loss.hint for name, loss in found.items()} == {field: hint}
    assert found[field].value
    assert found[field].line is not None


def test_tokens_are_left_out_and_what_says_nothing_is_no_loss(tmp_path: Path) -> None:
    found = losses(tmp_path, {
        "githubPackages": [{"repository": "a/b", "authToken": "fern-1842"}], "cranPackages": [], "rVersion": None, "userManaged": True,
    })  # fmt: skip
    assert [*found] == ["r.githubPackages[0]"]
    assert found["r.githubPackages[0]"].value == '{"repository": "a/b", "authToken": "***"}'
