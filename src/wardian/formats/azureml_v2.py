"""Azure ML's environment YAML (v2): read with its faults and losses in place, and written."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from wardian.definition.docker_section import BuildContext, DockerSection
from wardian.definition.environment import Environment, PythonSection
from wardian.definition.local_path import checked_path
from wardian.definition.secret_text import SECRET_VALUE, looks_secret
from wardian.errors import InvalidDefinition, InvalidInput
from wardian.formats.azureml import (
    ANONYMOUS,
    NO_CONDA,
    WHY_SECRET,
    AzurePart,
    image_without_login,
    is_empty,
    kept_text,
    refuse_edit,
    shown,
    without_secrets,
)
from wardian.formats.azureml_writing import write_v2
from wardian.formats.faults import Faults
from wardian.formats.ledger import Ledger
from wardian.formats.local_code import BuildContexts
from wardian.formats.losses import refuse_ledger
from wardian.formats.read_definition import ReadDefinition, places_in
from wardian.formats.source_text import plain_text
from wardian.formats.yaml_fields import Fields
from wardian.formats.yaml_text import YamlMapping, YamlScalar, compose

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from wardian.definition.environment import LocalSource
    from wardian.formats.azureml import Written
    from wardian.formats.conda_yaml import CondaPart

__all__ = ["FORMAT", "add", "export", "read", "remove", "write"]

FORMAT = "azureml-v2"
KEYS = ("$schema", "name", "version", "description", "tags", "image", "build", "conda_file", "os_type")
_NOT_KEPT: dict[str, tuple[str, str | None]] = {
    "version": ("versions are numbered here", "`wardian env create NAME -f FILE --version V` asks for this one"),
    "properties": ("a definition has no properties", "use `tags`"),
    "inference_config": ("routes and ports belong to what is deployed, not to its environment", None),
    "datastore": ("a build context is read beside the definition", None),
    "id": ("it is a place in Azure's service", None),
    "creation_context": ("it tells what Azure's service did", None),
    "resourceGroup": ("it is a place in Azure's service", None),
    "auto_rebuild": ("an image is built anew when it is asked for", "`wardian env upgrade NAME` takes a newer base image"),
    "latest_version": ("it tells what Azure's service has", None),
    "stage": ("a definition has no stage", "`wardian env label NAME:V LABEL` marks a version"),
    "intellectual_property": ("it tells what Azure's service did", None),
    "base_path": ("it is a path on another machine", None),
}
_UNREAD = {
    "channels": "this is a key of a conda file: it goes below `conda_file:`",
    "dependencies": "this is a key of a conda file: it goes below `conda_file:`",
    "environment_variables": "variables are a job's in this format; `wardian env create NAME -f FILE -V K=V` sets some",
    "conda": "write `conda_file`",
    "dockerfile": "write `build: {path: ., dockerfile_path: Dockerfile}`",
    "docker": "write `image`, or `build`",
}
_UNREAD_OF_BUILD = {
    "dockerfile": "write `dockerfile_path`",
    "context": "write `path`",
    "args": "Azure ML has no build arguments; Wardian's own YAML has them: `docker: {build_args: {NAME: VALUE}}`",
    "target": "the last stage of a Dockerfile is taken: make the one that you want the last",
}
_REMOTE = re.compile(r"(?!file:)[A-Za-z][A-Za-z0-9+.-]*:|git@")


def read(
    text: str, *, file: str, base: Path | None, local: Sequence[LocalSource] = (), extras: Sequence[str] = (), groups: Sequence[str] = (),
) -> ReadDefinition:  # fmt: skip
    """Return the environment that ``text`` states: without ``conda_file`` a user-managed one.

    What a version keeps is Wardian's own YAML: a conda file and its comments are not edited in place. Secrets in URLs are
    taken out and noted as losses.

    Raises:   InvalidDefinition: every fault of the file and of its conda file, with line and field.
    Source:   azureml.md a.9, b.4; Azure ML's CLI (v2) environment YAML schema
    """
    faults = Faults(file)
    faults.refuse_extras(extras, groups, "an Azure ML environment")
    text = plain_text(text)
    root = compose(text, faults)
    if not isinstance(root, YamlMapping):
        if root is not None:
            faults.add("wrong_type", f"an environment is a mapping, not {root.kind}", line=root.line)
        raise InvalidDefinition(faults.found)
    return read_node(root, text=text, faults=faults, base=base, local=local)


def read_node(
    root: YamlMapping, *, text: str, faults: Faults, base: Path | None, local: Sequence[LocalSource] = (), what: str = "an Azure ML environment (v2)",
) -> ReadDefinition:  # fmt: skip
    """Return the environment that the mapping ``root`` of the file ``text`` states.

    Args:     what: the file's format for people.
    Raises:   InvalidDefinition: every fault, if there is one in ``faults``.
    """
    return _EnvironmentFile(text, root, faults, base, local, what).definition()


def write(env: Environment) -> str:
    """Return ``env`` as an environment YAML, alone and without a loss.

    Raises:   InvalidInput: ``not_expressible``.
    """
    return refuse_ledger(export(env), "an Azure ML environment (v2)")


def export(env: Environment) -> Written:
    """Return ``env`` as an environment YAML, with what it cannot say.

    Raises:   InvalidInput: ``not_expressible``: nothing would be left of it.
    """
    return write_v2(env)


def add(_text: str, _requirements: Sequence[str], *, manager: str) -> str:  # noqa: ARG001 - as every format has it
    """Raise: see `refuse_edit`."""
    raise refuse_edit()


def remove(_text: str, _names: Sequence[str]) -> str:
    """Raise: see `refuse_edit`."""
    raise refuse_edit()


class _EnvironmentFile:
    """One file while it is read."""

    def __init__(
        self, text: str, root: YamlMapping, faults: Faults, base: Path | None, local: Sequence[LocalSource], what: str
    ) -> None:
        self._text, self._root, self._faults, self._base, self._what = text, root, faults, base, what
        self._ledger = Ledger(faults.file, prefix=faults.prefix)
        self._places: dict[str, tuple[int | None, str]] = {}
        self._fields = Fields(root, "", faults, self._places)
        self._conda = AzurePart(faults, self._ledger, base, local)
        found = root.find("conda_file")
        self._conda_node = None if isinstance(found, YamlScalar) and found.is_null else found
        self._contexts = BuildContexts(base, local, key="dockerfile_path")

    def definition(self) -> ReadDefinition:
        fields, faults = self._fields, self._faults
        fields.check_keys((*KEYS, *_NOT_KEPT), _UNREAD)
        self._note_what_is_not_kept()
        name = fields.text("name", as_="name")
        if name == ANONYMOUS:
            self._ledger.note("dropped", "name", "it stands for an environment without a name", line=self._places["name"][0])
            name = None
        docker = self._one_of(self._image(), self._build())
        part = self._conda_file()
        self._check_image()
        python = part.environment.python
        if self._conda_node is None:
            python = PythonSection(manager="user")
        description, tags = self._words()
        with faults.wrap(places=self._places):
            environment = Environment(
                name, python, docker, variables=part.environment.variables, description=description, tags=tags
            )
        faults.raise_if_any()
        kept = kept_text(environment, self._what, faults.file, self._ledger.losses)
        alone = part.alone and not environment.local_sources
        return ReadDefinition(environment, "wardian", kept, {**part.sources, **self._contexts.places}, alone, faults.warnings,
                              self._ledger.losses, {**part.places, **places_in(faults.file, self._places, prefix=faults.prefix)})  # fmt: skip

    # -- parts -----------------------------------------------------------------------------------------------------

    def _note_what_is_not_kept(self) -> None:
        for key, node in self._root.entries:
            if key.value in _NOT_KEPT and not is_empty(node):
                why, hint = _NOT_KEPT[key.value]
                self._ledger.note("dropped", key.value, why, hint=hint, value=shown(node), line=key.line)
        os_type = self._fields.text("os_type", as_="os_type")
        if os_type is not None and os_type.lower() != "linux":
            self._faults.add("not_linux", f"an environment for `{os_type[:40]}` cannot be built or run: Wardian makes Linux images",
                             line=self._places["os_type"][0], field="os_type")  # fmt: skip

    def _image(self) -> str | None:
        image = self._fields.text("image", as_="docker.base_image")
        if image is not None and image.startswith("azureml:"):
            self._faults.add("azureml_reference", f"`{without_secrets(image)[:120]}` is a thing in Azure ML's service, not an image",
                             line=self._places["docker.base_image"][0], field="image",
                             hint="`az ml environment show -n NAME -v V -o yaml` tells its image: write that one")  # fmt: skip
            return None
        return (
            None if image is None else image_without_login(image, self._ledger, "image", self._places["docker.base_image"][0])
        )

    def _words(self) -> tuple[str, dict[str, str]]:
        """Return description and tags; what looks like a secret is noted and left out."""
        description = self._fields.text("description", as_="description") or ""
        if SECRET_VALUE.search(description):
            self._ledger.note("stripped", "description", "it holds what looks like a secret, and a definition holds none",
                              line=self._places["description"][0])  # fmt: skip
            description = ""
        kept = {}
        for key, value in self._fields.strings("tags", as_="tags").items():
            if looks_secret(key, value):
                self._ledger.note("stripped", f"tags.{key}", WHY_SECRET, hint="`wardian secret set NAME` keeps secrets",
                                  line=self._places[f"tags.{key}"][0])  # fmt: skip
            else:
                kept[key] = value
        return description, kept

    def _build(self) -> BuildContext | None:
        fields = self._fields.table("build", as_="docker")
        if fields is None:
            return None
        fields.check_keys(("path", "dockerfile_path"), _UNREAD_OF_BUILD)
        path = fields.text("path", as_="docker.build_context.path")
        dockerfile = fields.text("dockerfile_path", as_="docker.build_context.dockerfile") or "Dockerfile"
        line, field = self._places.get("docker.build_context.path", self._places["docker"])
        if path is None:
            self._faults.add("missing_key", "`build` names no directory", line=line, field="build", hint="add `path: .`")
            return None
        if _REMOTE.match(path):
            self._faults.add("remote_build_context", f"the build context `{without_secrets(path)[:120]}` is elsewhere", line=line, field=field,
                             hint="get it (`git clone`, `az storage …`), and name its directory")  # fmt: skip
            return None
        with self._faults.wrap(line, field):
            checked = checked_path(path)
            return BuildContext(self._contexts.take(checked, dockerfile), checked, dockerfile.removeprefix("./"))
        return None

    def _one_of(self, image: str | None, build: BuildContext | None) -> DockerSection:
        if image is None or build is None:
            return DockerSection(base_image=image, build_context=build)
        self._faults.add("too_many_docker_options", "`image` and `build` exclude each other", line=self._places["docker"][0], field="build",
                         hint="keep `image` to take it as it is, `build` to make one of a Dockerfile")  # fmt: skip
        return DockerSection(base_image=image)

    def _conda_file(self) -> CondaPart:
        node = self._conda_node
        if node is None:
            return NO_CONDA
        if isinstance(node, YamlMapping):
            return self._conda.inline(node, "conda_file", text=self._text)
        if not isinstance(node, YamlScalar):
            self._fields.wrong_type(node, "conda_file", "a path or a mapping", hint="write the conda file's keys below it")
            return NO_CONDA
        if "\n" in node.value:
            return self._conda.quoted(node, "conda_file")
        with self._faults.wrap(node.line, "conda_file"):
            if _REMOTE.match(node.value):
                raise InvalidInput(f"the conda file `{without_secrets(node.value)[:120]}` is elsewhere", code="outside_include",
                                   hint="download it, keep it beside the definition and name its path")  # fmt: skip
            if self._base is None:
                raise InvalidInput(f"`{node.value[:120]}` cannot be read: this text stands in no directory",
                                   hint="read the file itself", code="include_without_place")  # fmt: skip
            path = checked_path(node.value)
            beside = self._faults.file.rpartition("/")[0]
            name = path.removeprefix("./")
            return self._conda.file("conda_file", self._base / path, f"{beside}/{name}" if beside else name)
        return NO_CONDA

    def _check_image(self) -> None:
        """Note what Azure ML's own client refuses: neither `image` nor `build`, or a conda file beside `build`."""
        keys = set(self._root.keys)
        line = self._root.line
        if not keys & {"image", "build"}:
            hint = "write `image: IMAGE`"
            if "conda_file" in keys:
                hint += ", or give the conda file itself: `-f conda.yml`"
            self._faults.add("missing_key", "there is neither `image` nor `build`", line=line, hint=hint)
        elif "build" in keys and "conda_file" in keys:
            self._faults.warn("conda_file_with_build", "Azure ML takes no `conda_file` beside `build`: here its packages are installed on what the steps make",
                              line=next(key.line for key, _ in self._root.entries if key.value == "conda_file"), field="conda_file")  # fmt: skip
