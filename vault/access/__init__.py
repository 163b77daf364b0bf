"""Who may do what: staff, services, grants, and the decision made of them."""
