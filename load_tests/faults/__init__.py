"""Payments under faults: payers on the topology of `infra/topology` whose parts are killed, frozen, cut off, rolled.

    python -m load_tests.faults --help
    python -m load_tests.faults kills --payments 100000     # what docs/reliability.md reports

`payers` sign and remember, `wire` sends and counts raw, `load` keeps a stream of payments flowing, `scenarios` has what
is done to the topology meanwhile (`cutting`, `disks`), `channels` and `purse` are the life of the channels on the
ledger, `books` holds what payers remember against the database, the auditor and the ledger. `stage` is what they share,
`campaign` puts one scenario after the other.
"""
