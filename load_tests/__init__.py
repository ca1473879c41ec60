"""Load users and the benchmark harness; not part of the installed package."""
