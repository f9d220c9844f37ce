"""Strategies from the grammars of pip's side: PEP 508, PEP 440, options and whole requirements files."""

from __future__ import annotations

import string
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from wardian.definition.pip_option import PipOption
from wardian.definition.requirement import PipRequirement

_LOWER = string.ascii_lowercase + string.digits
_VARIABLES = (
    "python_version", "python_full_version", "os_name", "sys_platform", "platform_release", "platform_system", "platform_version",
    "platform_machine", "platform_python_implementation", "implementation_name", "implementation_version", "extra",
)  # fmt: skip

# -- names, extras, versions ---------------------------------------------------------------------------------------------

words = st.text(_LOWER, min_size=1, max_size=6)
names = st.lists(words, min_size=1, max_size=3).map("-".join)
extras = st.lists(names, max_size=3, unique=True).map(lambda items: tuple(sorted(items)))
numbers = st.integers(0, 99).map(str)


@st.composite
def releases(draw: st.DrawFn, *, least: int = 1) -> str:
    return ".".join(draw(st.lists(numbers, min_size=least, max_size=4)))


@st.composite
def versions(draw: st.DrawFn, *, local: bool = False, least: int = 1) -> str:
    """A version of PEP 440, canonical or not."""
    epoch = draw(st.sampled_from(["", "", "", "1!"]))
    pre = draw(st.sampled_from(["", "", "", "a1", "b2", "rc3", ".rc4", "-beta.5", "c6", "alpha"]))
    post = draw(st.sampled_from(["", "", "", ".post1", "-2", "rev3", ".post"]))
    dev = draw(st.sampled_from(["", "", "", ".dev1", "-dev2", "dev"]))
    label = draw(st.sampled_from(["", "+cpu", "+cu118.post-1", "+Abc_1"])) if local else ""
    return f"{epoch}{draw(releases(least=least))}{pre}{post}{dev}{label}"


@st.composite
def clauses(draw: st.DrawFn) -> str:
    """One comparison of a specifier, without white space."""
    operator = draw(st.sampled_from(["==", "!=", ">=", "<=", ">", "<", "~=", "==.*", "!=.*"]))
    if operator.endswith(".*"):
        return f"{operator[:2]}{draw(releases())}.*"
    return f"{operator}{draw(versions(local=operator in ('==', '!='), least=2 if operator == '~=' else 1))}"


# `===` takes all that follows, commas too, so it stands alone
arbitrary = st.text(_LOWER + ".+-", min_size=1, max_size=8).filter(lambda text: text[0] != "-").map(lambda text: f"==={text}")
specifiers = st.lists(clauses(), max_size=3).map(",".join) | arbitrary

# -- markers -------------------------------------------------------------------------------------------------------------


@st.composite
def _comparisons(draw: st.DrawFn) -> str:
    variable = draw(st.sampled_from(_VARIABLES))
    text = draw(st.text(string.ascii_letters + string.digits + " .'_-", max_size=8).map(lambda t: f'"{t}"') | st.just("'a\"b'"))
    operator = draw(st.sampled_from(["==", "!=", "<", "<=", ">", ">=", "~=", "===", "in", "not in"]))
    return f"{variable} {operator} {text}" if draw(st.booleans()) else f"{text} {operator} {variable}"


# as Wardian writes them: single spaces, double quotes where they fit
markers = st.recursive(
    _comparisons(),
    lambda inner: st.tuples(inner, st.sampled_from(["and", "or"]), inner).map(" ".join) | inner.map(lambda m: f"({m})"),
    max_leaves=5,
)

# -- URLs and paths ------------------------------------------------------------------------------------------------------

hosts = st.lists(words, min_size=1, max_size=3).map(".".join)
segments = st.text(string.ascii_letters + string.digits + "._-~%+", min_size=1, max_size=8).filter(lambda s: s.strip(".") != "")
hashes = st.tuples(st.sampled_from([("sha256", 64), ("sha384", 96), ("sha512", 128)]), st.randoms(use_true_random=False)).map(
    lambda pair: f"{pair[0][0]}:{''.join(pair[1].choices('0123456789abcdef', k=pair[0][1]))}"
)


