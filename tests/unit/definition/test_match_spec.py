from __future__ import annotations

import pytest

from wardian.definition.match_spec import MatchSpec
from wardian.errors import InvalidInput

MD5 = "0123456789abcdef" * 2
URL = "https://conda.example.org/ch/linux-64/numpy-1.26.4-py311_0.conda"


@pytest.mark.parametrize(
    ("written", "normalised"),
    [
        ("numpy", "numpy"),
        ("NumPy", "numpy"),
        ("  numpy  ", "numpy"),
        ("numpy 1.26", "numpy 1.26"),
        ("numpy   1.26", "numpy 1.26"),
        ("numpy=1.26", "numpy=1.26"),
        ("numpy = 1.26", "numpy=1.26"),
        ("numpy ==1.26", "numpy==1.26"),
        ("numpy >=1.26, <2", "numpy>=1.26,<2"),
        ("numpy >= 1.26 , < 2", "numpy>=1.26,<2"),
        ("numpy 1.26.*", "numpy 1.26.*"),
        ("numpy 1.26.* py311*", "numpy 1.26.* py311*"),
        ("numpy >=1.8,<2|==1.7 py*", "numpy>=1.8,<2|==1.7 py*"),
        ("numpy=1.26=py311_0", "numpy=1.26=py311_0"),
        ("numpy = 1.26 = py311_0", "numpy=1.26=py311_0"),
        ("numpy 1.26 py311_0", "numpy 1.26 py311_0"),
        ("numpy ( >=1 | <0.5 ) , !=3", "numpy (>=1|<0.5),!=3"),
        ("numpy 1.8.1|1.9.*", "numpy 1.8.1|1.9.*"),
        ("numpy *", "numpy *"),
        ("numpy 1!2.0+cu118", "numpy 1!2.0+cu118"),
        ("openssl 1.1.1_", "openssl 1.1.1_"),
        ("numpy >=1.2 ^py3[89]$", "numpy>=1.2 ^py3[89]$"),
        ("conda-forge::numpy", "conda-forge::numpy"),
        ("conda-forge :: numpy >=1", "conda-forge::numpy>=1"),
        ("conda-forge/linux-64::numpy", "conda-forge/linux-64::numpy"),
        ("nvidia/label/cuda-12.4.0::cuda", "nvidia/label/cuda-12.4.0::cuda"),
        ("https://conda.example.org/ch/::numpy", "https://conda.example.org/ch::numpy"),
        ("http://[::1]:8080/ch::numpy[build=py*]", "http://[::1]:8080/ch::numpy[build=py*]"),
        ("https://conda.example.org/t/${TOKEN}/ch::numpy", "https://conda.example.org/t/${TOKEN}/ch::numpy"),
        ("::numpy", "numpy"),
        ("numpy[version='>=1, <2', build=py*]", "numpy[version='>=1,<2',build=py*]"),
        ("numpy [ build = py* ]", "numpy[build=py*]"),
        ("numpy[version='>=1' build=py*]", "numpy[version='>=1',build=py*]"),
        ("numpy[build_string=py*]", "numpy[build=py*]"),
        ("numpy >=1[build_number='> 3']", "numpy>=1[build_number='>3']"),
        (f"numpy[md5={MD5}]", f"numpy[md5={MD5}]"),
        ("numpy[extras=[a, b]]", "numpy[extras=[a,b]]"),
        ("numpy[license='MIT OR BSD']", "numpy[license='MIT OR BSD']"),
        ("numpy[]", "numpy"),
        ("numpy>=1  # for the arrays", "numpy>=1"),
        ("numpy#comment", "numpy"),
        ("__cuda >=12", "__cuda>=12"),
        ("_libgcc_mutex", "_libgcc_mutex"),
        (URL, URL),
        (f"{URL}#{MD5}", f"{URL}#{MD5}"),
        (f"{URL}[md5={MD5}]", f"{URL}[md5={MD5}]"),
        ("file:///srv/ch/noarch/Foo-1-0.tar.bz2", "file:///srv/ch/noarch/Foo-1-0.tar.bz2"),
    ],
)
def test_every_documented_form_is_read_and_tidied(written: str, normalised: str) -> None:
    assert str(MatchSpec.parse(written)) == normalised
    assert str(MatchSpec.parse(normalised)) == normalised


