"""A build context that needs no Wardian: a Dockerfile, and beside it what goes on an environment's image."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from wardian.errors import InvalidInput
from wardian.serving.image_layer import SERVER
from wardian.serving.layer_tasks import APP, MODEL, SERVE

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from wardian.serving.image_layer import Start

ENVIRONMENT_ARCHIVE = "environment.tar"
_NAME = re.compile(r"[A-Za-z_][\w.-]*", re.ASCII)


def dockerfile(base: str, start: Start, parts: Collection[str], *, title: str, loads: bool) -> str:
    """Return the Dockerfile that puts ``parts`` on the image ``base``.

    Args:     base: what ``FROM`` names.  parts: of ``serve``, ``model``, ``app``, which lie beside it.
              title: what it is, for people.  loads: ``base`` is in ``environment.tar``, and has to be loaded first.
    Raises:   InvalidInput: code ``bad_variable``: a value of several lines, which a Dockerfile cannot hold.
    """
    lines = [f"# {title}"]
    if loads:
        lines += ["# The environment's image is in no registry: it comes along, and is loaded once, before the build.",
                  f"#   docker load -i {ENVIRONMENT_ARCHIVE}    (or: podman load -i {ENVIRONMENT_ARCHIVE})"]  # fmt: skip
    lines += ["#   docker build -t NAME .", f"#   docker run -p {start.port}:{start.port} NAME", f"FROM {base}"]
    for part, target in (("serve", SERVE), ("model", MODEL), ("app", APP)):
        if part in parts:
            lines.append(f"COPY {part}/ /{target}/")
    lines += _pairs("ENV", start.variables)
    lines += _pairs("LABEL", start.labels)
    lines += [f"EXPOSE {start.port}", f"ENTRYPOINT {json.dumps([start.python, SERVER])}", "CMD []"]
    return "\n".join(lines) + "\n"


def _pairs(word: str, values: Mapping[str, str]) -> list[str]:
    found = []
    for name, value in sorted(values.items()):
        if not _NAME.fullmatch(name) or "\n" in value or "\r" in value or "\0" in value:
            raise InvalidInput(f"the variable `{name[:80]}` has a name or a value that a Dockerfile cannot hold", code="bad_variable",
                               hint="give it when the container starts, or make the image itself: `--to`, `-o`")  # fmt: skip
        escaped = re.sub(r'([\\"$])', r"\\\1", value)
        found.append(f'{word} {name}="{escaped}"')
    return found
