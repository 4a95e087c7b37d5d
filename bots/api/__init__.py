"""The REST API: parse, authorise, one call to the core, answer."""
