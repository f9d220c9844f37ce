"""Hypothesis strategies from the grammars of conda: match specs, channels, and whole environments of every manager."""

from __future__ import annotations

from hypothesis import strategies as st

from wardian.definition.docker_section import BuildContext, DockerSection
from wardian.definition.environment import Environment, PythonSection, SparkSection
from wardian.definition.requirement import PipRequirement
from wardian.digest import Digest
from wardian.formats.yaml_emit import scalar

LOWER = "abcdefghijklmnopqrstuvwxyz"
DIGITS = "0123456789"

names = st.from_regex(r"[A-Za-z_][A-Za-z0-9]{0,6}([._-][A-Za-z0-9]{1,5}){0,2}", fullmatch=True)
_plain_versions = st.from_regex(
    r"([1-9]!)?(0|[1-9][0-9]{0,3})(\.[0-9]{1,4}){0,3}((a|b|rc|post|dev)[0-9])?(\+[a-z]{2}[0-9]{1,3})?", fullmatch=True
)
_globs = st.from_regex(r"(0|[1-9][0-9]{0,2})(\.[0-9]{1,2}){0,2}(\.\*|\*)", fullmatch=True)
versions = st.one_of(_plain_versions, _globs)
builds = st.from_regex(r"[a-z*][a-z0-9_.]{0,6}(_[0-9])?", fullmatch=True)
space = st.sampled_from(["", "", " ", "  "])
digests = st.text("0123456789abcdef", min_size=64, max_size=64).map(Digest)
hosts = st.sampled_from(["https://conda.example.org", "http://127.0.0.1:8080", "file:///srv/channels"])
channels = st.one_of(
    st.sampled_from(["conda-forge", "defaults", "nodefaults", "nvidia/label/cuda-12.4.0", "conda-forge/linux-64"]),
    st.builds(lambda host, name: f"{host}/{name}", hosts, st.text(LOWER, min_size=2, max_size=8)),
    st.builds(lambda host, name: f"{host}/{name}/linux-64", hosts, st.text(LOWER, min_size=2, max_size=8)),
)


@st.composite
def constraints(draw: st.DrawFn, *, spaced: bool = True) -> str:
    """One version constraint, with or without an operator."""
    operator = draw(st.sampled_from(["", "", "=", "==", "!=", ">=", "<=", ">", "<", "~="]))
    return operator + (draw(space) if operator and spaced else "") + draw(versions)


@st.composite
def version_specs(draw: st.DrawFn, *, depth: int = 1, spaced: bool = True) -> str:
    """Constraints joined by ``,`` and ``|``, some in parentheses (where py-rattler wants no white space)."""
    parts = draw(st.lists(constraints(spaced=spaced), min_size=1, max_size=3))
    if depth and draw(st.integers(0, 9)) == 0:
        parts.append(f"({draw(version_specs(depth=depth - 1, spaced=False))})")
    gap = space if spaced else st.just("")
    text = parts[0]
    for part in parts[1:]:
        text += draw(gap) + draw(st.sampled_from(",|")) + draw(gap) + part
    return text


@st.composite
def brackets(draw: st.DrawFn) -> str:
    """``[key=value]`` pairs as py-rattler reads them: no white space behind an unquoted value."""
    pairs = []
    for key in draw(
        st.lists(
            st.sampled_from(["version", "build", "build_number", "channel", "subdir", "md5", "license", "fn"]),
            unique=True,
            min_size=1,
            max_size=3,
        )
    ):
        value = {
            "version": draw(version_specs(spaced=False)),
            "build": draw(builds),
            "build_number": draw(st.sampled_from(["0", "7", ">=3", "<12"])),
            "channel": draw(channels),
            "subdir": draw(st.sampled_from(["linux-64", "noarch", "osx-arm64"])),
            "md5": draw(st.text("0123456789abcdef", min_size=32, max_size=32)),
            "license": draw(st.sampled_from(["MIT", "BSD-3-Clause"])),
            "fn": "numpy-1.26.4-py311_0.conda",
        }[key]  # fmt: skip
        quote = draw(st.sampled_from("\"'")) if key == "version" else draw(st.sampled_from(["", "'", '"']))
        pairs.append(f"{draw(space)}{key}{draw(space)}={draw(space)}{quote}{value}{quote}")
    return f"{draw(space)}[{','.join(pairs)}]"


@st.composite
def match_specs(draw: st.DrawFn) -> str:
    """Match specs in every documented form, spaced as people do."""
    text = draw(names)
    if draw(st.booleans()):
        text = f"{draw(channels)}::{text}"
    form = draw(st.sampled_from(["name", "version", "build", "equals", "brackets", "both"]))
    if form in ("version", "both"):
        text += " " + draw(version_specs())
    elif form == "build":
        text += f" {draw(version_specs())}  {draw(builds)}"
    elif form == "equals":
        text += f"{draw(st.sampled_from(['=', '==']))}{draw(versions)}={draw(builds)}"
    return text + (draw(brackets()) if form in ("brackets", "both") else "")


