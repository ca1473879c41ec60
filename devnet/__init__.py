"""A local ledger to develop and demonstrate on: it speaks the hub's wire protocol and runs the channel agent.

The one simulated part of Sluice, and meant to be indistinguishable: units are checked to the byte, stability is proven
to light clients, agents are as treacherous as the real ones. What it leaves out it refuses.
"""
