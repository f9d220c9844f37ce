"""Wardian's own YAML: every section of a definition, read with its faults in place, and written."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wardian.definition.docker_section import BuildContext, DockerSection
from wardian.definition.environment import Environment, PythonSection, SparkSection
from wardian.definition.local_path import checked_path
from wardian.definition.requirement import PipRequirement
from wardian.digest import Digest
from wardian.errors import InvalidDefinition, WardianError
from wardian.formats.detect import other_yaml
from wardian.formats.edit_yaml import add_to_wardian, remove_from_wardian
from wardian.formats.faults import Faults
from wardian.formats.local_code import BuildContexts, LocalCode
from wardian.formats.read_definition import ReadDefinition, places_in
from wardian.formats.schema import SCHEMA_URL
from wardian.formats.source_text import plain_text
from wardian.formats.yaml_emit import entry, listing, table
from wardian.formats.yaml_fields import Fields
from wardian.formats.yaml_text import YamlMapping, YamlScalar, compose

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from wardian.definition.environment import LocalSource

__all__ = ["FORMAT", "KEYS", "add", "read", "remove", "write"]

FORMAT = "wardian"
KEYS: dict[str, tuple[str, ...]] = {
    "": ("name", "description", "tags", "python", "docker", "spark", "accelerators", "variables"),
    "python": ("manager", "version", "source", "interpreter", "channels", "conda", "pip", "pip_options", "constraints",
               "index_strategy", "link_scripts", "locked_input"),
    "docker": ("base_image", "dockerfile", "build_context", "platform", "credentials", "build_args", "build_secrets"),
    "docker.build_context": ("path", "dockerfile"),
    "spark": ("packages", "repositories"),
}  # fmt: skip
_UNREAD = {
    "version": "the version of Python is `python: {version: …}`; the environment's own is given when it is created",
    "requires_python": "write `version`",
    "dependencies": "conda packages are `python: {conda: […]}`, pip's `python: {pip: […]}`",
    "packages": "conda packages are `python: {conda: […]}`, pip's `python: {pip: […]}`",
    "channels": "write `python: {channels: […]}`",
    "conda": "write `python: {conda: […]}`",
    "pip": "write `python: {pip: […]}`",
    "image": "write `docker: {base_image: …}`",
    "local": "local code needs no entry: Wardian finds it through the requirements",
    "env": "write `variables`",
    "environment_variables": "write `variables`",
    "extra_index_urls": "write `pip_options: [--extra-index-url …]`",
}

add = add_to_wardian
remove = remove_from_wardian


def read(
    text: str,
    *,
    file: str,
    base: Path | None,
    local: Sequence[LocalSource] = (),
    extras: Sequence[str] = (),
    groups: Sequence[str] = (),
) -> ReadDefinition:
    """Return the environment that ``text`` states.

    ``python.manager`` follows from the rest where it is not written: `user` if an interpreter is named, `conda` if conda
    packages or channels are, `uv` if only pip's packages or a version of Python are.

    Args:     text: the file's text.  file: its name for people.
              base: its directory, where local code and build contexts are looked for; None for a text that was kept.
              local: digests of local code and build contexts, for trees that are not there (`Environment.local_sources`).
    Raises:   InvalidDefinition: every fault of the file, with its line and field.
    Source:   semantics §1; the schema beside this package
    """
    faults = Faults(file)
    faults.refuse_extras(extras, groups, "Wardian's own YAML")
    text = plain_text(text)
    root = compose(text, faults)
    if not isinstance(root, YamlMapping):
        if root is not None:
            faults.add("wrong_type", f"a definition is a mapping, not {root.kind}", line=root.line,
                       hint="begin with `python:` or `docker:`")  # fmt: skip
        raise InvalidDefinition(faults.found)
    if found := other_yaml(set(root.keys), text):
        faults.add("format_not_read", f"this is {found[0]}, not Wardian's own YAML", line=root.line, hint=found[1])
    elif "dependencies" in root.keys and not {"python", "docker", "spark"} & set(root.keys):
        faults.add("wrong_format", "this is a conda file, not Wardian's own YAML", line=root.line,
                   hint="leave the format out, or name it `conda`")  # fmt: skip
    faults.raise_if_any()
    return _WardianFile(text, root, faults, base, local).definition()


class _WardianFile:
    """One file while it is read."""

    def __init__(self, text: str, root: YamlMapping, faults: Faults, base: Path | None, local: Sequence[LocalSource]) -> None:
        self._text = text
        self._faults = faults
        self._base = base
        self._code = LocalCode(base, local)
        self._places: dict[str, tuple[int | None, str]] = {}
        self._fields = Fields(root, "", faults, self._places)
        self._contexts = BuildContexts(base, local, key="dockerfile")

    def definition(self) -> ReadDefinition:
        fields, faults = self._fields, self._faults
        fields.check_keys(KEYS[""], _UNREAD)
        python, docker, spark = self._python(), self._docker(), self._spark()
        name = fields.text("name", as_="name")
        description = fields.text("description", as_="description") or ""
        tags, accelerators, variables = (fields.strings(key, as_=key) for key in ("tags", "accelerators", "variables"))
        with faults.wrap(places=self._places):
            environment = Environment(name, python, docker, spark, accelerators, variables, description, tags)
        faults.raise_if_any()
        alone = not environment.local_sources
        sources = {**self._code.places, **self._contexts.places}
        places = places_in(faults.file, self._places)
        return ReadDefinition(environment, FORMAT, self._text, sources, alone, faults.warnings, places=places)

    # -- sections --------------------------------------------------------------------------------------------------

    def _python(self) -> PythonSection:
        fields = self._fields.table("python")
        if fields is None:
            return PythonSection()
        fields.check_keys(KEYS["python"], _UNREAD)
        lists = {
            "channels": fields.texts("channels", example="conda-forge", as_="python.channels"),
            "conda": fields.texts("conda", example="numpy>=1.26", as_="python.conda"),
            "pip": fields.texts("pip", example="requests>=2", as_="python.pip"),
            "pip_options": fields.texts("pip_options", example="--pre", as_="python.pip_options"),
            "constraints": fields.texts("constraints", example="numpy<2", as_="python.constraints"),
        }
        self._check_options(lists["pip"])
        version = fields.text("version", as_="python.requires_python") or ""
        interpreter = fields.text("interpreter", as_="python.interpreter")
        if interpreter is not None:
            manager = "user"
        elif lists["conda"] or lists["channels"]:
            manager = "conda"
        else:
            manager = "uv" if version or lists["pip"] or lists["pip_options"] or lists["constraints"] else "conda"
        self._places.setdefault("python.manager", (fields.node.line, "python.manager"))
        return PythonSection(
            manager=fields.text("manager", as_="python.manager") or manager,
            source=fields.text("source", as_="python.source") or "managed",
            requires_python=version,
            interpreter=interpreter,
            index_strategy=fields.text("index_strategy", as_="python.index_strategy") or "first-index",
            link_scripts=fields.text("link_scripts", as_="python.link_scripts") or "refuse",
            local=self._local(lists["pip"]),
            locked_input=self._digest(fields),
            **lists,
        )

    def _check_options(self, pip: Sequence[str]) -> None:
        for i, line in enumerate(pip):
            if line.startswith("-") and not line.startswith(("-e ", "--editable")):
                number, path = self._places[f"python.pip[{i}]"]
                self._faults.add("option_among_requirements", f"`{line.split()[0]}` is an option, not a requirement",
                                 line=number, field=path,
                                 hint="options go under `pip_options:`, what `-c` brings under `constraints:`")  # fmt: skip

    def _local(self, pip: Sequence[str]) -> tuple[LocalSource, ...]:
        for i, line in enumerate(pip):
            try:
                path = PipRequirement.parse(line).path
            except WardianError:
                continue  # the environment says what is wrong with it
            if path is not None:
                with self._faults.wrap(*self._places[f"python.pip[{i}]"]):
                    self._code.take(path)
        return self._code.sources

    def _digest(self, fields: Fields) -> Digest | None:
        text = fields.text("locked_input", as_="python.locked_input")
        if text is not None:
            with self._faults.wrap(*self._places["python.locked_input"]):
                return Digest(text)
        return None

    def _docker(self) -> DockerSection:
        fields = self._fields.table("docker", as_="docker")
        if fields is None:
            return DockerSection()
        fields.check_keys(KEYS["docker"], {})
        return DockerSection(
            base_image=fields.text("base_image", as_="docker.base_image"),
            dockerfile=self._dockerfile(fields),
            build_context=self._build_context(fields),
            platform=fields.text("platform", as_="docker.platform"),
            credentials=fields.text("credentials", as_="docker.credentials"),
            build_args=fields.strings("build_args", as_="docker.build_args"),
            build_secrets=fields.strings("build_secrets", as_="docker.build_secrets"),
        )

    def _dockerfile(self, fields: Fields) -> str | None:
        text = fields.text("dockerfile", as_="docker.dockerfile")
        if text is None:
            return None
        line, path = self._places["docker.dockerfile"]
        if "\n" not in text.strip() and not text.strip().upper().startswith(("FROM", "#", "ARG")):
            self._faults.add("dockerfile_without_from", f"`{text.strip()[:80]}` is taken for the text of a Dockerfile, and starts from no image",
                             line=line, field=path, hint="a Dockerfile beside the definition is `build_context: {path: .}`")  # fmt: skip
            return "FROM scratch"  # stands for it: it has its fault
        node = fields.node.find("dockerfile")
        if isinstance(node, YamlScalar) and (node.style == "|" or "\n" not in text.strip()):
            first = node.line + (node.style == "|")
            self._places |= {f"docker.dockerfile:{n + 1}": (first + n, path) for n in range(text.count("\n") + 1)}
        else:  # folded or quoted: lines of the file are not those of the text
            self._places |= {f"docker.dockerfile:{n + 1}": (line, f"{path}:{n + 1}") for n in range(text.count("\n") + 1)}
        return text

    def _build_context(self, docker: Fields) -> BuildContext | None:
        fields = docker.table("build_context", as_="docker.build_context")
        if fields is None:
            return None
        fields.check_keys(KEYS["docker.build_context"], {})
        path = fields.text("path", as_="docker.build_context.path") or "."
        dockerfile = fields.text("dockerfile", as_="docker.build_context.dockerfile") or "Dockerfile"
        with self._faults.wrap(*self._places.get("docker.build_context.path", self._places["docker.build_context"])):
            path = checked_path(path)
            return BuildContext(self._contexts.take(path, dockerfile), path, dockerfile)
        return None

    def _spark(self) -> SparkSection:
        fields = self._fields.table("spark")
        if fields is None:
            return SparkSection()
        fields.check_keys(KEYS["spark"], {})
        return SparkSection(
            fields.texts("packages", example="org.apache.spark:spark-avro_2.13:4.0.0", as_="spark.packages"),
            fields.texts("repositories", example="https://maven.example.org/repo", as_="spark.repositories"),
        )


def write(env: Environment) -> str:
    """Return ``env`` in Wardian's own YAML; ``read`` gives back an equal environment, every field of it.

    The first line tells editors the schema. Digests of local code are not written: they are those of the trees.
    """
    python, docker, spark = env.python, env.docker, env.spark
    lines = [f"# yaml-language-server: $schema={SCHEMA_URL}"]
    lines += entry("name", env.name, 0) if env.name is not None else []
    lines += entry("description", env.description, 0) if env.description else []
    lines += table("tags", env.tags, 0)
    lines += ["python:", *entry("manager", python.manager, 2)]
    plain = PythonSection()
    for key, field in (("version", "requires_python"), ("source", "source"), ("interpreter", "interpreter")):
        if getattr(python, field) != getattr(plain, field):
            lines += entry(key, getattr(python, field), 2)
    for key in ("channels", "conda", "pip", "pip_options", "constraints"):
        lines += listing(key, getattr(python, key), 2)
    for key in ("index_strategy", "link_scripts", "locked_input"):
        if getattr(python, key) != getattr(plain, key):
            lines += entry(key, getattr(python, key), 2)
    docker_lines = [line for key in ("base_image", "dockerfile", "platform", "credentials") if getattr(docker, key) is not None
                    for line in entry(key, getattr(docker, key), 2)]  # fmt: skip
    if docker.build_context is not None:
        context = docker.build_context
        docker_lines += ["  build_context:", *entry("path", context.path, 4), *entry("dockerfile", context.dockerfile, 4)]
    docker_lines += [*table("build_args", docker.build_args, 2), *table("build_secrets", docker.build_secrets, 2)]
    lines += ["docker:", *docker_lines] if docker_lines else []
    spark_lines = [*listing("packages", spark.packages, 2), *listing("repositories", spark.repositories, 2)]
    lines += ["spark:", *spark_lines] if spark_lines else []
    lines += [*table("accelerators", env.accelerators, 0), *table("variables", env.variables, 0)]
    return "".join(f"{line}\n" for line in lines)
