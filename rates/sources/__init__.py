"""Where rates come from: the port is ``port.py``, then one file per source."""
