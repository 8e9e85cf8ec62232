"""The only place with spending keys: a process of its own, with its own files, that reads what it signs."""
