"""Commands that talk to a server, over the same HTTP interface as everybody else: no power of their own."""
