"""Life and end of what is kept about a data subject: restriction, erasure, and what proves them."""
