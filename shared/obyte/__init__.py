"""The Obyte protocol: hashing, addresses, keys, signatures, signed packages, units, and the hub's wire protocol.

The modules about bytes and rules are pure; only `hub_client` and `keystore` touch the world outside. Nothing here
knows a channel or a database. Whatever a stranger's data is, it is refused with an `ObyteError` and nothing else.
"""
