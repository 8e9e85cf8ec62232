"""Who may pay, and how much: checks before money moves."""
