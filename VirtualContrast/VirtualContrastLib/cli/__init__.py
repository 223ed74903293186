"""The command line: arguments become a request, results become text or JSON; one file per command."""