@st.composite
def package_urls(draw: st.DrawFn) -> str:
    """Direct addresses of package files."""
    file = f"{draw(names)}-{draw(_plain_versions)}-{draw(st.from_regex(r'[a-z0-9]{1,6}_[0-9]', fullmatch=True))}"
    digest = draw(st.sampled_from(["", "#" + "ab" * 16]))
    return f"{draw(hosts)}/ch/linux-64/{file}{draw(st.sampled_from(['.conda', '.tar.bz2']))}{digest}"


pip_requirements = st.one_of(
    st.builds(
        "".join,
        st.tuples(
            st.from_regex(r"[A-Za-z][A-Za-z0-9]{0,6}([._-][a-z0-9]{1,4})?", fullmatch=True),
            st.sampled_from(["", "", "[extra]", "[a,b]"]),
            st.sampled_from(["", "", "==1.2.3", ">=1.0,<2", "~=1.4", "!=1.5.*"]),
            st.sampled_from(["", "", '; python_version < "3.12"', '; sys_platform == "linux"']),
        ),
    ),
    st.sampled_from([
        "pkg @ https://files.example.org/pkg-1.0-py3-none-any.whl",
        "git+https://git.example.org/a/b.git@v1.0#egg=b",
        "numpy==1.26.4 --hash=sha256:" + "0a" * 32,
    ]),
)  # fmt: skip
pip_options = st.sampled_from([
    "--index-url https://index.example.org/simple",
    "--extra-index-url https://other.example.org/simple",
    "--find-links https://files.example.org/wheels",
    "--pre",
    "--no-binary numpy",
    "--only-binary :all:",
    "--require-hashes",
])  # fmt: skip

# text that a YAML writer gets wrong easily: indicators, numbers, booleans, escapes, several lines
nasty_text = st.one_of(
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=30),
    st.text("ab :#-\n\t'\"[]{},&*!|>%@`0.~\\", max_size=12),
    st.sampled_from(["3.10", "1e3", "0777", "on", "No", "null", "~", "", " ", "- a", "a: b", "x #y", "\u2028", "\ufeffx", "\x7f", "é", "e\u0301"]),
)  # fmt: skip
_keys = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,9}", fullmatch=True)
# names and values that look like secrets are refused: these alphabets cannot spell one
_variable_names = st.text("ABCXYZ_", min_size=1, max_size=8)
_environment_names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True)
virtual_packages = st.dictionaries(
    st.sampled_from(["cuda", "glibc", "archspec"]), st.sampled_from(["12.4", "2.28", "x86_64_v3"]), max_size=2
)


def _lists(of: st.SearchStrategy[str], most: int = 4) -> st.SearchStrategy[tuple[str, ...]]:
    return st.lists(of, max_size=most).map(tuple)


def _variables() -> st.SearchStrategy[dict[str, str]]:
    return st.dictionaries(_variable_names, nasty_text.filter(lambda text: "@" not in text), max_size=3)


def project_of(line: str) -> str:
    """What pip takes for the same project: such lines stand once in a file."""
    requirement = PipRequirement.parse(line)
    return requirement.project or requirement.path or requirement.url or ""


pip_lists = st.lists(pip_requirements, max_size=4, unique_by=project_of)
conda_sections = st.builds(
    PythonSection,
    channels=_lists(channels),
    conda=_lists(st.one_of(match_specs(), package_urls())),
    pip=pip_lists.map(tuple),
    pip_options=_lists(pip_options, 2),
    constraints=st.lists(st.sampled_from(["numpy<2", "scipy>=1,<3"]), unique=True, max_size=2).map(tuple),
)
python_sections = st.one_of(
    st.builds(
        PythonSection,
        manager=st.just("conda"),
        channels=_lists(channels),
        conda=_lists(st.one_of(match_specs(), package_urls())),
        pip=_lists(pip_requirements),
        pip_options=_lists(pip_options, 2),
        constraints=_lists(st.just("numpy<2"), 1),
        link_scripts=st.sampled_from(["refuse", "run"]),
    ),
    st.builds(
        PythonSection,
        manager=st.just("uv"),
        source=st.sampled_from(["managed", "host"]),
        requires_python=st.sampled_from(["", "3.11", "3.11.7", ">=3.10,<3.13", "==3.12.*"]),
        pip=_lists(pip_requirements),
        pip_options=_lists(pip_options, 2),
        index_strategy=st.sampled_from(["first-index", "unsafe-best-match"]),
        locked_input=st.none() | digests,
    ),
    st.builds(PythonSection, manager=st.just("user"), interpreter=st.none() | st.sampled_from(["/opt/conda/bin/python", "python3"]), pip=_lists(pip_requirements)),
)  # fmt: skip
docker_sections = st.one_of(
    st.just(DockerSection()),
    st.builds(DockerSection, base_image=st.just("ubuntu:24.04"), platform=st.none() | st.just("linux/amd64"), credentials=st.none() | st.just("acr")),
    st.builds(
        DockerSection,
        dockerfile=nasty_text.map(lambda text: "FROM scratch\n# " + text.replace("\n", "\n# ")),
        build_args=_variables(),
        build_secrets=st.dictionaries(st.sampled_from(["token", "npm.rc", "0"]), st.sampled_from(["team", "a-b_c.d"]), max_size=2),
    ),
    st.builds(DockerSection, build_context=st.builds(BuildContext, digests, st.sampled_from(["./context", "docker/gpu"]), st.sampled_from(["Dockerfile", "Dockerfile.gpu"]))),
)  # fmt: skip
spark_sections = st.builds(
    SparkSection,
    _lists(st.just("org.apache.spark:spark-avro_2.13:4.0.0"), 2),
    _lists(st.just("https://maven.example.org/repo"), 2),
)


