"""Schema migrations, run by Alembic; every one goes up and down with its data."""
