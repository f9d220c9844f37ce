from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from wardian.errors import BuildFailed
from wardian.image.conda_activation import ImageActivation, image_activation
from wardian.image.conda_entries import PackageFacts

if TYPE_CHECKING:
    from pathlib import Path

OWN = "/opt/env/bin"


def facts(*files: str, **scripts: str) -> PackageFacts:
    activation = {f"etc/conda/activate.d/{name}.sh": text for name, text in scripts.items()}
    return PackageFacts(
        tuple({"_path": path, "path_type": "hardlink"} for path in [*files, *activation]), activation=activation
    )


def variables(text: str, *files: str) -> dict[str, str]:
    found = image_activation([facts(*files, x=text)])
    assert found.notes == ()
    return dict(found.variables)


def test_without_scripts_only_the_path_is_set() -> None:
    assert image_activation([PackageFacts(())]) == ImageActivation({}, (OWN,))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('export A="$CONDA_PREFIX/share/a"\n', {"A": "/opt/env/share/a"}),
        ("#!/bin/sh\n# sees /usr/bin\nexport A='two words' B=2\nC=3\n", {"A": "two words", "B": "2"}),
        ('export A=1\nexport A="$A:${A}"\nunset NOTHING', {"A": "1:1"}),
        ('export A="a\nb"', {"A": "a\nb"}),
        ("echo chatter\necho more >&2\nexport A=1 2> /dev/null", {"A": "1"}),
        ('if [ -d "$CONDA_PREFIX/share/gdal" ]; then export A=$CONDA_PREFIX/share/gdal; fi', {"A": "/opt/env/share/gdal"}),
        ('if [ -f "$CONDA_PREFIX/share/none" ]; then export A=1; else export A=0; fi', {"A": "0"}),
        ('for f in "$CONDA_PREFIX"/share/gdal/*; do export A="${f##*/}"; done', {"A": "x.csv"}),
        ('if [ -n "$A" ]; then export SAVED_A=$A; fi; export A=$(printf %s built-in)', {"A": "built-in"}),
        ('[ -n "$HOME$USER$LANG" ] && export A=leak; true', {}),
        ('export A=1\n[ -n "$NOTHING" ] && export A=2', {"A": "1"}),  # conda doesn't look at how a script ends either
        ('export A="$PATH"', {}),  # the base's PATH is not known here
    ],
)  # fmt: skip
def test_exports_are_kept_and_name_the_images_prefix(text: str, expected: dict[str, str]) -> None:
    assert variables(text, "share/gdal/x.csv") == expected


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("export A=$(uname -r)", "needs uname"),
        ('export A="$("$CONDA_PREFIX/bin/python" -c 1)"', "needs bin/python"),
        ("helper() { export A=1; }\nhelper", "functions of a shell"),
        ("exit 0", "to end the shell"),
        ("export A=$HOSTNAME", "`$HOSTNAME` of the machine"),
        ("export A=$(/bin/uname)", "`/bin` of the machine"),
        ("read A < /etc/hostname; export A", "`/etc` of the machine"),
    ],
)
def test_more_than_exports_is_told_and_has_no_effect(text: str, why: str) -> None:
    found = image_activation([facts("bin/python", a="export BEFORE=1", b=text, c='export AFTER="$BEFORE$A"')])
    assert found.variables == {"BEFORE": "1", "AFTER": "1"}
    (note,) = found.notes
    assert note.startswith("etc/conda/activate.d/b.sh needs ")
    assert why in note


def test_scripts_run_in_the_order_of_their_names_after_files_of_variables() -> None:
    json = PackageFacts(
        (), activation={"etc/conda/env_vars.d/b.json": '{"A": "b"}', "etc/conda/env_vars.d/a.json": '{"A": "a"}'}
    )
    found = image_activation([facts(two='export B="$A-2"'), json, facts(one='export A="$A-1"')])
    assert found.variables == {"A": "b-1", "B": "b-1-2"}


def test_places_on_the_path_come_before_the_environments_own() -> None:
    found = image_activation([facts(x='export PATH="$CONDA_PREFIX/tools:$PATH:$CONDA_PREFIX/late"')])
    assert found.path_entries == ("/opt/env/tools", OWN, "/opt/env/late")
    assert found.variables == {}


@pytest.mark.parametrize("text", ["{", "[1]", '{"a b": "1"}', '{"B": "a\\u0000b"}'])
def test_files_of_variables_that_cannot_be_read_are_errors(text: str) -> None:
    with pytest.raises(BuildFailed, match=r"env_vars\.d/v\.json") as caught:
        image_activation([PackageFacts((), activation={"etc/conda/env_vars.d/v.json": text})])
    assert caught.value.stable_code == "activation_failed"


def test_a_script_that_does_not_end_is_named() -> None:
    with pytest.raises(BuildFailed, match=r"slow\.sh did not end within 0\.2 s"):
        image_activation([facts(slow="while :; do :; done")], timeout_s=0.2)


def test_nothing_of_this_process_is_seen_and_nothing_is_left(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LEAK", "1")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    assert variables('export A="leak:${LEAK:-none}"') == {"A": "leak:none"}
    assert list(tmp_path.iterdir()) == []
