"""Can this host join? One small check per dependency, each with its remedy; nothing is changed."""
