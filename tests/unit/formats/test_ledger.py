"""The ledger of losses: order, places, words."""

from __future__ import annotations

from wardian.formats.ledger import Ledger, Loss


def test_losses_come_in_the_order_of_the_file_and_other_files_behind() -> None:
    ledger = Ledger("env.yml")
    ledger.note("dropped", "b", "so", line=9)
    ledger.note("dropped", "c", "so", file="conda.yml", line=1)
    ledger.note("changed", "a", "so", line=2)
    assert [loss.field for loss in ledger.losses] == ["a", "b", "c"]


def test_a_loss_in_words_names_place_reason_and_next_step() -> None:
    assert str(Loss("dropped", "r", "no", "do", file="e.json", line=3)) == "dropped: e.json:3 r: no (do)"
    assert str(Loss("dropped", "r", "no", file="e.json")) == "dropped: e.json r: no"
    assert str(Loss("dropped", "r", "no")) == "dropped: r: no"


def test_a_long_value_is_cut() -> None:
    ledger = Ledger()
    ledger.note("dropped", "r", "no", value="x" * 5000)
    assert len(ledger.losses[0].value) == 2000
