"""The keys a list file may have; anything else is refused, so that a misspelt key never passes unseen."""

HEADER_KEYS = frozenset(
    {
        "name",
        "list_id",
        "cloud",
        "as_of",
        "as_of_basis",
        "known_until",
        "count",
        "distinct_patterns",
        "count_rule",
        "count_by_geography",
        "count_evidence",
        "other_27s",
        "scheme_note",
        "selection_rule",
        "match_values",
        "sources",
        "notes",
    }
)

ENTRY_KEYS = frozenset(
    {
        "n",
        "sheet_row",
        "pattern",
        "host",
        "path",
        "match",
        "port",
        "extra_ports",
        "protocol",
        "scheme",
        "table",
        "service",
        "category",
        "purpose",
        "geography",
        "os",
        "required",
        "isolation",
        "isolation_reason",
        "apex",
        "bare_host_in_use",
        "known_hosts",
        "source",
        "notes",
        "certainty",
        "duplicate_of",
        "alternatives",
        "spellings",
    }
)

NETWORK_KEYS = frozenset(
    {
        "name",
        "covers",
        "as_of",
        "geography",
        "port",
        "protocol",
        "isolation",
        "isolation_reason",
        "prefixes",
        "source",
        "notes",
        "file_change_number",
        "tag_change_number",
    }
)

CHANGE_KEYS = frozenset({"date", "dated", "change", "n", "entry", "notes", "source"})

READ_KEYS = frozenset({"header", "entries", "networks", "changes"})
"""Sections that are read."""

REFERENCE_KEYS = frozenset(
    {
        "added_later",
        "changed_later",
        "removed_earlier",
        "portal_destinations",
        "consolidated_services",
        "known_hosts_under_consolidated_domain",
        "known_paths_under_consolidated_domain",
        "static_ip_table",
        "service_tags",
        "extra_for_windows_1607_to_1803",
        "extra_for_mma",
    }
)
"""Sections for people: kept in the file, checked to be well formed, not read."""
