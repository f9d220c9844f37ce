"""What `doctor` asks beyond Wardian's own directories: interpreters, indexes, channels, git, container engines, registries."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from wardian.errors import BadArchive, Denied, SolveFailed, WardianError
from wardian.sdk.doctor import FAILED, OK, WARNING, Check

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from wardian.bootstrap import Parts

ANSWER_WITHIN_S = 4
ASKED_FOR = "pip"  # what every index has that serves more than its own packages


def interpreters(parts: Parts) -> Check:
    """Look for Pythons: the machine's own, and standalone ones that are unpacked."""
    from wardian.bootstrap import Parts

    quick = Parts(parts.settings, environ={**parts.environ, "PATH": without_shims(parts.environ)})
    own = [f"{found.version} ({found.path})" for found in quick.uv.installed_pythons()]
    standalone = sorted(
        {ready.facts["python"] for _, ready, _ in parts.prefixes.entries() if ready and "python" in ready.facts}
    )
    found = "; ".join([*own, *([f"standalone {', '.join(standalone)}"] if standalone else [])])
    if not found:
        return Check(
            "interpreters", WARNING, "none on this machine", "standalone ones are fetched where the catalogue can be reached"
        )
    return Check("interpreters", OK, found)


def without_shims(environ: Mapping[str, str]) -> str:
    """Return ``PATH`` with the Pythons that pyenv's shims stand for in their place: each shim takes long, most only to fail."""
    places: list[str] = []
    for place in environ.get("PATH", "").split(os.pathsep):
        root = Path(place).parent
        if Path(place).name != "shims" or not (root / "versions").is_dir():
            places.append(place)
            continue
        chosen = environ.get("PYENV_VERSION", "").split(":")
        if chosen == [""]:
            file = root / "version"
            chosen = file.read_text(errors="replace").split() if file.is_file() else []
        places += [str(root / "versions" / one / "bin") for one in chosen if one and one != "system"]
    return os.pathsep.join(places)


def indexes(parts: Parts) -> Check:
    """Ask every package index, as a solve would."""
    if parts.settings.offline:
        return Check("indexes", OK, "skipped: offline")
    aliases = ["pypi", *(alias for alias in parts.settings.indexes if alias != "pypi")]
    return _combined("indexes", {alias: _ask_index(parts, alias) for alias in aliases},
                     "check the network, HTTPS_PROXY and `wardian config show`; WARDIAN_OFFLINE=1 works with what is here")  # fmt: skip


def _ask_index(parts: Parts, alias: str) -> tuple[str, str]:
    from wardian.definition.platform import this_platform
    from wardian.lock.indexes import plan_indexes
    from wardian.tools.http import without_credentials

    options = [] if alias == "pypi" else [f"--index-url {alias}"]
    plan = plan_indexes(
        options, configured=parts.settings.indexes, credentials=parts.credentials, environ=parts.environ, strategy="first-index"
    )
    url = without_credentials(plan.environ["UV_DEFAULT_INDEX"]) if "UV_DEFAULT_INDEX" in plan.environ else "as uv is set up"
    seconds = str(ANSWER_WITHIN_S)
    environ = {**plan.environ, "UV_HTTP_TIMEOUT": seconds, "UV_HTTP_CONNECT_TIMEOUT": seconds, "UV_HTTP_RETRIES": "0"}
    try:
        parts.uv.compile(f"{ASKED_FOR}\n", python_version="3.12", uv_platform=this_platform().uv, python=Path(sys.executable),
                         arguments=[*plan.arguments, "--no-deps", "--no-cache"], index_environ=environ)  # fmt: skip
    except SolveFailed as error:
        if "not found in" not in error.message:
            return FAILED, f"{alias} ({url}): {error.message.splitlines()[-1].strip()}"
        if alias == "pypi":
            return WARNING, f"{alias} answers ({url}), but does not know `{ASKED_FOR}`: is it the URL of a simple index?"
        return OK, f"{alias} answers ({url})"
    except Denied as error:
        return FAILED, f"{alias} wants a login ({url}): {error.hint}"
    except WardianError as error:
        return FAILED, f"{alias} does not answer ({url}): {error.message.splitlines()[-1].strip()}"
    return OK, f"{alias} answers ({url})"


def channels(parts: Parts) -> Check:
    """Ask every configured conda channel."""
    known = parts.settings.channels
    if not known:
        return Check("channels", OK, "none configured: names such as conda-forge mean their public places")
    if parts.settings.offline:
        return Check("channels", OK, f"skipped: offline ({', '.join(known)})")
    return _combined("channels", {alias: _ask_channel(parts, alias) for alias in known},
                     "check the URL with `wardian config show`, the network, and `wardian secret list`")  # fmt: skip


