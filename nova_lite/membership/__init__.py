"""How this host joins the cloud: who it is, which version it reports, what it finds on arrival."""
