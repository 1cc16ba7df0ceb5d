"""The controller's memory: tables, transactions, migrations; SQLite or PostgreSQL."""
