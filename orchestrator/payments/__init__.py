"""Payments: from an offer to a credited wallet. ``confirmation`` and ``deposits`` are the doors by which money enters."""
