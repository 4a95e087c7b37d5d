"""Handlers from the inside; `bots.handlers` is what authors and the rest of botadmin use."""
