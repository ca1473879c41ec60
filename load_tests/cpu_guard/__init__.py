"""Counts the instructions that one package costs, from its bytes to the judgement, and guards the recorded figure.

    python -m load_tests.cpu_guard              # measure, and compare with what is recorded
    python -m load_tests.cpu_guard --parts      # where the instructions go
    python -m load_tests.cpu_guard --record     # after a change that makes it cheaper, or dearer for a good reason

Time says little on a machine that others use too; valgrind counts the same instructions whenever it is asked. `work` is
the program that is counted, `counting` runs it under valgrind, `figures` keeps and compares what came out.
"""
