"""What the rails say they hold for us, against what the books say: line by line, and in sum."""
