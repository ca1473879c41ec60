"""Pages for people who have no account here: the page of a payment request."""
