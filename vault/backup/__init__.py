"""Backups: written while the vault runs, and put back. Format: docs/formats/backup.md."""
