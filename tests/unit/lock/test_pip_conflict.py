"""uv's explanations, as they were printed by uv 0.13.9, made into trees."""

from __future__ import annotations

from wardian.lock.pip_conflict import explain

DIRECT = """Because delta<=0.9 depends on beta>=2,<4 and delta>=1.0 depends on beta>=2, we can conclude that all versions of delta depend on beta>=2.
         And because you require delta and beta<2, we can conclude that your requirements are unsatisfiable."""

DEEP = """Because beta>=2.0 depends on eps<1 and delta<=0.9 depends on beta>=2, we can conclude that delta<=0.9 depends on eps<1. (1)

         Because beta>=2.0 depends on eps<1 and delta>=1.0 depends on beta>=2, we can conclude that delta>=1.0 depends on eps<1.
         And because we know from (1) that delta<=0.9 depends on eps<1, we can conclude that all versions of delta depend on eps<1.
         And because all versions of mid depend on delta and all versions of top depend on mid, we can conclude that all versions of top depend on eps<1.
         And because you require top and eps==2.0, we can conclude that your requirements are unsatisfiable."""


def test_two_lines_that_clash() -> None:
    assert explain(DIRECT, ["delta", "beta<2"]) == (
        "no set of packages satisfies the definition:\n"
        "  delta    ← python.pip[0] `delta`\n"
        "    wants beta>=2,<4  ✗\n"
        "    wants beta>=2  ✗\n"
        "  beta<2  ✗    ← python.pip[1] `beta<2`"
    )


def test_a_clash_far_down() -> None:
    assert explain(DEEP, ["gamma", "top", "eps==2.0"]) == (
        "no set of packages satisfies the definition:\n"
        "  top    ← python.pip[1] `top`\n"
        "    wants mid\n"
        "      wants delta\n"
        "        wants beta>=2\n"
        "          wants eps<1  ✗\n"
        "  eps==2.0  ✗    ← python.pip[2] `eps==2.0`"
    )


def test_what_is_not_there() -> None:
    text = "Because nosuch was not found in the package registry and you require nosuch, we can conclude that your requirements are unsatisfiable."
    assert explain(text, ["nosuch"]).endswith("`nosuch` is in none of the indexes")
    text = (
        "Because only beta<=2.0 is available and you require beta>5, we can conclude that your requirements are unsatisfiable."
    )
    assert explain(text, ["beta>5"]).splitlines()[1:] == [
        "  beta>5    ← python.pip[0] `beta>5`",
        "  only beta<=2.0 is available",
    ]
    text = "Because there is no version of foo==9 and you require foo==9, we can conclude that your requirements are unsatisfiable."
    assert "there is no foo==9" in explain(text, ["foo==9"])


def test_constraints_and_conda() -> None:
    text = "Because you require beta==1.0 and beta>1, we can conclude that your requirements are unsatisfiable."
    assert explain(text, ["beta>1"], ["beta==1.0"]).splitlines()[1:] == [
        "  beta==1.0  ✗    ← python.constraints[0] `beta==1.0`",
        "  beta>1  ✗    ← python.pip[0] `beta>1`",
    ]
    assert "← brought by conda" in explain(text.replace("beta==1.0", "numpy==1.0"), ["beta>1"], [], ["numpy"])


def test_what_is_not_understood_stays_as_it_is() -> None:
    assert explain("something else went wrong", ["a"]) == "something else went wrong"
    assert explain("", []) == ""
