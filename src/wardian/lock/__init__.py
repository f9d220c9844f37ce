"""WHICH. The lock, the solvers that find it, and its exports."""
