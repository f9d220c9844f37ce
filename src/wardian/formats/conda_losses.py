"""What a conda file says and a definition does not: keys of conda's and of tools around it, noted as losses."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wardian.formats.yaml_text import YamlMapping, YamlScalar

if TYPE_CHECKING:
    from wardian.formats.ledger import Ledger
    from wardian.formats.yaml_fields import Fields
    from wardian.formats.yaml_text import YamlNode

NOT_KEPT: dict[str, tuple[str, str | None]] = {
    "prefix": ("Wardian chooses where an environment is installed", None),
    "platforms": ("platforms are chosen when locking", "`wardian env lock FILE --platform P`"),
    "category": ("a definition has no categories", "one file for each environment"),
    "channel_priority": ("channels are used in their order, strictly", None),
    "description": ("an environment is described when it is made", "`wardian env create NAME -f FILE --description TEXT`"),
}
_AS_HERE = {"channel_priority": "strict"}


def note_losses(fields: Fields, ledger: Ledger) -> None:
    """Note each key of ``fields``, a conda file, that nothing is made of."""
    for key, node in fields.node.entries:
        if key.value not in NOT_KEPT:
            continue
        value = (fields.text("prefix") or "") if key.value == "prefix" else _shown(node)
        if value and _AS_HERE.get(key.value) != value:
            why, hint = NOT_KEPT[key.value]
            ledger.note(
                "dropped",
                fields.field_path(key.value),
                why,
                hint=hint,
                value="" if key.value == "prefix" else value,
                line=key.line,
            )


def _shown(node: YamlNode) -> str:
    if isinstance(node, YamlScalar):
        return "" if node.is_null else node.value
    if isinstance(node, YamlMapping):
        return ", ".join(key.value for key, _ in node.entries)
    return ", ".join(filter(None, map(_shown, node.items)))
