"""Interledger: OER, ILPv4 packets, BTP 2.0, STREAM, and the ledger plugin interface, version 2.

Protocols without I/O: bytes in, values or events out; no sockets, no clock, no database, and nothing of the ledgers
below. Whatever a stranger's bytes are, they are refused with an `InterledgerError` and nothing else. Only `btp_plugin`
and what stands on it, `channel_plugin`, have sockets.

    from shared.interledger import LedgerPlugin
"""

from shared.interledger.errors import InterledgerError
from shared.interledger.plugin.base import DataHandler, LedgerPlugin, MoneyHandler
from shared.interledger.plugin.options import ConnectOptions, PluginServices

__all__ = ["ConnectOptions", "DataHandler", "InterledgerError", "LedgerPlugin", "MoneyHandler", "PluginServices"]
