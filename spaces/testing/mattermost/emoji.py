"""Which emoji there are: a selection of the built-in names, and the custom ones."""

from __future__ import annotations

from .state import World

_NAMES = (
    "+1 -1 thumbsup thumbsdown smile smiley grin grinning laughing joy wink blush heart "
    "broken_heart star star2 fire tada rocket eyes wave clap pray muscle ok_hand point_up "
    "point_down point_left point_right raised_hands white_check_mark heavy_check_mark "
    "ballot_box_with_check x negative_squared_cross_mark warning question exclamation bulb bell "
    "no_bell lock unlock key mag hourglass hourglass_flowing_sand stopwatch alarm_clock calendar "
    "date pushpin round_pushpin paperclip memo pencil pencil2 book books bookmark computer "
    "iphone phone email envelope inbox_tray outbox_tray package moneybag coffee tea beer beers "
    "pizza cake apple banana cherries grapes lemon strawberry sunny cloud umbrella snowflake zap "
    "rainbow earth_africa moon cat dog mouse bear panda_face penguin turtle snake bug bee "
    "rose sunflower tulip four_leaf_clover evergreen_tree cactus car bus bike airplane ship "
    "anchor house office school hospital bank hotel church slightly_smiling_face "
    "slightly_frowning_face neutral_face thinking thinking_face confused disappointed cry sob "
    "angry rage scream sleeping sunglasses nerd_face robot robot_face ghost alien skull "
    "zero one two three four five six seven eight nine keycap_ten 100 a b m o "
    "red_circle large_blue_circle large_green_circle white_circle black_circle "
    "arrow_up arrow_down arrow_left arrow_right arrows_counterclockwise recycle "
    "heavy_plus_sign heavy_minus_sign sos new free cool ok up vs information_source "
    "mattermost handshake vulcan_salute crossed_fingers shrug facepalm party_popper"
)
BUILT_IN = frozenset(_NAMES.split())


def exists(world: World, name: str) -> bool:
    return name in BUILT_IN or any(one.name == name for one in world.emoji.values())
