"""For authors of handlers: conversations with a bot in a test, see `docs/handlers.md`."""
