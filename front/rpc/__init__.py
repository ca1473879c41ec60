"""JSON-RPC: the methods and events of the reference library, through two doors.

The door on loopback (`local`) answers as the reference does, byte for byte. The door of the front
(`front.doors.rpc`) speaks JSON-RPC 2.0 and asks for a key. Behind both are the same methods.
"""
