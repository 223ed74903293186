"""Blinded reader studies: the list of cases, one reader's session, the answers on disk, the table of reads."""
