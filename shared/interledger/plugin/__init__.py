"""The ledger plugin interface, version 2 (RFC-0024): what hosts of plugins call, and what a plugin has to do."""
