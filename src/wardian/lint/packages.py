"""Rules about the packages that a definition asks for."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from wardian.definition.project_name import canonical_name
from wardian.definition.requirement import PipRequirement
from wardian.lint.finding import Problem, Rule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wardian.definition.match_spec import MatchSpec
    from wardian.formats.read_definition import Place
    from wardian.lint.subject import Subject

_COMMIT = re.compile(r"@[0-9a-f]{7,40}(?=#|$)")
# conda's name → the project's on PyPI, where one package has two names
_SAME = {
    "pytorch": "torch", "pytorch-cpu": "torch", "pytorch-gpu": "torch", "py-opencv": "opencv-python", "opencv": "opencv-python",
    "tensorflow-base": "tensorflow", "py-xgboost": "xgboost", "msgpack-python": "msgpack", "matplotlib-base": "matplotlib",
    "python-graphviz": "graphviz", "dask-core": "dask", "pyqt": "pyqt5", "pytables": "tables", "ruamel_yaml": "ruamel-yaml",
}  # fmt: skip
_ONE_SYSTEM = {
    "macOS": re.compile(r"appnope|pyobjc.*|libcxx|cctools.*|ld64.*|readline-osx"),
    "Windows": re.compile(r"pywin32|pywinpty|pypiwin32|wincertstore|win_inet_pton|vs20\d\d_runtime|vc|ucrt|m2w64-.*|msys2-.*|menuinst"),
}  # fmt: skip


def _unpinned(subject: Subject) -> Iterator[Problem]:
    if subject.environment.python.locked_input:
        return  # a lock file: every version is in it
    bounded = {PipRequirement.parse(text).name for text in subject.environment.python.constraints}
    for place, spec in subject.conda:
        if spec.name not in ("python", "pip") and not _asks_for_version(spec):
            yield Problem(place, f"`{spec}` has no version")
    for place, requirement in subject.pip:
        free = requirement.url is None and requirement.path is None and not requirement.specifier
        if free and requirement.name not in bounded:
            yield Problem(place, f"`{requirement}` has no version")


def _asks_for_version(spec: MatchSpec) -> bool:
    version = spec.version or spec.bracket("version") or ""
    return version not in ("", "*", "=*") or bool(spec.build or spec.bracket("build") or spec.url)


def _unpinned_pip(subject: Subject) -> Iterator[Problem]:
    for place, spec in subject.conda:
        if spec.name == "pip" and not _asks_for_version(spec):
            yield Problem(place, "`pip` has no version")


def _unpinned_repository(subject: Subject) -> Iterator[Problem]:
    if subject.environment.python.locked_input:
        return
    for place, requirement in subject.pip:
        if requirement.url is not None and requirement.url.startswith("git+") and not _COMMIT.search(requirement.url):
            yield Problem(place, f"`{requirement.name or requirement.url}` comes from a branch or tag of a repository")


def _no_pip(subject: Subject) -> Iterator[Problem]:
    python = subject.environment.python
    if subject.format == "conda" and python.pip and all(spec.name != "pip" for _, spec in subject.conda):
        yield Problem(subject.place("python.pip[0]"), "there are packages for pip, but no `pip` among the dependencies",
                      fixable=True)  # fmt: skip


def _duplicate(subject: Subject) -> Iterator[Problem]:
    if not subject.installs or subject.environment.python.locked_input:
        return  # what a lock file wants in several places is not for a reader to merge
    pip = [(place, r.name or "", f"{r}", f"{r.name};{r.marker}") for place, r in subject.pip if r.name]
    conda = [(place, spec.name, f"{spec}", spec.name) for place, spec in subject.conda if spec.name != "python"]
    for found in (conda, pip):
        seen: dict[str, tuple[Place, str]] = {}
        for place, name, text, key in found:
            first, before = seen.setdefault(key, (place, text))
            if first is place:
                continue
            where = f"line {first.line}" if first.file == place.file else f"{first.file}:{first.line}"
            if before == text:
                yield Problem(place, f"`{text}` stands on {where} already", fixable=subject.format in ("conda", "wardian"))
            else:
                yield Problem(place, f"`{name}` is asked for twice: as `{before}` on {where} and as `{text}`",
                              fix="make one line of them, with commas between the versions")  # fmt: skip


def _from_both(subject: Subject) -> Iterator[Problem]:
    conda = {_SAME.get(spec.name, canonical_name(spec.name)): (place, spec) for place, spec in subject.conda}
    for place, requirement in subject.pip:
        if (found := conda.get(requirement.project or "")) and requirement.project != "pip":
            yield Problem(
                place, f"`{requirement.project}` comes from pip here and from conda as `{found[1]}` on line {found[0].line}"
            )


def _build_string(subject: Subject) -> Iterator[Problem]:
    for place, spec in subject.conda:
        build = spec.build or spec.bracket("build") or ""
        if build and not set(build) & set("*^"):
            yield Problem(place, f"`{spec}` asks for the build `{build}`",
                          fix=f"write `{spec.name}={spec.version.lstrip('=')}`; `conda env export --no-builds` writes it so")  # fmt: skip


def _one_system(subject: Subject) -> Iterator[Problem]:
    names = [(place, spec.name) for place, spec in subject.conda]
    names += [(place, r.name) for place, r in subject.pip if r.name and not r.marker]
    for place, name in names:
        for system, pattern in _ONE_SYSTEM.items():
            if pattern.fullmatch(name):
                yield Problem(place, f"`{name}` exists for {system} only")


def _nothing(subject: Subject) -> Iterator[Problem]:
    env = subject.environment
    asked = (*env.python.conda, *env.python.pip, *env.spark.packages, env.docker.base_image, env.python.requires_python)
    if subject.installs and not any(asked) and not env.docker.has_steps:
        yield Problem(subject.whole, "the definition asks for nothing")


RULES = (
    Rule("unpinned-requirement", "warning", "a requirement without a version",
         "Without a version a solver takes the newest one of its day: locks made on different days then hold different packages.",
         "write the versions that you know to work: `numpy>=1.26,<2`, or `numpy==1.26.4`", _unpinned, azure="unpinned dependencies"),
    Rule("unpinned-pip", "note", "`pip` without a version among conda's dependencies",
         "Wardian installs without pip, but conda and Azure ML run the one that is newest on that day, which may resolve otherwise.",
         "write its version: `pip=24`", _unpinned_pip, azure="pip not pinned"),
    Rule("unpinned-repository", "warning", "a requirement from a branch or tag of a git repository",
         "A branch moves and a tag can be moved: the next lock may hold other code under the same definition.",
         "write the commit behind the address: `name @ git+https://…@COMMIT`", _unpinned_repository),
    Rule("missing-pip", "warning", "packages for pip, but no `pip` among conda's dependencies",
         "conda and Azure ML install these packages with whatever pip they find, or fail; Wardian needs no pip of the environment.",
         "add `- pip` to the dependencies", _no_pip, fixable=True, azure="pip missing"),
    Rule("duplicate-requirement", "warning", "a package that is asked for twice",
         "A reader trusts the line that he sees first, while the solver must satisfy both.",
         "keep one of the lines", _duplicate, codes=("duplicate_requirement", "repeated_requirement"), fixable=True),
    Rule("conda-and-pip", "error", "one package from conda and from pip",
         "Both write the same files, and what is imported depends on who wrote last; Wardian refuses to lock that.",
         "leave one of them out: pip's, if the channel has the version", _from_both),
    Rule("build-string", "warning", "a conda package with its build string",
         "A build belongs to one platform, and channels remove old ones: such a definition solves on one kind of machine, for a time.",
         "leave the build out, as the lock pins it anyway", _build_string),
    Rule("one-system", "warning", "a package that exists for one operating system only",
         "Files that were exported on macOS or Windows name packages that no Linux machine or image can install.",
         "leave it out, or give it a marker: `; sys_platform == 'win32'`", _one_system),
    Rule("empty-definition", "warning", "a definition that asks for nothing",
         "Such an environment has no packages, not even Python: mostly a key is misspelled or a list is empty by mistake.",
         "name a Python and packages, a base image, or an interpreter", _nothing, azure="conda dependencies missing"),
)  # fmt: skip
