"""What `load_tests/locustfile.py` is made of: a crowd of payers with real channels on a local ledger.

    python -m load_tests.crowd steady            # or: make load PROFILE=steady

`profiles` says who pays how much how often, and how much of it is allowed at most; `line` sends and tells what came of
it; `crowd` keeps the payers and what is known of their payments; `books` asks the receiver, in the end, for every
receipt. `bank` is another program, which opens and closes the channels: it is written for asyncio, and locust is not.
`__main__` starts a whole receiver to try all this on.
"""
