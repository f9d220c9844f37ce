"""What commands that change names, labels and tags have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from wardian.cli.pairs import pairs

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from wardian.cli.common import Session
    from wardian.workspace.version import LabelMove


class _Labelled(Protocol):
    """Environments or models, by the names of which labels are kept."""

    def label_history(self, name: str, label: str) -> Sequence[LabelMove]: ...

    def remove_label(self, name: str, label: str) -> None: ...


def change_label(
    session: Session,
    things: _Labelled,
    name: str,
    label: str,
    *,
    history: bool,
    remove: bool,
    give: Callable[[], tuple[dict[str, Any], object]],
) -> None:
    """Show where ``label`` was, take it away, or give it to a version; and say so.

    Args:     give: does the last, and returns the version's document and what it is called.
    """
    if history:
        moves = things.label_history(name, label)
        session.show([{"label": label, "from": m.from_version, "to": m.to_version, "moved": m.moved} for m in moves],
                     lambda: [f"{m.moved}  {m.from_version or '-'} → {m.to_version or '-'}" for m in moves])  # fmt: skip
    elif remove:
        things.remove_label(name, label)
        session.show({"name": name, "label": label, "removed": True}, lambda: f"removed {name}@{label}")
    else:
        document, called = give()
        session.show(document, lambda: f"{name}@{label} → {called}")


def tags_after(tags: Mapping[str, str], given: tuple[str, ...]) -> dict[str, str] | None:
    """Return ``tags`` with those of ``--tag K=V`` set and those of ``--tag K=`` gone; None: none were given.

    Raises:   UsageError.
    """
    if not given:
        return None
    return {key: value for key, value in {**tags, **pairs(given, "--tag")}.items() if value}


def ask_for_yes(yes: bool, what: str, hint: str) -> None:
    """See to it that nobody deletes by a slip.

    Raises:   Conflict: ``needs_yes``.
    """
    if not yes:
        from wardian.errors import Conflict

        raise Conflict(what, hint=hint, code="needs_yes")
