"""How long the receiver is without an active worker: at an upgrade (SIGTERM) and at a crash (kill -9), under payments.

    python -m load_tests.handover --upgrades 20 --crashes 20

runs the topology of `infra/topology`, lets payers pay through nginx all the time, and takes the active worker away
again and again. It prints a table; docs/reliability.md has one.
"""
