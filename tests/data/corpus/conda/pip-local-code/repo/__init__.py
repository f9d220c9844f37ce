"""The package of the repository."""
