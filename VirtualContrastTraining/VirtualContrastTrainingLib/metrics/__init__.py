"""How good synthetic contrast is: every metric of the papers, true and, where the paper's number is an
artifact, as published.
"""
