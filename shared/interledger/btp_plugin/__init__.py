"""BTP 2.0 over real WebSockets, as a ledger plugin that is usable alone in a program.

    from shared.interledger.btp_plugin import BtpPlugin

This is where Interledger has sockets; everything else of it is pure.
"""

from shared.interledger.btp_plugin.plugin import BtpPlugin
from shared.interledger.btp_plugin.surroundings import Surroundings

__all__ = ["BtpPlugin", "Surroundings"]
