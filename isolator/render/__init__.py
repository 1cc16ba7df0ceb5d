"""Values to the text a filter backend reads."""
