"""The command ``crossrail``: one file per group of commands."""
