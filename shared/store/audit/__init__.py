"""What must hold in the database at every moment, as statements that find the rows where it does not.

`rules` says what an invariant is, `reading` opens the snapshot that they are looked for in. The other modules hold the
invariants, one module per part of the books; `shared.audit.registry` joins them.
"""
