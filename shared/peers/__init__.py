"""Asking peers (Obyte channels, peer protocol): what their answers mean, and the way over HTTP.

Both sides that pay use it: the payer's SDK and the worker. Encrypted device messages are the worker's.
"""
