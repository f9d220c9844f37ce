"""Outside programs and libraries, each wrapped once."""
