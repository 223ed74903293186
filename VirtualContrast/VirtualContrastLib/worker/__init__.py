"""The engine in a process of its own: the protocol and the process that speaks it."""
