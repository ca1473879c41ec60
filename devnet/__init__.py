"""A local ledger to develop and demonstrate on: it speaks the hub's wire protocol and runs the channel agent.

The one simulated part of Sluice, and meant to be indistinguishable: units are checked to the byte, stability is proven
to light clients, agents are as treacherous as the real ones. What it leaves out it refuses, with a text that says so.
Where it differs from the real network:

* one order provider decides the order (`dag`), and lets every conflict end (`parents`): elsewhere a unit in conflict
  may also just vanish;
* nobody earns commissions: what units pay is gone;
* the load a unit pays for is that of its own past, not also what the hub thinks of the moment;
* agents are channels, version 1.1, and trigger no other agents; a package's signature must be canonical base64;
* the definition of their base agent is nowhere to be had, and errors of agents name no lines of it;
* requests for proofs of links and for agents' getters (`light/get_link_proofs`, `light/execute_getter`) get no answer;
* assets are capped, public and plain; definitions of addresses never change; payments are never private.

`server.Devnet` is the way in; `python -m devnet` runs it.
"""
