"""What goes along with a run in pods that share nothing: a login, and inputs."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from wardian.errors import InvalidInput
from wardian.image.registry_auth import RegistryLogin
from wardian.run.configuration import Command, RunConfiguration
from wardian.sdk.carried_inputs import carried_inputs
from wardian.sdk.kubernetes_way import login_file


@pytest.mark.parametrize(
    ("login", "entry"),
    [
        (RegistryLogin("u", "p:q"), {"auth": base64.b64encode(b"u:p:q").decode()}), (RegistryLogin("", "", "i"), {"identitytoken": "i"}),
        (RegistryLogin(bearer_token="b"), {"registrytoken": "b"}),
    ],
)  # fmt: skip
def test_logins_are_as_docker_keeps_them(login: RegistryLogin, entry: dict[str, str]) -> None:
    assert json.loads(login_file("r.test:5000", login) or b"") == {"auths": {"r.test:5000": entry}}
    assert list(json.loads(login_file("docker.io", login) or b"")["auths"]) == ["https://index.docker.io/v1/"]
    assert login_file("r.test", None) is None


def test_inputs_go_along_unless_they_are_on_a_volume(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/a").write_bytes(b"x" * 600)
    (tmp_path / "one").write_bytes(b"x" * 300)
    options = {"volumes": "sets:/data:ro"}
    inputs = {"data": tmp_path / "data", "one": tmp_path / "one", "sets": Path("/data/2024"), "all": Path("/data")}
    configuration = RunConfiguration(Command("program", "true"), inputs=inputs)
    assert carried_inputs(configuration, options, 900) == {"inputs/data": tmp_path / "data", "inputs/one": tmp_path / "one"}
    with pytest.raises(InvalidInput, match="`one` is too large") as caught:
        carried_inputs(configuration, options, 899)
    assert "--option volumes=" in (caught.value.hint or "")
    with pytest.raises(InvalidInput, match="`sets` is neither here nor on a volume"):
        carried_inputs(configuration, {}, 10_000)
