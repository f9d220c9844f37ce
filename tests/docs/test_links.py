from __future__ import annotations

import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from docs import generate

ROOT = Path(__file__).resolve().parents[2]
# mkdocs checks links between the pages of docs/ when it builds them strictly; this covers the others, and links out of docs/
PAGES = sorted(
    path
    for path in ROOT.rglob("*.md")
    if not any(part.startswith(".") or part in ("site", "node_modules") for part in path.relative_to(ROOT).parts)
)
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
_CODE = re.compile(r"```.*?```|`[^`\n]*`", re.DOTALL)


@cache
def _filled(page: Path) -> str:
    text = page.read_text(encoding="utf-8")
    return generate.on_page_markdown(text) if page.parent.name == "reference" else text


def _anchors(page: Path) -> set[str]:
    headings = re.findall(
        r"^#+ (.+)$",
        _CODE.sub(lambda m: m[0].strip("`") if "\n" not in m[0] else "", _filled(page)),
        re.MULTILINE,
    )
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_to_something(page: Path) -> None:
    broken = []
    for link in _LINK.findall(_CODE.sub("", page.read_text(encoding="utf-8"))):
        if "://" in link or link.startswith("mailto:"):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        if not target.exists() or (anchor and target.suffix == ".md" and anchor not in _anchors(target)):
            broken.append(link)
    assert broken == []


def test_every_page_is_in_the_navigation() -> None:
    """And every decision is in the list of decisions."""
    listed = (ROOT / "mkdocs.yml").read_text(encoding="utf-8") + (ROOT / "docs/adr/index.md").read_text(encoding="utf-8")
    pages = [path for path in (ROOT / "docs").rglob("*.md") if path.name != "template.md"]
    names = {path.name if path.parent.name == "adr" else path.relative_to(ROOT / "docs").as_posix() for path in pages}
    assert {name for name in names if name not in listed} == set()


def test_every_decision_has_the_same_parts() -> None:
    for path in sorted((ROOT / "docs/adr").glob("0*.md")):
        text = path.read_text(encoding="utf-8")
        assert re.match(
            rf"# {path.name[:4]}: .+\n\nStatus: (accepted|replaced by \d{{4}}) · \d{{4}}-\d{{2}}-\d{{2}}\n", text
        ), path.name
        for part in ("Context", "Decision", "Consequences", "Alternatives"):
            assert f"\n## {part}\n" in text, f"{path.name} has no {part}"


def test_every_shell_script_can_be_parsed() -> None:
    for script in (ROOT / ".ci/run", ROOT / "scripts/venv", ROOT / "scripts/test-tools"):
        assert script.stat().st_mode & 0o111, f"{script.name} has no run bit"
        subprocess.run(["bash", "-n", str(script)], check=True)


def test_make_help_lists_every_target() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z][a-z-]*):", makefile, re.MULTILINE))
    done = subprocess.run(["make", "--no-print-directory", "help"], cwd=ROOT, capture_output=True, text=True, check=True)
    listed = dict(re.findall(r"^  make ([a-z-]+) +(\S.*)$", done.stdout, re.MULTILINE))
    assert {"demo", "test", "test-all", "bench"} <= targets == listed.keys()


def test_no_page_names_a_machine_or_a_registry() -> None:
    """A page is for everybody: paths begin with `~` or with what is the same everywhere, servers are examples."""
    wrong = re.compile(
        r"/tmp/pytest|127\.0\.0\.1(?!:\d+/score)|localhost|\b(?:pypi|npmjs|debian|anaconda)\.(?:org|com)\b|python[h]osted|/(?:root|work)/"
    )
    pages = [*PAGES, *(ROOT / "examples").rglob("*.*"), *(ROOT / "tests/golden").rglob("*.txt")]
    found = {
        f"{page.relative_to(ROOT)}: {line}"
        for page in pages
        if page.is_file() and page.suffix in (".md", ".txt", ".yml", ".yaml", ".py")
        for line in page.read_text(encoding="utf-8").splitlines()
        if wrong.search(line)
    }
    assert found == set()


def test_the_built_pages_load_nothing_from_elsewhere(tmp_path: Path) -> None:
    """No fonts, scripts or styles of other servers: the documentation works without a network, and tells nobody who reads it."""
    subprocess.run([sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", tmp_path / "site"], cwd=ROOT, check=True,
                   env={**os.environ, "NO_MKDOCS_2_WARNING": "1"})  # fmt: skip
    loads = re.compile(
        r"""<(?:script|img|iframe)[^>]*\ssrc=["']?(?:https?:)?//[^>]*>|<link[^>]*\shref=["']?(?:https?:)?//[^>]*>|@import url\(["']?http[^)]*"""
    )
    pages = [path for path in (tmp_path / "site").rglob("*") if path.suffix in (".html", ".css")]
    assert len(pages) > 40
    assert {found for path in pages for found in loads.findall(path.read_text(encoding="utf-8"))} == set()
