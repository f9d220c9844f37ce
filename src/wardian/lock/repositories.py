"""Which Maven repositories a definition speaks of: aliases, URLs, credentials."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING
from urllib.parse import quote

from wardian.definition.well_known import DEFAULT_REPOSITORY, MAVEN_REPOSITORIES
from wardian.errors import InvalidInput, NotFound
from wardian.lock.indexes import expand
from wardian.tools.http import Credentials, split_credentials, with_credentials

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wardian.definition.environment import SparkSection

SOURCE = "repository:"  # what a jar's ``source`` begins with
_SCHEMES = ("http://", "https://", "file:///")


@dataclass(frozen=True, slots=True)
class MavenRepository:
    """A repository in Maven's layout.

    Attributes:
        alias: what jars say after ``repository:``: a configured or well-known name, or ``#<n>``: the n-th of ``spark.repositories``.
        url: without credentials, without ``/`` at its end.
        credentials: what a variable in the definition's URL, or the setting, held.
    """

    alias: str
    url: str
    credentials: Credentials | None = field(default=None, repr=False)

    def file(self, path: str) -> str:
        """Return the URL of a file below it, credentials included. Never to be shown or stored."""
        return with_credentials(f"{self.url}/{quote(path, safe='/+~-._')}", self.credentials)

    def __str__(self) -> str:
        return self.url if self.alias.startswith("#") else f"{self.alias} ({self.url})"


def plan_repositories(
    spark: SparkSection, *, configured: Mapping[str, str], mirrors: Mapping[str, str], environ: Mapping[str, str]
) -> tuple[MavenRepository, ...]:
    """Return the repositories of a definition in the order that they are asked: its own, then Maven Central unless it is one of them.

    Args:     configured: URLs by alias (settings); ``central`` replaces Maven Central.  mirrors: URL prefixes that another server stands in for.
              environ: where ``${NAME}`` in URLs comes from.
    Raises:   InvalidInput: ``unknown_repository``, ``bad_repository``, ``unset_variable``.
    """
    known = {**MAVEN_REPOSITORIES, **configured}
    found: list[MavenRepository] = []
    for i, text in enumerate(spark.repositories):
        place = f"spark.repositories[{i}]"
        if "://" in text or text.startswith("${"):
            found.append(_by_url(expand(text, environ, place), f"#{i}", place, known))
        elif text.startswith("/"):
            found.append(_by_url(f"file://{quote(text)}", f"#{i}", place, known))
        elif text in known:
            found.append(_by_name(text, known[text]))
        else:
            raise InvalidInput(f"{place}: no repository is called `{text[:80]}`", code="unknown_repository",
                               hint=f"write a URL, or one of {', '.join(f'`{name}`' for name in sorted(known))}; `wardian config set repositories.NAME URL` adds one")  # fmt: skip
    found.append(_by_name(DEFAULT_REPOSITORY, known[DEFAULT_REPOSITORY]))
    unique: dict[str, MavenRepository] = {}
    for one in found:
        is_mirrored = any(
            f"{one.url}/".startswith(f"{prefix.rstrip('/')}/") for prefix in mirrors
        )  # its login is not for the mirror
        unique.setdefault(one.url, replace(one, credentials=None) if is_mirrored else one)
    return tuple(unique.values())


def get_repository(repositories: tuple[MavenRepository, ...], alias: str) -> MavenRepository:
    """Return the repository with this alias.

    Raises:   NotFound: code ``repository_not_found``.
    """
    for one in repositories:
        if one.alias == alias:
            return one
    raise NotFound(f"the definition has no repository `{alias}`", code="repository_not_found",
                   hint="the lock belongs to another definition, or a repository was taken out of the settings")  # fmt: skip


def _by_url(text: str, alias: str, place: str, known: Mapping[str, str]) -> MavenRepository:
    if not text.startswith(_SCHEMES):
        raise InvalidInput(f"{place}: `{text.partition('://')[0][:40]}://…` is no repository's URL", code="bad_repository",
                           hint="https://…, http://…, or file:///… for a directory of this machine")  # fmt: skip
    url, credentials = split_credentials(text.rstrip("/"))
    name = next((name for name, base in known.items() if split_credentials(base.rstrip("/"))[0] == url), alias)
    return MavenRepository(name, url, credentials)


def _by_name(alias: str, text: str) -> MavenRepository:
    url, credentials = split_credentials(text.rstrip("/"))
    return MavenRepository(alias, url, credentials)
