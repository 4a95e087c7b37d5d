"""`manage.py doctor`: what is wrong with an install, and what to do about it."""