@st.composite
def urls(draw: st.DrawFn) -> str:
    """A URL that pip fetches from; no wheels, whose names have rules of their own."""
    scheme = draw(st.sampled_from(["https", "http", "git+https", "git+ssh", "git+http", "git+git"]))
    user = draw(st.sampled_from(["", "", "git@", "${USER}:${PASSWORD}@", "${TOKEN}@"]))
    port = draw(st.sampled_from(["", "", ":8443"]))
    path = "/".join(draw(st.lists(segments.filter(lambda s: not s.endswith(".whl")), min_size=1, max_size=3)))
    revision = draw(st.sampled_from(["", "@v1.0", "@main", "@0123abc"])) if scheme.startswith("git+") else ""
    fragment = draw(st.sampled_from(["", "", "#subdirectory=src/pkg", "#sha256=abc", "#egg=other"]))
    return f"{scheme}://{user}{draw(hosts)}{port}/{path}{revision}{fragment}"


@st.composite
def paths(draw: st.DrawFn) -> str:
    """A relative path in normal form."""
    parts = draw(st.lists(st.text(string.ascii_letters + string.digits + "._ é", min_size=1, max_size=6), max_size=3))
    parts = [part.strip() for part in parts if part.strip(". ") and not part.endswith(".whl")]  # wheels have names of their own
    up = draw(st.integers(0, 2))
    parts = [*[".."] * up, *parts]
    body = "/".join(parts)
    return body if up else f"./{body}" if body else "."


# -- requirements --------------------------------------------------------------------------------------------------------


@st.composite
def requirements(
    draw: st.DrawFn, *, kinds: tuple[str, ...] = ("name", "url", "named url", "path", "named path")
) -> PipRequirement:
    """A requirement in normal form."""
    kind = draw(st.sampled_from(kinds))
    marker = draw(st.just("") | markers)
    values: dict[str, Any] = {"marker": marker, "hashes": tuple(draw(st.lists(hashes, max_size=2)))}
    if kind == "url":
        url = draw(urls())
        return PipRequirement(name="other" if url.endswith("#egg=other") else None, url=url, **values)
    name = None if kind == "path" else draw(names)
    values["extras"] = draw(extras)
    if kind == "name":
        values["specifier"] = draw(specifiers)
    elif kind == "named url":
        values["url"] = draw(urls())
    else:
        values["path"] = draw(paths())
    return PipRequirement(name, **values)


@st.composite
def spellings(draw: st.DrawFn, requirement: PipRequirement) -> str:
    """Another way to write ``requirement``: case, separators, white space, brackets, quotes."""
    space = st.sampled_from(["", "", " ", "  ", "\t"])
    name = "".join(draw(st.sampled_from([c, c.upper()])) for c in requirement.name or "")
    name = "".join(draw(st.sampled_from(["-", "_", ".", "-_"])) if c == "-" else c for c in name)
    listed = f"{draw(space)},{draw(space)}".join(requirement.extras)
    brackets = f"[{draw(space)}{listed}{draw(space)}]" if requirement.extras else ""
    marker = requirement.marker
    if "'" not in marker and "===" not in marker:
        marker = marker.replace("==", f"{draw(space)}=={draw(space)}")
    if "'" not in marker and draw(st.booleans()):
        marker = marker.replace('"', "'")
    if requirement.path is not None and requirement.name is None:
        body = f"{requirement.path}{brackets}" if not listed else f"{requirement.path}[{','.join(requirement.extras)}]"
        editable = draw(st.sampled_from(["", "", "-e ", "--editable ", "--editable="]))
        body, semicolon = f"{editable}{body}", ";"
    elif requirement.path is not None or requirement.url is not None:
        at = draw(st.sampled_from(["@", " @ ", "@ ", "  @  "]))
        target = requirement.path or requirement.url
        body, semicolon = (
            (f"{name}{draw(space)}{brackets}{at}{target}" if name else str(target)),
            draw(st.sampled_from([" ;", "; ", "  ;  "])),
        )
        if name and target and target.endswith("#egg=other") and requirement.name == "other" and not requirement.extras:
            body = str(target)
    else:
        gap = draw(space)
        spaced = f"{draw(space)},{draw(space)}".join(
            _spaced(clause, gap) for clause in requirement.specifier.split(",") if clause
        )
        bracketed = f"({spaced})" if spaced and "===" not in spaced and draw(st.booleans()) else spaced
        body, semicolon = f"{name}{draw(space)}{brackets}{draw(space)}{bracketed}", f"{draw(space)};{draw(space)}"
        if "===" in spaced:
            semicolon = " ;"
    end = f"{semicolon}{draw(space)}{marker}" if marker else ""
    joint = draw(st.sampled_from(["=", " ", "  "]))
    return f"{draw(space)}{body}{end}{''.join(f' --hash{joint}{value}' for value in requirement.hashes)}{draw(space)}"


