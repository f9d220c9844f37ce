"""`wardian endpoint score|bench`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from wardian.cli.common import Session, command, examples, json_text
from wardian.cli.endpoint_show import endpoint_argument

if TYPE_CHECKING:
    from wardian.serving.load import Figures

_key = click.option(
    "--key",
    "api_key",
    metavar="KEY",
    envvar="WARDIAN_ENDPOINT_KEY",
    help="An API key; you, its owner, need none. Better: WARDIAN_ENDPOINT_KEY.",
)


@click.command(epilog=examples(
    "wardian endpoint score churn '{\"data\": [[5.1, 3.5]]}'", "wardian endpoint score churn @request.json", "cat image.png | wardian endpoint score vision -",
))  # fmt: skip
@endpoint_argument
@click.argument("data", metavar="DATA|@FILE|-")
@_key
@click.option("--timeout", metavar="T", help="Give up after this time: 90, 30s, 10m.")
@command
def score(session: Session, name: str, data: str, api_key: str | None, timeout: str | None) -> None:
    """Send data to an endpoint, and print what it answers.

    DATA is JSON; @FILE is a file's content, - what stdin has: sent as JSON if it is, else as it stands.
    """
    from wardian.cli.run_options import duration_s

    answer = session.workspace.endpoints.get(name).score(_data(data), key=api_key, timeout_s=duration_s(timeout))
    if isinstance(answer, bytes):
        sys.stdout.buffer.write(answer)
        sys.stdout.flush()
        return
    session.show(answer, lambda: json_text(answer))


@click.command(epilog=examples(
    "wardian endpoint bench churn --requests requests.jsonl", "wardian endpoint bench churn --requests requests.jsonl -n 10000 -c 8 --json",
))  # fmt: skip
@endpoint_argument
@click.option(
    "--requests",
    "path",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="A request body a line, in JSON.",
)
@click.option("-n", "--count", type=click.IntRange(min=1), metavar="N", help="How many are sent; else each line once.")
@click.option(
    "-c", "--connections", type=click.IntRange(min=1, max=256), default=8, show_default=True, metavar="C", help="At a time."
)
@_key
@command
def bench(session: Session, name: str, path: Path, count: int | None, connections: int, api_key: str | None) -> int:
    """Replay requests, and say how fast the endpoint answers them. Exit code 1 if any failed."""
    from wardian.serving.load import read_requests, replay

    found = session.workspace.endpoints.get(name)
    bodies = read_requests(path)
    url = found.url
    if url is None:
        from wardian.errors import Unavailable

        raise Unavailable(f"endpoint `{name}` does not serve: {found.reason or found.state}", code="not_serving")
    figures = replay(url, bodies, count=count or len(bodies), connections=connections, key=api_key or found.token())
    session.show({"name": name, **figures.as_document()}, lambda: _figures(figures))
    return 1 if figures.failed else 0


def _data(text: str) -> Any:
    import json

    from wardian.errors import InvalidInput, NotFound

    if text == "-" or text.startswith("@"):
        if text == "-":
            content = sys.stdin.buffer.read()
        else:
            path = Path(text[1:])
            try:
                content = path.read_bytes()
            except OSError as error:
                raise NotFound(f"{path} cannot be read: {error.strerror}", code="no_such_path") from error
        try:
            return json.loads(content)
        except (ValueError, RecursionError):
            return content
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidInput(
            f"`{text[:80]}` is no JSON: {error}", code="not_json", hint='a file is given with `@FILE`, text as "in quotes"'
        ) from None


def _figures(figures: Figures) -> list[str]:
    document = figures.as_document()
    latency = document["latency_ms"]
    lines = [
        f"{document['requests']} requests over {document['connections']} connections in {document['seconds']:.2f} s: {document['requests_per_s']:.0f}/s, {document['failed']} failed",
        "latency (ms)  " + "  ".join(f"{key} {latency[key]:.2f}" for key in ("min", "p50", "p90", "p99", "max")),
    ]  # fmt: skip
    lines += [f"  {text}: {count}" for text, count in document["failures"].items()]
    return [*lines, "", *figures.histogram()]
