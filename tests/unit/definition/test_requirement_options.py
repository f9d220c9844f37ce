"""pip's options: long names, checked values, and which are refused."""

from __future__ import annotations

import pytest

from wardian.definition.pip_option import PipOption
from wardian.errors import InvalidInput

FORMS = {
    "-i https://example.org/simple": "--index-url https://example.org/simple",
    "-ihttps://example.org/simple": "--index-url https://example.org/simple",
    "--index-url=https://example.org/simple": "--index-url https://example.org/simple",
    "--pypi-url https://example.org/simple": "--index-url https://example.org/simple",
    "--index https://example.org/simple": "--index-url https://example.org/simple",
    "--index-url team": "--index-url team",
    "--index-url ${INDEX}/simple": "--index-url ${INDEX}/simple",
    "--extra-index-url 'https://example.org/simple'": "--extra-index-url https://example.org/simple",
    "-f ./wheels/": "--find-links ./wheels",
    "--find-links 'my wheels'": "--find-links './my wheels'",
    "--find-links https://example.org/links.html": "--find-links https://example.org/links.html",
    "--find-links /srv/wheels": "--find-links /srv/wheels",
    "--no-binary Foo_Bar,:none:": "--no-binary foo-bar,:none:",
    "--only-binary=:all:": "--only-binary :all:",
    "--pre": "--pre",
    "--prefer": "--prefer-binary",
    "--no-index": "--no-index",
    "--require-hashes": "--require-hashes",
    "--trusted-host example.org:8080": "--trusted-host example.org:8080",
    "--use-feature fast-deps": "--use-feature fast-deps",
}


@pytest.mark.parametrize(("written", "normal"), FORMS.items(), ids=list(FORMS))
def test_each_option_has_one_normal_spelling(written: str, normal: str) -> None:
    option = PipOption.parse(written)
    assert str(option) == normal
    assert PipOption.parse(normal) == option


@pytest.mark.parametrize(
    ("written", "code"),
    [
        ("--nope", "unknown_pip_option"),
        ("--p", "unknown_pip_option"),  # --pre or --prefer-binary
        ("--", "bad_pip_option"),
        ("-x", "unknown_pip_option"),
        ("--pre=yes", "bad_pip_option"),
        ("--pre yes", "bad_pip_option"),
        ("--pre --no-index", "bad_pip_option"),
        ("numpy", "bad_pip_option"),
        ("", "bad_pip_option"),
        ("--index-url", "bad_pip_option"),
        ("--index-url=", "bad_pip_option"),
        ("--index-url 'https://example.org", "bad_pip_option"),
        ("--index-url ./simple", "bad_pip_option"),
        ("--no-binary ,", "bad_pip_option"),
        ("--trusted-host https://example.org", "bad_pip_option"),
        ("--find-links 'a #b'", "bad_pip_option"),
        ("--requirement other.txt", "bad_pip_option"),
        ("--config-settings a=b", "unsupported_pip_option"),
        ("--global-option=x", "unsupported_pip_option"),
        ("--no-require-hashes", "unsupported_pip_option"),
        ("--all-releases :all:", "unsupported_pip_option"),
        ("--index-url https://user:word@example.org", "secret_in_definition"),
        ("--nope https://user:word@example.org", "secret_in_definition"),
    ],
)
def test_what_is_no_option_is_refused_by_code(written: str, code: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        PipOption.parse(written)
    assert refused.value.stable_code == code
    assert "word" not in refused.value.message
