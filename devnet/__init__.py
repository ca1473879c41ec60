"""A local ledger to develop and demonstrate on: it speaks the hub's wire protocol and runs the channel agent.

The one simulated part of Sluice, and meant to be indistinguishable: units are checked to the byte, stability is proven
to light clients, agents are as treacherous as the real ones. What it leaves out it refuses, with a text that says so.
Where it differs from the real network:

* one order provider decides the order (`dag`), and lets every conflict end (`parents`): elsewhere a unit in conflict
  may also just vanish. Here units vanish, agents' answers change and later rivals win when told to (`reorganisation`);
* what is stable is provable one provider unit later, and clients are told so then: elsewhere some time after it;
* the order providers cannot be voted out, and a vote on another system variable is counted when told to;
* nobody earns commissions: what units pay is gone;
* the load a unit pays for is that of its own past, not also what the hub thinks of the moment;
* agents are channels, versions 1.1 and 1.2, and trigger no other agents; a package's signature must be canonical
  base64; errors of agents name no lines of their definitions;
* requests for proofs of links and for agents' getters (`light/get_link_proofs`, `light/execute_getter`) get no answer;
* assets are capped, public and plain; definitions of addresses never change; payments are never private;
* a hub keeps a bounded number of devices and messages (`relay`), and sends nobody push notifications.

`tests/vectors/test_devnet_transcripts.py` holds the rest against recorded traffic of a real hub. `faults` says how a
hub can be made to misbehave, `lies` what it can be made to say.

`server.Devnet` is the way in; `python -m devnet` runs it.
"""
