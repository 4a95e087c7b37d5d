"""What the front page shows, a module for each of its pieces: how the bots are, who needs somebody,
what is going on, what waits and fails, and the tour for whoever begins."""
