"""Telling the application: where its servers may be (`addresses`), how they are called (`calling`), signed (`signing`).

The addresses are named by people with a key or by the operator, and what is sent leaves our network: nothing is sent
anywhere that was not looked at first.
"""
