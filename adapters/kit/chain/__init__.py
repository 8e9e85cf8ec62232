"""What every chain rail shares: one node client, one log scanner, addresses from an xpub, one simulated node."""
