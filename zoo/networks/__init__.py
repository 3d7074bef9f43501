"""Frozen networks: plain modules, built by the spaces from decided numbers."""
