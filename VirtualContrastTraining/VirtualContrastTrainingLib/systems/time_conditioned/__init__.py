"""The generator that makes the phase at any requested time."""
