"""A prefix of about sixty packages from fetched archives, against uv doing the same alone."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from wardian.events import silent
from wardian.sdk.workspace import Workspace
from wardian.tools.disk import make_writable

if TYPE_CHECKING:
    from bench.conftest import Ratio

BIN = Path(sys.executable).parent
PACKAGES = (
    "scikit-learn\npandas\nmatplotlib\njupyter-client\nipykernel\nrequests\nflask\nsqlalchemy\nrich\npydantic\nhttpx\npytest\n"
)


def test_prefix_of_sixty_packages(ratio: Ratio, tmp_path: Path) -> None:
    (tmp_path / "requirements.in").write_text(PACKAGES)
    lock = tmp_path / "requirements.txt"
    environ = {**os.environ, "WARDIAN_HOME": str(tmp_path / "home")}
    uv = str(BIN / "uv")
    workspace = Workspace.open(home=tmp_path / "home", listener=silent)
    version = workspace.environments.register_file(tmp_path / "requirements.in", format_name="requirements")
    prefix, _ = workspace.environments.build(version)
    found = workspace.environments.find_lock(version)
    assert found is not None
    packages = len(found.of_kind("wheel", "sdist"))
    assert 50 <= packages <= 80, packages
    subprocess.run(
        [uv, "pip", "compile", "-q", "--generate-hashes", "--no-header", "-o", str(lock), str(tmp_path / "requirements.in")],
        env=environ,
        check=True,
    )
    peer_venv = tmp_path / "peer"

    def remove_ours() -> None:
        assert workspace.parts.prefixes.remove(prefix.key[:32])

    def ours() -> None:
        workspace.environments.build(version)

    def remove_peer() -> None:
        if peer_venv.exists():
            make_writable(peer_venv)
            shutil.rmtree(peer_venv)

    def peer() -> None:
        subprocess.run([uv, "venv", "-q", str(peer_venv)], env=environ, check=True)
        subprocess.run(
            [uv, "pip", "sync", "-q", str(lock), "--python", str(peer_venv / "bin" / "python")], env=environ, check=True
        )

    peer()
    remove_peer()
    ratio(f"prefix of {packages} packages from fetched archives (uv)", ours, peer, limit=1.5, peer_name="uv venv + uv pip sync",
          before_ours=remove_ours, before_peer=remove_peer)  # fmt: skip
