"""What is worth a line in a definition: rules with an id, a severity, a place, why it matters and what to write.

Pure over what the readers return; only ``files`` opens files, and only ``--fix`` writes one.
"""

from __future__ import annotations

from wardian.lint.files import Linted, lint_file, lint_text
from wardian.lint.finding import SEVERITIES, Finding, Rule

__all__ = ["SEVERITIES", "Finding", "Linted", "Rule", "lint_file", "lint_text"]
