"""Tables and figures of the papers, by name."""
