"""Incidents: what is not as it should be is noticed, told, and closed by itself when it is over.

`conditions` asks what is wrong now, one question for all bots at once. `looking` compares the
answers with what is open, and opens and closes. What that tells is stored as events and as rows
for `telling`, which makes few messages of many and hands them to `ways`: mail, and a bot.
"""

from bots.incidents.looking import close, look, tidy
from bots.incidents.telling import tell

__all__ = ["close", "look", "tell", "tidy"]