def _environment(section: PythonSection, **fields: object) -> Environment:
    return Environment(python=section, **fields)  # type: ignore[arg-type]  # the strategies below give each its type


environments = st.builds(
    _environment,
    python_sections,
    name=st.none() | _environment_names,
    docker=docker_sections,
    spark=spark_sections,
    accelerators=virtual_packages,
    variables=_variables(),
    description=nasty_text,
    tags=st.dictionaries(nasty_text, nasty_text, max_size=3),
)
conda_environments = st.builds(_environment, conda_sections, name=st.none() | _environment_names, variables=_variables())


# -- conda files as people write them ----------------------------------------------------------------------------------

comments = st.sampled_from(["# a comment", "#no space", "#   - numpy=1.0", "# name: other", "# é \u4e2d"])


@st.composite
def quoted(draw: st.DrawFn, text: str, *, flow: bool) -> str:
    """``text`` as a YAML scalar in one of the styles that can hold it."""
    styles = ['"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"', "'" + text.replace("'", "''") + "'"]
    if scalar(text, flow=flow) == text:
        styles += [text] * 3
    return draw(st.sampled_from(styles))


@st.composite
def listing(draw: st.DrawFn, key: str, items: list[str], indent: int) -> list[str]:
    """The lines of a list: in brackets or not, indented or not, with comments and blank lines in between."""
    pad = " " * indent
    end = draw(st.sampled_from(["", "  # why"]))
    if draw(st.integers(0, 3)) == 0 or not items:
        inside = [draw(quoted(item, flow=True)) for item in items]
        if len(inside) > 1 and draw(st.booleans()):
            lines = [f"{pad}  {item},{end}" for item in inside[:-1]]
            return [f"{pad}{key}: [", *lines, f"{pad}  {inside[-1]}", f"{pad}]{end}"]
        return [f"{pad}{key}: [{', '.join(inside)}{draw(st.sampled_from(['', ',' if inside else '']))}]{end}"]
    inner = " " * (indent + draw(st.sampled_from([0, 2, 4])))
    lines = [f"{pad}{key}:{end}"]
    for item in items:
        if draw(st.integers(0, 3)) == 0:
            lines.append(draw(st.one_of(st.just(""), comments.map(lambda comment: f"{inner}{comment}"))))
        gap = draw(st.sampled_from([" ", "   "]))
        lines.append(f"{inner}-{gap}{draw(quoted(item, flow=False))}{draw(st.sampled_from(['', '', '  # kept']))}")
    return lines


@st.composite
def conda_files(draw: st.DrawFn) -> tuple[str, Environment]:
    """A conda file in some style, and the environment that it states."""
    env = draw(conda_environments)
    python = env.python
    blocks: list[list[str]] = []
    if env.name is not None:
        blocks.append([f"name: {draw(quoted(env.name, flow=False))}"])
    empty_list = draw(st.booleans())
    if python.channels or empty_list:
        blocks.append(draw(listing("channels", list(python.channels), 0)))
    pip = [*python.pip_options, *python.pip]
    dependencies = draw(listing("dependencies", list(python.conda), 0))
    if pip and python.conda and dependencies[0].startswith("dependencies:") and "[" not in dependencies[0].partition("#")[0]:
        column = next(len(line) - len(line.lstrip()) for line in dependencies[1:] if line.lstrip().startswith("-"))
        lines = draw(listing("pip", pip, column + 2))
        dependencies += [f"{' ' * column}- {lines[0].lstrip()}", *lines[1:]]
    elif pip:
        lines = draw(listing("pip", pip, 4))
        dependencies = ["dependencies:", *(f"  - {draw(quoted(spec, flow=False))}" for spec in python.conda)]
        dependencies += [f"  - {lines[0].lstrip()}", *lines[1:]]
    blocks.append(dependencies)
    if env.variables:
        blocks.append(["variables:", *(f"  {scalar(key)}: {scalar(value)}" for key, value in env.variables.items())])
    if python.constraints:
        blocks.append(["# /// wardian-constraints", *(f"# {line}" for line in python.constraints), "# ///"])
    out: list[str] = []
    for block in draw(st.permutations(blocks)):
        out += draw(st.lists(st.one_of(st.just(""), comments), max_size=2)) + block
    end = draw(st.sampled_from(["\n", "\n\n", ""]))
    return "\n".join(out) + end, env
