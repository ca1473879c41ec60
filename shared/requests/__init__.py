"""Payment requests: what somebody is asked to pay, and where it stands by what came. Pure."""
