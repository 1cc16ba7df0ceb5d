"""DNS messages for tests: sound ones made by dnspython, hostile ones written out byte by byte."""
