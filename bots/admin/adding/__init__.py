"""Adding a bot in four steps: the platform, the space, the bot, its first channels. Each has an
address of its own."""
