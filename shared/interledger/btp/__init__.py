"""BTP 2.0, the protocol between the two ends of an Interledger account (RFC-0023), as state machines without I/O."""
