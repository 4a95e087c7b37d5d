"""REST for what every bot shares: platforms and spaces."""
