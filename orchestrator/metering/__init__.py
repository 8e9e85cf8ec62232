"""Usage: how it is priced, recorded and charged, and what is shown of it afterwards."""