def test_exact_and_fuzzy_versions_stay_apart() -> None:
    assert MatchSpec.parse("numpy 1.26") != MatchSpec.parse("numpy=1.26")
    assert MatchSpec.parse("numpy 1.26").version == "1.26"
    assert MatchSpec.parse("numpy=1.26").version == "=1.26"


def test_the_parts_have_names() -> None:
    spec = MatchSpec.parse("conda-forge/linux-64::NumPy >=1.26,<2 py311*[build_number='>3',license=BSD]")
    assert (spec.name, spec.version, spec.build, spec.channel) == ("numpy", ">=1.26,<2", "py311*", "conda-forge/linux-64")
    assert spec.bracket("build_number") == ">3"
    assert spec.bracket("license") == "BSD"
    assert spec.bracket("md5") is None


def test_a_url_names_its_package() -> None:
    assert MatchSpec.parse("https://conda.example.org/ch/noarch/Scikit-Learn-1.4-0.conda").name == "scikit-learn"


@pytest.mark.parametrize(
    ("written", "says", "hint"),
    [
        ("", "name of a package is missing", "for example"),
        ("   ", "name of a package is missing", "for example"),
        ("# numpy", "it is a comment", None),
        ("conda-forge::", "name of a package is missing", None),
        ("-numpy", "begins with `-`", None),
        ("-c conda-forge", "begins with `-`", "pip"),
        (">=1.26", "begins with `>`", None),
        ("num$py", "`$` cannot follow the name", None),
        ("numpy*", "`*` cannot follow", "written in full"),
        ("*[build=x]", "begins with `*`", "written in full"),
        ("conda-forge:numpy", "`:` cannot follow", "two colons"),
        ("numpy >=1 <2", "`<2` is not a build string", "comma between"),
        ("numpy >=", "`>=` is not a version", None),
        ("numpy >=1,", "version is missing", None),
        ("numpy >=1,,<2", "is not a version", None),
        ("numpy |1", "is not a version", None),
        ("numpy 1.26.", "cannot follow `1.26`", None),
        ("numpy 1..2", "cannot follow `1`", None),
        ("numpy=1.26=", "build string is missing", None),
        ("numpy 1.26 py 3", "`py 3` is not a build string", None),
        ("numpy 1.26 py**", "`py**` is not a build string", None),
        ("numpy 1.*.3", "cannot follow", "`.*`"),
        ("numpy !=*", "`!=*` is not a version", None),
        ("numpy 1-2_3", "cannot follow", None),
        ("numpy " + "9" * 30, "is not a version", None),
        ("numpy ===1.26", "is not a version", "conda writes `==`"),
        ("numpy =>1.26", "is not a version", "conda writes `>=`"),
        ("numpy =<1.26", "is not a version", "conda writes `<=`"),
        ("numpy ~1.26", "is not a version", "conda writes `~=`"),
        ("numpy ^1.26", "is not a version", "conda writes `~=`"),
        ("numpy@1.26", "`@` cannot follow", "conda writes `==`"),
        ("numpy (>=1", "closing bracket is missing", None),
        ("numpy >=1)", "`)` cannot follow", None),
        ("numpy ()", "is not a version", None),
        ("numpy " + "(" * 20 + "1" + ")" * 20, "nested more than 10 deep", None),
        ("numpy(>=1)", "`(` cannot follow", None),
        ("numpy[extra]>=1", "cannot follow the name", "belong under `pip:`"),
        ("numpy; python_version < '3'", "cannot follow", "belong under `pip:`"),
        ("numpy @ https://example.org/numpy.whl", "is not a version", "belong under `pip:`"),
        ("git+https://example.org/numpy", "cannot follow", "belong under `pip:`"),
        ("https://example.org/numpy", "cannot follow", "ends in `.conda`"),
        ("https://example.org/linux-64/numpy.conda", "name-version-build", None),
        ("numpy[build=x", "`[` cannot follow", None),
        ("numpy build=x]", "opening bracket is missing", None),
        ("numpy[foo=1]", "`foo` is no key", "known ones: version"),
        ("numpy[name=x]", "`name` is no key", None),
        ("numpy[build]", "is not `key=value`", None),
        ("numpy[build=]", "is not `key=value`", None),
        ("numpy[build=x,]", "is not `key=value`", None),
        ("numpy[build=x,build=y]", "`build` is there twice", None),
        ("numpy[version='']", "is missing", None),
        ("numpy[version='>=1 py3']", "is not a version", None),
        ("numpy[build='a b']", "is not a build string", None),
        ("numpy[build_number=x]", "is not a build number", None),
        ("numpy[md5=abc]", "is not a value for `md5`", None),
        (f"numpy[sha256={MD5}]", "is not a value for `sha256`", None),
        ("a b::numpy", "is not a channel", None),
        ("numpy>=1" * 400, "3,200 characters", None),
        ("num\u00ffpy", "cannot follow the name", None),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(written: str, says: str, hint: str | None) -> None:
    with pytest.raises(InvalidInput) as caught:
        MatchSpec.parse(written)
    assert caught.value.stable_code == "bad_match_spec"
    assert says in caught.value.message
    assert caught.value.hint is not None
    assert (hint or "") in caught.value.hint
    assert len(caught.value.message) < 4000


@pytest.mark.parametrize(
    "written", ["./numpy-1.26-0.conda", "/srv/numpy-1.26-0.tar.bz2", "numpy-1.26-0.conda", "conda-forge::numpy-1-0.conda"]
)
def test_a_package_file_without_a_channel_is_refused(written: str) -> None:
    with pytest.raises(InvalidInput, match="neither a package's name nor the URL") as caught:
        MatchSpec.parse(written)
    assert caught.value.stable_code == "local_conda_package"


@pytest.mark.parametrize(
    "written",
    [
        "https://user:hunter2@conda.example.org/ch::numpy",
        "https://conda.example.org/t/sekret-token/ch::numpy",
        "numpy[channel='https://conda.example.org/t/sekret-token/ch']",
        "https://user:hunter2@conda.example.org/ch/linux-64/numpy-1-0.conda",
        "numpy[url=https://conda.example.org/t/sekret-token/ch/linux-64/numpy-1-0.conda]",
        "https://sekret-token-of-20-characters@conda.example.org/ch::numpy",
        "https://conda.example.org/ch?token=sekret::numpy",
        "https://conda.example.org/t/${TOKEN}sekret/ch::numpy",
        "https://conda.example.org/ch/linux-64/numpy-1-0.conda#sha256:" + "0" * 64 + "[url=https://c.example.org/?sig=sekret]",
        # the secret comes before what else is wrong
        "https://user:hunter2@conda.example.org/ch/linux-64/numpy-1-0.foo",
        "https://user:hunter2@conda.example.org/ch/linux-64/numpy.conda",
        "https://conda.example.org/ch/linux-64/numpy-1-0.conda?sig=sekret",
        "https://conda.example.org/t/sekret-token/numpy",
        "https://conda.example.org/t/sekret-token",
        "https://user:hunter2@conda.example.org/ch::",
        "https://user:hunter2@conda.example.org/ch::numpy=>1",
        "numpy[nope=https://user:hunter2@conda.example.org/ch]",
        "numpy[channel=https://user:hunter2@conda.example.org/ch",
        "=>1  # https://user:hunter2@conda.example.org/ch",
        "https://user:hunter2@conda.example.org/" + "x" * 3000,
    ],
)
def test_a_secret_is_refused_and_not_repeated(written: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        MatchSpec.parse(written)
    assert caught.value.stable_code == "secret_in_definition"
    assert "hunter2" not in str(caught.value)
    assert "sekret" not in str(caught.value)


@pytest.mark.parametrize(
    "written",
    [
        "https://${USER}:${PASSWORD}@conda.example.org/ch::numpy",
        "https://conda.example.org/t/${TOKEN}/ch::numpy",
        "https://conda.example.org/t/${TOKEN}::numpy",
        "https://conda.example.org/t/${TOKEN}/ch/linux-64/numpy-1-0.conda",
        "numpy  # https://forum.example.org/t/why-numpy/12",
    ],
)
def test_a_variable_in_place_of_a_secret_and_a_comment_are_none(written: str) -> None:
    assert MatchSpec.parse(written).name == "numpy"


@pytest.mark.parametrize("written", ["alpha==${VERSION}", "alpha ${VERSION}", "conda-forge::${NAME}"])
def test_a_variable_outside_of_a_url_is_named(written: str) -> None:
    with pytest.raises(InvalidInput, match=r"it holds the variable `\$\{\w+\}`") as caught:
        MatchSpec.parse(written)
    assert "write what it stands for" in (caught.value.hint or "")
