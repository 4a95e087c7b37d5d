"""Facts nobody has confirmed on a running server, each in one place.

Whoever learns the truth corrects it here; the rest of the simulator asks this module. Types and
properties of the server's own posts (`notices`) and which of them a team's default channels get,
as well as who hears `thread_updated` (`posting`), are not confirmed either.
"""

from __future__ import annotations

# The server code read accepts a post without text and files; a later layer may refuse it.
EMPTY_POST_IS_ACCEPTED = True

# A channel name that only the database column refuses: probably an unhandled database error.
LONG_CHANNEL_NAME_STATUS = 500

# A socket whose session was revoked and that authenticates again by a challenge: it gets a
# `hello` of its old connection id, numbered as the next event.
HELLO_AFTER_NEW_CHALLENGE = True

# "Chosen without any ordering": the 1000 rows of a `since` answer are others in every call, picked
# by chance, the same for every run.
SINCE_ROWS = 1000

# Answers below this size are not compressed.
COMPRESS_FROM_BYTES = 1400

# How often TOTP codes may be off: one window of 30 s to either side.
MFA_WINDOWS_OFF = 1
