"""Runs: configuration, snapshot, records, logs, outputs, targets."""