def _ask_channel(parts: Parts, alias: str) -> tuple[str, str]:
    from wardian.bootstrap import Parts
    from wardian.definition.environment import PythonSection
    from wardian.lock.conda_channels import plan_channels

    section = PythonSection(manager="conda", channels=(alias,))
    plan = plan_channels(section, configured=parts.settings.channels, mirrors=parts.settings.mirrors, environ=parts.environ)
    channel = plan.get(alias)
    http = Parts(replace(parts.settings, timeout_s=ANSWER_WITHIN_S), environ=parts.environ).http
    try:
        http.download(f"{channel.download_url}/noarch/repodata.json", io.BytesIO(), limit_bytes=1)
    except BadArchive:  # it answers, with more than is wanted here
        return OK, f"{alias} answers ({channel.url})"
    except WardianError as error:
        return FAILED, f"{alias}: {error.message}"
    return WARNING, f"{alias} answers with nothing ({channel.url})"


def git(parts: Parts) -> Check:
    """Look for git, which requirements from repositories need."""
    program = shutil.which("git", path=parts.environ.get("PATH"))
    if program is None:
        return Check("git", WARNING, "not found", "install git: requirements from repositories need it")
    done = subprocess.run(
        [program, "--version"], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, timeout=ANSWER_WITHIN_S
    )
    return Check("git", OK, done.stdout.strip() or program)


def engines(parts: Parts) -> Check:
    """Try out the container engines; local runs need none."""
    from wardian.image.engine_list import ENGINES

    here = [name for name in ENGINES if shutil.which(name, path=parts.environ.get("PATH"))]
    if not here:
        return Check("engines", OK, "none; local runs need none")
    checks = [parts.images.engine(name).check() for name in here]
    found = "; ".join(f"{one.name} {one.version}".strip() + (f" ({one.detail})" if one.detail else "") for one in checks)
    if any(one.works for one in checks):
        return Check("engines", OK, found)
    return Check("engines", WARNING, found, "local runs need none; `run -t podman` and images alone need one that works")


def registries(parts: Parts) -> Check:
    """Ask the configured registries, as a look-up would."""
    from wardian.bootstrap import Parts

    known = {"registry": parts.settings.registry, "global_registry": parts.settings.global_registry}
    wanted = {name: text for name, text in known.items() if text}
    if not wanted:
        return Check("registries", OK, "none configured: images and shared environments stay on this machine")
    if parts.settings.offline:
        return Check("registries", OK, f"skipped: offline ({', '.join(wanted.values())})")
    quick = Parts(replace(parts.settings, timeout_s=ANSWER_WITHIN_S), environ=parts.environ)
    return _combined("registries", {name: _ask_registry(quick, name, text) for name, text in wanted.items()},
                     "check the name with `wardian config show`, the network, and `wardian secret list`")  # fmt: skip


def _ask_registry(parts: Parts, name: str, text: str) -> tuple[str, str]:
    try:
        parts.images.named(text).find("wardian-doctor")  # nothing has this tag: "not there" is an answer
    except WardianError as error:
        return FAILED, f"{name}: {error.message}"
    return OK, f"{name} answers ({text})"


def targets(parts: Parts) -> Check:
    """List the targets that were given names, and see to it that this Wardian knows their kinds; none of them is contacted."""
    from wardian.run.targets.kinds import KINDS

    if not (parts.directory / "workspace.db").exists():
        return Check("targets", OK, "none with names of their own")
    known = parts.targets.list()
    unknown = [f"{one.name} ({one.kind})" for one in known if one.kind not in KINDS]
    if unknown:
        return Check(
            "targets",
            WARNING,
            f"of kinds that this Wardian does not have: {', '.join(unknown)}",
            "a newer Wardian made them: use that one",
        )
    if not known:
        return Check("targets", OK, "none with names of their own")
    return Check(
        "targets", OK, f"{', '.join(f'{one.name} ({one.kind})' for one in known)}: `wardian target check NAME` tries one out"
    )


OUTSIDE: Mapping[str, Callable[[Parts], Check]] = {
    "interpreters": interpreters, "indexes": indexes, "channels": channels, "git": git, "engines": engines, "registries": registries,
    "targets": targets,
}  # fmt: skip


def _combined(name: str, answers: Mapping[str, tuple[str, str]], hint: str) -> Check:
    states = {state for state, _ in answers.values()}
    state = next(one for one in (FAILED, WARNING, OK) if one in states)
    return Check(name, state, "; ".join(text for _, text in answers.values()), "" if state == OK else hint)
