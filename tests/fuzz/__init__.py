"""Coverage-guided fuzzing of the parsers with atheris; `make fuzz` runs it, pytest does not."""
