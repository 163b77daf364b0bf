"""Commands for whoever runs the host, and what needs no server: init, status, migrate, audit verify."""
