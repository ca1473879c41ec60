"""What passes between the parties of a channel and its agent on the ledger (Obyte, channels agent 1.1).

Money is read here, once for payer and receiver: `responses` makes ledger events of what the agent has said, `triggers`
makes the agent's data of decisions and reads what a peer is about to tell it.
"""
