"""Asking peers for something: over HTTP, or by encrypted device messages."""
