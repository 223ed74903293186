"""Results as nodes of the MRML scene."""
