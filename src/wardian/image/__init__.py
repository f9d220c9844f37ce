"""ANYWHERE: from a lock to an OCI image, one layer per package, without a daemon; and the stores that hold images."""
