"""The books: pure journal, chart, recipes and lots; a check that rebuilds them. Writing goes through the writer."""
