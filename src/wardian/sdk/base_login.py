"""The stored secret that a definition names for the registry of its base image: checked before anything is asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wardian.errors import Denied, NotFound

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wardian.bootstrap import Parts
    from wardian.definition.docker_section import DockerSection


def check_login(parts: Parts, docker: DockerSection, images: Iterable[str]) -> None:
    """See to it that ``docker.credentials`` is the login that the registry of one of ``images`` gets; nothing to do without it.

    Logins are found by the host that they are bound to, so a definition cannot have one sent elsewhere. What it names is a promise:
    without that login here the registry would answer as if it had no such image.

    Args:     images: references as they are written; those that are no registry's are passed over.
    Raises:   NotFound: ``no_such_secret``.  Denied: ``secret_not_for_this``: it is for another registry.
    """
    if not docker.credentials:
        return
    name = docker.credentials
    secret = parts.secrets.find(name)
    places = sorted({place for image in images if (place := _place(image))})
    shown = places[0].partition("/")[0] if places else "HOST"
    if secret is None:
        raise NotFound(f"the definition wants the login `{name}` for its base image, and there is no secret of that name here", code="no_such_secret",
                       hint=f"`wardian secret set {name} --kind registry --url https://{shown} --user U` asks for the password")  # fmt: skip
    used = [parts.secrets.find_for(f"{scheme}://{place}") for place in places for scheme in ("https", "http")]
    if places and secret not in used:
        raise Denied(f"the definition wants the login `{name}` for {', '.join(places)}, and that is kept for {secret.url or 'no registry'}",
                     code="secret_not_for_this", hint="name the login of that registry under `docker: credentials:`: see `wardian secret list`")  # fmt: skip


def _place(image: str) -> str:
    """Return registry and repository of a reference; empty: it is none of a registry."""
    from wardian.errors import InvalidInput
    from wardian.image.reference import ImageReference, parse_image

    try:
        found = parse_image(image)
    except InvalidInput:  # a variable that only the builder knows
        return ""
    return found.name if isinstance(found, ImageReference) else ""
