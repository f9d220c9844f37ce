"""The command line: one file per noun; parse, one call, render."""
