"""A report in the formats that people and programs want; `formats.render_report` is the way in."""
