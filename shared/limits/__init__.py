"""How much anybody may ask for: buckets that fill with use and drain with time, in each process and shared by all.

`buckets` is the arithmetic, pure. `limiter` has a process's buckets and decides at once, from memory. `accounts` adds
up in Redis what all processes have let through; the limiter learns of it in the background, and asks it at once only
for what must not go on without it.
"""
