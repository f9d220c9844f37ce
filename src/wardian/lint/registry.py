"""Every rule, as data: what the command, the documentation and SARIF are made from."""

from __future__ import annotations

from wardian.lint import channels, images, indexes, locked, meaning, packages, python, spark
from wardian.lint.finding import Rule

UNKNOWN_IGNORE = Rule(
    "unknown-ignore", "warning", "`# wardian: ignore[…]` with a name that no rule has",
    "It silences nothing, though its writer believes so.", "write the id as a finding shows it",
)  # fmt: skip

FAMILIES: tuple[tuple[str, tuple[Rule, ...]], ...] = (
    ("Packages", packages.RULES),
    ("Python", python.RULES),
    ("Channels", channels.RULES),
    ("Indexes and pip's options", indexes.RULES),
    ("Images", images.RULES),
    ("Spark", spark.RULES),
    ("The definition as a whole", meaning.RULES),
    ("Locks", locked.RULES),
    ("Comments", (UNKNOWN_IGNORE,)),
)
RULES: dict[str, Rule] = {rule.id: rule for _, rules in FAMILIES for rule in rules}
_BY_CODE = {code: rule for rule in RULES.values() for code in rule.codes}


def rule_of(code: str, *, severity: str) -> Rule:
    """Return the rule for what a reader says with ``code``; one made for it, if no other is."""
    if found := _BY_CODE.get(code):
        return found
    why = "Such a file is no definition: nothing can be locked or built from it until this is mended."
    if severity != "error":
        why = "It is read in another way than its writer may think."
    return Rule(code.replace("_", "-"), severity, "what the reader of the format says", why, "see the message")
