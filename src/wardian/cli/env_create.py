"""`wardian env create`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from wardian.cli.common import Session, command, examples
from wardian.cli.completion import complete_reference
from wardian.cli.pairs import pairs
from wardian.cli.views import version_row

if TYPE_CHECKING:
    from wardian.definition.environment import Environment
    from wardian.workspace.version import EnvironmentVersion


@click.command(epilog=examples(
    "wardian env create sklearn -r requirements.txt",
    "wardian env create sklearn -f environment.yml -V OMP_NUM_THREADS=4",
    "wardian env create serving --from sklearn:3 --python 3.11",
    "wardian env create tool --pyproject . --extra cli --group test",
    "wardian env create tool -f uv.lock --extra cli",
    "wardian env create gpu -f pixi.lock --environment gpu",
    "wardian env create system --manager user --interpreter /usr/bin/python3",
    "wardian env create mine --here",
    "wardian env create old --here ~/miniconda3/envs/old --exact",
    "wardian env create tools --dockerfile Dockerfile --build-arg RELEASE=2 --build-secret token=team-token",
))  # fmt: skip
@click.argument("name")
@click.option("-f", "--file", "file", type=click.Path(path_type=Path), help="A definition of any known format.")
@click.option("-r", "--requirements", type=click.Path(path_type=Path), help="A requirements.txt.")
@click.option("--pyproject", type=click.Path(path_type=Path), help="A pyproject.toml, or its directory.")
@click.option("--extra", "extras", multiple=True, help="Of a pyproject.toml or uv.lock: an extra to include.")
@click.option("--group", "groups", multiple=True, help="Of a pyproject.toml or uv.lock: a dependency group to include.")
@click.option(
    "--environment", "chosen", metavar="NAME", help="Of a pixi.lock or pixi.toml: which environment; default: default."
)
@click.option("--image", help="A base image.")
@click.option("--dockerfile", type=click.Path(path_type=Path, dir_okay=False), help="A Dockerfile.")
@click.option("--build-arg", "build_args", multiple=True, metavar="K=V", help="A build argument of its Docker steps.")
@click.option(
    "--build-secret",
    "build_secrets",
    multiple=True,
    metavar="ID[=NAME]",
    help="A stored secret that its Docker steps mount as ID.",
)
@click.option("--from", "source", metavar="REF", help="Another environment.", shell_complete=complete_reference)
@click.option(
    "--here", is_flag=False, flag_value="", metavar="[PREFIX]",
    help="What is installed: in the environment in use, or in the conda or virtual environment at PREFIX.",
)  # fmt: skip
@click.option("--exact", is_flag=True, help="With --here: every package as it is there; default: what was asked for.")
@click.option("--version", "version", metavar="V", help="Exactly this version; default: the next number.")
@click.option("-V", "--variable", "variables", multiple=True, metavar="K=V", help="A variable that runs get.")
@click.option("--base-image", metavar="IMAGE", help="The image that images of it start from.")
@click.option("--python", "python", metavar="X.Y", help="The Python version.")
@click.option("--manager", type=click.Choice(["conda", "uv", "user"]), help="Who installs the packages.")
@click.option("--interpreter", metavar="PATH", help="With --manager user: the interpreter.")
@click.option("--description", help="What it is for.")
@click.option("--tag", "tags", multiple=True, metavar="K=V", help="A tag.")
@command
def create(session: Session, name: str, **options: Any) -> None:
    """Register a version of NAME; an existing version with the same content is returned as it is."""
    path, format_name = _file(options)
    environments = session.workspace.environments
    environment: Environment | EnvironmentVersion | None = None
    read = None
    if options["here"] is not None:
        read = environments.read_installed(options["here"] or None, exact=options["exact"])
    elif options["chosen"] is not None:
        if path is None:
            raise click.UsageError("--environment goes with -f")
        read = environments.read(path, format_name=format_name, environment=options["chosen"])
        path = None
    elif options["source"]:
        environment = environments.get(options["source"])
    elif path is None:
        environment = _from_scratch(options)
    version, created = environments.create(
        name, environment, path=path, read=read, format_name=format_name, extras=options["extras"], groups=options["groups"], version=options["version"],
        variables=pairs(options["variables"], "-V"), description=options["description"], tags=pairs(options["tags"], "--tag") or None,
        change=lambda env: _changed(env, options),
    )  # fmt: skip
    session.show(
        {**version_row(version), "created_now": created, "losses": session.progress.losses},
        lambda: f"{version}  @{version.definition_hash.short}{'' if created else '  (unchanged)'}",
    )


def _file(options: dict[str, Any]) -> tuple[Path | None, str | None]:
    given = [(options["file"], None), (options["requirements"], "requirements"), (options["pyproject"], "pyproject")]
    chosen = [(path, kind) for path, kind in given if path is not None]
    others = [o for o in ("source", "image", "dockerfile") if options[o]] + ["here"] * (options["here"] is not None)
    if len(chosen) + len(others) > 1:
        raise click.UsageError("give one of -f, -r, --pyproject, --image, --dockerfile, --from and --here")
    if options["exact"] and options["here"] is None:
        raise click.UsageError("--exact goes with --here")
    if (options["extras"] or options["groups"]) and options["pyproject"] is None and options["file"] is None:
        raise click.UsageError("--extra and --group go with -f or --pyproject")
    return chosen[0] if chosen else (None, None)


def _from_scratch(options: dict[str, Any]) -> Environment:
    from wardian.definition.docker_section import DockerSection
    from wardian.definition.environment import Environment, PythonSection
    from wardian.errors import InvalidInput

    if options["image"] or options["dockerfile"]:
        text = None
        if options["dockerfile"]:
            from wardian.small_file import read_small

            try:
                text = read_small(options["dockerfile"]).decode().replace("\r\n", "\n").replace("\r", "\n")
            except (OSError, UnicodeDecodeError) as error:
                why = error.strerror if isinstance(error, OSError) else error
                raise InvalidInput(f"{options['dockerfile']} cannot be read: {why}", code="unreadable_file") from error
            from wardian.definition.dockerfile import parse_dockerfile

            parse_dockerfile(text, str(options["dockerfile"]))  # its faults at its own lines
        return Environment(
            python=PythonSection(manager="user"), docker=DockerSection(base_image=options["image"], dockerfile=text)
        )
    if options["interpreter"] or options["manager"] == "user":
        return Environment(python=PythonSection(manager="user", interpreter=options["interpreter"]))
    raise click.UsageError(
        "give what it is made from: -f FILE, -r FILE, --pyproject DIR, --image I, --dockerfile F, --from REF, --here or --interpreter P"
    )


def _changed(environment: Environment, options: dict[str, Any]) -> Environment:
    python = environment.python
    if options["manager"]:
        python = replace(python, manager=options["manager"])
    if options["interpreter"]:
        python = replace(python, interpreter=options["interpreter"])
    if options["python"]:
        if python.manager == "conda":
            from wardian.definition.match_spec import MatchSpec

            rest = tuple(text for text in python.conda if MatchSpec.parse(text).name != "python")
            python = replace(python, conda=(f"python={options['python']}", *rest))
        else:
            python = replace(python, requires_python=options["python"])
    docker = replace(environment.docker, base_image=options["base_image"]) if options["base_image"] else environment.docker
    if options["build_args"] or options["build_secrets"]:
        secrets = tuple(text if "=" in text else f"{text}={text}" for text in options["build_secrets"])
        docker = replace(docker, build_args={**docker.build_args, **pairs(options["build_args"], "--build-arg")},
                         build_secrets={**docker.build_secrets, **pairs(secrets, "--build-secret")})  # fmt: skip
    return (
        environment
        if (python, docker) == (environment.python, environment.docker)
        else replace(environment, python=python, docker=docker)
    )
