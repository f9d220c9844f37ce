from __future__ import annotations

import pytest

from wardian.errors import InvalidInput
from wardian.run.configuration import Command, RunConfiguration
from wardian.run.memory import memory_bytes
from wardian.run.targets.container_options import SHM_BYTES, ContainerOptions


@pytest.mark.parametrize(
    ("text", "count"),
    [("512M", 512 << 20), ("1.5G", 3 << 29), ("4g", 4 << 30), ("2 GiB", 2 << 30), ("100kB", 100 << 10), ("7", 7), ("", None), ("-1G", None), ("G", None)],
)  # fmt: skip
def test_amounts_of_memory(text: str, count: int | None) -> None:
    assert memory_bytes(text) == count


def test_options_of_containers() -> None:
    assert ContainerOptions.of({}, "podman") == ContainerOptions(SHM_BYTES, ())
    found = ContainerOptions.of({"shm": "8G", "arguments": "--device /dev/fuse --label 'a=b c'"}, "podman")
    assert found == ContainerOptions(8 << 30, ("--device", "/dev/fuse", "--label", "a=b c"))


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        ({"shn": "8G"}, "unknown_target_option", "`shm`, `arguments`"),
        ({"shm": "much"}, "bad_target_option", "shm=much"),
        ({"shm": "0"}, "bad_target_option", "shm=0"),
        ({"arguments": "--label 'a"}, "bad_target_option", "--label 'a"),
    ],
)
def test_what_is_wrong_with_options_is_named(options: dict[str, str], code: str, said: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        ContainerOptions.of(options, "podman")
    assert caught.value.stable_code == code
    assert said in f"{caught.value.message} {caught.value.hint}"


def test_options_are_recorded_and_hold_no_secret() -> None:
    configuration = RunConfiguration(Command("script", "a.py"), options={"shm": "8G"})
    assert RunConfiguration.from_document(configuration.as_document()) == configuration
    with pytest.raises(InvalidInput) as caught:
        RunConfiguration(Command("script", "a.py"), options={"arguments": "--env TOKEN=ghp_" + "a" * 36})
    assert caught.value.stable_code == "secret_in_option"
