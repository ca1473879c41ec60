"""`make bench`: one front process on a durable Postgres, against the floors measured in the same run.

    python -m load_tests.bench run --quick     # the table, latest.json and its plot, in under two minutes
    python -m load_tests.bench report          # the table of the last run, in Markdown
    python -m load_tests.bench growth          # with millions of payments on record; the memory of a front
    python -m load_tests.bench fairness        # what others feel while one channel floods

`channels` and `payers` make what pays, `machine` starts what is paid, `client` sends, `cpu` reads the meters; `plans`
says what is measured, `rounds` measures it, `targets` compares, `report` and `plot` show. docs/performance.md tells how
to read it.
"""
