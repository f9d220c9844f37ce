"""WHAT. The definition of an environment as pure values: sections, identity, comparison. No I/O."""
