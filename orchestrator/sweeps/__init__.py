"""Money that leaves on chains: sweeps to the treasury, refunds to customers, x402 settlements. No key is here."""
