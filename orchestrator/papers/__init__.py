"""Receipts and invoices: numbered, in the reader's language, as a page and as a PDF."""
