"""Write docs/benchmarks.md from pytest-benchmark's JSON. Numbers in the documentation come from here, never from a hand."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

_SECTIONS = (
    (
        "ratio",
        "Against a peer, in the same run",
        "Both are called in turn; a claim holds if ours ≤ limit x peer (+ what is added).",
    ),
    ("at_most", "Against a number", "A claim holds if the median is at most the limit."),
    ("amount", "Against an amount", "A claim holds if it is at most what is allowed."),
    ("stated", "Stated", "No limit; for your own planning."),
)


def main(arguments: list[str] | None = None) -> int:
    """Write the report; return 0, or 1 if the JSON holds no claims."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", type=Path, help="what `pytest --benchmark-json` wrote")
    parser.add_argument("page", type=Path, help="the page to write")
    options = parser.parse_args(arguments)
    text = page(json.loads(options.results.read_text(encoding="utf-8")))
    if text is None:
        print(f"{options.results} holds no claims", file=sys.stderr)
        return 1
    options.page.write_text(text, encoding="utf-8")
    print(f"wrote {options.page}")
    return 0


def page(results: dict[str, Any]) -> str | None:
    """Return the page for ``results`` (pytest-benchmark's JSON), or None if no benchmark made a claim."""
    rows: dict[str, list[str]] = {}
    for benchmark in results["benchmarks"]:
        claim = benchmark.get("extra_info", {}).get("claim")
        if claim:
            rows.setdefault(claim["kind"], []).append(_row(benchmark, claim))
    if not rows:
        return None
    parts = [
        "# Benchmarks",
        "<!-- Written by bench/report.py (`make bench`). Edits by hand are lost. -->",
        f"Medians. {_machine(results)}",
        "Times depend on the machine and on what else it does; ratios much less. Run `make bench` for yours.",
    ]
    for kind, title, note in _SECTIONS:
        if kind in rows:
            parts += [f"## {title}", note, "\n".join([_HEADS[kind], *sorted(rows[kind])])]
    return "\n\n".join(parts) + "\n"


_HEADS = {
    "ratio": "| what | ours | peer | peer's time | ratio | allowed | holds |\n| --- | --- | --- | --- | --- | --- | --- |",
    "at_most": "| what | ours | allowed | holds |\n| --- | --- | --- | --- |",
    "amount": "| what | ours | allowed | holds |\n| --- | --- | --- | --- |",
    "stated": "| what | median | more |\n| --- | --- | --- |",
}


def _row(benchmark: dict[str, Any], claim: dict[str, Any]) -> str:
    ours = float(claim.get("ours_median_s", benchmark["stats"]["median"]))
    facts = benchmark["extra_info"].get("facts", {})
    more = "; ".join(f"{name} {text}" for name, text in facts.items())
    if claim["kind"] == "ratio":
        theirs = float(claim["peer_median_s"])
        allowed = f"{claim['limit']:.3g}x" + (f" + {claim['plus_s']:g} s" if claim["plus_s"] else "")
        holds = ours <= claim["limit"] * theirs + claim["plus_s"]
        name = claim["name"] + (f" ({more})" if more else "")
        return (
            f"| {name} | {_time(ours)} | {claim['peer']} | {_time(theirs)} | {ours / theirs:.2f}x | {allowed} | {_yes(holds)} |"
        )
    if claim["kind"] == "at_most":
        name = claim["name"] + (f" ({more})" if more else "")
        return f"| {name} | {_time(ours)} | {_time(claim['limit_s'])} | {_yes(ours <= claim['limit_s'])} |"
    if claim["kind"] == "amount":
        name = claim["name"] + (f" ({more})" if more else "")
        allowed = _size(claim["limit_bytes"]) + (f", {claim['of']}" if claim["of"] else "")
        return f"| {name} | {_size(claim['bytes'])} | {allowed} | {_yes(claim['bytes'] <= claim['limit_bytes'])} |"
    return f"| {claim['name']} | {_time(ours)} | {more or '–'} |"  # noqa: RUF001 - a dash


def _machine(results: dict[str, Any]) -> str:
    machine = results["machine_info"]["wardian"]
    cpu = results["machine_info"].get("cpu", {}).get("brand_raw", "")
    memory = round(machine["memory_bytes"] / (1 << 30))
    return (
        f"Measured on {results['datetime'][:10]}: {machine['cores']} cores{f' ({cpu})' if cpu else ''}, {memory} GiB of memory, "
        f"{machine['kernel']}, Python {machine['python']}, {machine['file_system']}."
    )


def _time(seconds: float) -> str:
    if seconds >= 1:
        return f"{seconds:.2f} s"
    return f"{seconds * 1e3:.1f} ms" if seconds >= 1e-3 else f"{seconds * 1e6:.3g} µs"


def _size(size_bytes: float) -> str:
    if size_bytes >= 1e6:
        return f"{size_bytes / 1e6:.1f} MB"
    return f"{size_bytes / 1e3:.1f} kB" if size_bytes >= 1e3 else f"{size_bytes:.0f} bytes"


def _yes(holds: bool) -> str:
    return "yes" if holds else "**no**"


if __name__ == "__main__":
    sys.exit(main())
