"""HERE. Installs a lock on this machine and keeps the prefix."""
