"""Encrypted messages with peers' devices: the worker as a device of its own, and channel requests both ways."""
