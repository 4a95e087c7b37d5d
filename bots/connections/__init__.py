"""How bots receive: who holds a connection, and how it is read."""
