"""The chat page: a bot's rooms as the bot sees them, on every platform, and writing in them."""
