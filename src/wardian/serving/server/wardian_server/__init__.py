"""Wardian's scoring server: it runs inside the environment of the model that it serves.

How it is started and what it answers: see ``wardian_server.config``.
"""

__version__ = "0.1.0"