def _spaced(clause: str, gap: str) -> str:
    operator = clause[: len(clause) - len(clause.lstrip("=<>!~"))]
    return f"{operator}{gap}{clause[len(operator) :]}"


# -- options -------------------------------------------------------------------------------------------------------------

_index_urls = st.tuples(st.sampled_from(["https", "http"]), hosts, words).map(lambda t: f"{t[0]}://{t[1]}/{t[2]}/simple")
_choices = st.lists(names | st.just(":all:"), min_size=1, max_size=3).map(",".join)
options = (
    st.builds(PipOption, st.sampled_from(["--index-url", "--extra-index-url"]), _index_urls | words)
    | st.builds(PipOption, st.just("--find-links"), _index_urls | paths())
    | st.builds(PipOption, st.sampled_from(["--no-binary", "--only-binary"]), _choices)
    | st.builds(PipOption, st.just("--trusted-host"), hosts)
    | st.builds(PipOption, st.just("--use-feature"), words)
    | st.builds(PipOption, st.sampled_from(["--no-index", "--pre", "--prefer-binary", "--require-hashes"]))
)


@st.composite
def option_spellings(draw: st.DrawFn, option: PipOption) -> str:
    """Another way to write ``option``: short or shortened, an equals sign or a space, quotes."""
    if option.value is None:
        return option.name
    short = {"--index-url": "-i", "--find-links": "-f"}.get(option.name)
    quoted = option.value if " " not in option.value and draw(st.booleans()) else f'"{option.value}"'
    if short and draw(st.booleans()):
        return f"{short}{draw(st.sampled_from(['', ' ', '  ']))}{quoted}"
    return f"{option.name}{draw(st.sampled_from([' ', '=', '  ']))}{quoted}"


# -- whole files ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class WrittenFile:
    """A requirements file and what it says."""

    text: str
    pip: tuple[str, ...]
    options: tuple[str, ...]
    constraints: tuple[str, ...]


_comments = st.text(string.ascii_letters + string.digits + " #=-;'\"é", max_size=10)


def in_a_file(requirement: PipRequirement) -> bool:
    """Whether pip's line syntax can hold it: no word of a marker's quoted text may begin with a dash."""
    return " -" not in requirement.marker and " #" not in requirement.marker


@st.composite
def files(draw: st.DrawFn) -> WrittenFile:
    """A requirements file with comments, continuations, blank lines, options, constraints, in any order."""
    lines: list[str] = []
    said: dict[str, list[str]] = {"pip": [], "options": [], "constraints": []}
    seen: set[tuple[str | None, str]] = set()
    for kind in draw(
        st.lists(st.sampled_from(["requirement", "requirement", "option", "comment", "blank", "constraints"]), max_size=8)
    ):
        comment = draw(st.just("") | _comments.map(lambda c: f"  #{c}"))
        if kind == "requirement":
            requirement = draw(requirements(kinds=("name", "named url", "url")).filter(in_a_file))
            if (requirement.project or requirement.url, requirement.marker) in seen:
                continue
            seen.add((requirement.project or requirement.url, requirement.marker))
            said["pip"].append(str(requirement))
            lines.append(draw(_continued(draw(spellings(requirement)).replace("\t", " "))) + comment)
        elif kind == "option":
            option = draw(options)
            said["options"].append(str(option))
            lines.append(draw(option_spellings(option)) + comment)
        elif kind == "comment":
            lines.append(f"#{draw(_comments)}")
        elif kind == "blank":
            lines.append(draw(st.sampled_from(["", "   "])))
        else:
            block = draw(
                st.lists(requirements(kinds=("name",)).filter(lambda r: not r.extras and in_a_file(r)), min_size=1, max_size=2)
            )
            said["constraints"] += [str(constraint) for constraint in block]
            lines += ["# /// wardian-constraints", *(f"# {constraint}{comment}" for constraint in block), "# ///"]
    ending = draw(st.sampled_from(["\n", "\n", "\r\n"]))
    text = ending.join("\n".join(lines).split("\n")) + draw(st.sampled_from(["", ending]))
    return WrittenFile(text, tuple(said["pip"]), tuple(said["options"]), tuple(said["constraints"]))


@st.composite
def _continued(draw: st.DrawFn, line: str) -> str:
    """The line, broken at spaces by backslashes."""
    words_of = line.strip().split(" ")
    return "".join(
        word if i == 0 else f" {draw(st.sampled_from(['', '', chr(92) + chr(10)]))}{word}" for i, word in enumerate(words_of)
    )
