"""The portal: pages for people, rendered on the server, live by htmx, under a strict content policy."""
