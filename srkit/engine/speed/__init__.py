"""How fast networks are, and what memory they take."""
