"""What tests share: a private PostgreSQL, the network guard, the rules of a run."""
