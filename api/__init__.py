"""The vault over HTTP: JSON routes, who is asking, and what an error looks like from outside."""
