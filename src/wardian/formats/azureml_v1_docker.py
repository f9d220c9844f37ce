"""The Docker section of an Azure ML environment as SDK v1 saves it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wardian.definition.docker_section import DockerSection
from wardian.definition.dockerfile import parse_dockerfile
from wardian.formats.azureml import LOGIN_HINT, image_without_login, is_empty, shown, without_secrets
from wardian.formats.azureml_writing import DOCKERFILE
from wardian.formats.source_text import read_source

if TYPE_CHECKING:
    from pathlib import Path

    from wardian.formats.ledger import Ledger
    from wardian.formats.yaml_fields import Fields
    from wardian.formats.yaml_text import YamlNode

_OF_A_RUN = {
    "enabled": ("a run says where it runs", "`wardian run -t podman|docker`"),
    "arguments": ("arguments of an engine are a run's", "`wardian run --option arguments='…'`"),
    "sharedVolumes": ("volumes are a run's", "`wardian run --input NAME=PATH`"),
    "shmSize": ("shared memory is a run's", "`wardian run --option shm=SIZE`"),
    "gpuSupport": ("devices are a run's", "`wardian run --gpus N`"),
}
_SAY_NOTHING = {"enabled": ("false",), "sharedVolumes": ("true",), "gpuSupport": ("false",), "shmSize": ("2g",)}
_KNOWN = ("baseImage", "baseDockerfile", "baseImageRegistry", "buildContext", "platform")
_LONGEST_PATH = 1000
_STARTS = ("FROM", "ARG")


def read_docker(root: Fields, ledger: Ledger, base: Path | None, *, in_its_directory: bool) -> DockerSection:
    """Return the Docker section of the environment ``root``.

    Args:     base: the directory of the file.  in_its_directory: whether a ``BaseDockerfile`` there belongs to it.
    """
    fields = root.table("docker", as_="docker")
    if fields is None:
        return DockerSection()
    for key, node in fields.node.entries:
        if key.value not in _KNOWN and not is_empty(node):
            _note_unread(fields, key.value, node, key.line, ledger)
    image = fields.text("baseImage", as_="docker.base_image")
    if image is not None:
        line, path = fields.places["docker.base_image"]
        image = image_without_login(image, ledger, path, line)
    text = _dockerfile(fields, ledger, base, image=image, in_its_directory=in_its_directory)
    _refuse_context(fields)
    if image is not None and text is not None:
        fields.faults.add("too_many_docker_options", "`baseImage` and `baseDockerfile` exclude each other", line=fields.places["docker.dockerfile"][0],
                          field="docker.baseDockerfile", hint="set the other one to null")  # fmt: skip
        text = None
    if image is not None:
        image = _with_registry(fields, image, ledger)
    return DockerSection(base_image=image, dockerfile=text, platform=_platform(fields))


def _note_unread(fields: Fields, key: str, node: YamlNode, line: int, ledger: Ledger) -> None:
    value = shown(node)
    if value.lower() in _SAY_NOTHING.get(key, ()):
        return
    why, hint = _OF_A_RUN.get(key, ("nothing is known of it here", None))
    ledger.note("dropped", fields.field_path(key), why, hint=hint, value=value, line=line)


def _dockerfile(fields: Fields, ledger: Ledger, base: Path | None, *, image: str | None, in_its_directory: bool) -> str | None:
    text = fields.text("baseDockerfile", as_="docker.dockerfile")
    if in_its_directory and base is not None and (place := base / DOCKERFILE).is_file():
        if image is None:
            name = f"{fields.faults.file.rpartition('/')[0]}/{DOCKERFILE}".removeprefix("/")
            with fields.faults.wrap(fields.node.line, "docker"):
                return _checked(read_source(place, file=name), name)
            return None
        ledger.note("dropped", DOCKERFILE, f"it is left from an earlier save: the environment has the base image `{image[:120]}`",
                    hint="delete the file, or `baseImage` if it is the file that counts")  # fmt: skip
    if text is None or not text.strip():
        return None
    line, path = fields.places["docker.dockerfile"]
    bare = text.strip()
    if "\n" in bare or bare.split(maxsplit=1)[0].upper() in _STARTS or bare.startswith("#"):
        fields.places.update({f"docker.dockerfile:{n + 1}": (line, f"{path}:{n + 1}") for n in range(text.count("\n") + 1)})
        return text
    if (
        base is not None
        and len(bare) <= _LONGEST_PATH
        and not bare.startswith(("/", "~"))
        and ".." not in bare
        and _is_file(base / bare)
    ):
        ledger.note(
            "changed", path, "it is the path of a Dockerfile beside this file, whose text is taken", value=bare, line=line
        )
        with fields.faults.wrap(line, path):
            return _checked(read_source(base / bare, file=bare), bare)
        return None
    fields.faults.add("dockerfile_is_a_path", f"`{bare[:80]}` is no text of a Dockerfile: the SDK keeps a path that it does not find as it is",
                      line=line, field=path, hint="put the Dockerfile's text there, or the file beside this one")  # fmt: skip
    return None


def _checked(text: str, file: str) -> str:
    """Return the text of the Dockerfile ``file``.

    Raises:   InvalidDefinition: every fault, at its own line.
    """
    parse_dockerfile(text, file)
    return text


def _is_file(place: Path) -> bool:
    try:
        return place.is_file()
    except (OSError, ValueError):  # a part too long for a file system, a NUL
        return False


def _refuse_context(fields: Fields) -> None:
    context = fields.table("buildContext", as_="docker.build_context")
    if context is None or is_empty(context.node):
        return
    location = without_secrets(context.text("location") or "")
    line, path = fields.places["docker.build_context"]
    fields.faults.add("remote_build_context", f"the build context `{location[:120]}` is elsewhere", line=line, field=path,
                      hint="get it (`git clone`, `az storage …`), and write `docker: {build_context: {path: …}}` in Wardian's own YAML")  # fmt: skip


def _with_registry(fields: Fields, image: str, ledger: Ledger) -> str:
    """Return ``image`` with the address of its registry, if it names none itself; logins are noted and left out."""
    registry = fields.table("baseImageRegistry")
    if registry is None:
        return image
    address = (registry.text("address") or "").removeprefix("https://").removeprefix("http://").rstrip("/")
    for key, node in registry.node.entries:
        path = registry.field_path(key.value)
        if key.value == "address":
            address = image_without_login(f"{address}/", ledger, path, key.line).rstrip("/")
        if key.value in ("username", "password") and not is_empty(node):
            ledger.note("stripped", path, "a definition holds no login of a registry",
                        hint=LOGIN_HINT, line=key.line)  # fmt: skip
        elif key.value != "address" and not is_empty(node):
            ledger.note("dropped", path, "it is a login in Azure", line=key.line)
    if not address or image.startswith(f"{address}/"):
        return image
    host, slash, _ = image.partition("/")
    if slash and ("." in host or ":" in host or host == "localhost"):
        ledger.note("dropped", registry.field_path("address"), f"the image names its own registry, `{host[:120]}`", value=address,
                    line=registry.node.line)  # fmt: skip
        return image
    return f"{address}/{image}"


def _platform(fields: Fields) -> str | None:
    platform = fields.table("platform", as_="docker.platform")
    if platform is None:
        return None
    system = (platform.text("os") or "linux").lower()
    architecture = (platform.text("architecture") or "amd64").lower()
    if system != "linux":
        fields.faults.add("not_linux", f"an environment for `{system[:40]}` cannot be built or run: Wardian makes Linux images",
                          line=platform.node.line, field="docker.platform.os")  # fmt: skip
        return None
    return None if architecture in ("amd64", "x86_64") else f"linux/{architecture}"
