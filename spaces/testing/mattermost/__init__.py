"""A Mattermost 11.6 server for tests: REST, websocket, files, webhooks and faults, all in memory.

    with SimulatedMattermost() as server:
        server.make.user("alice")
        bot, token = server.make.bot("helper-bot")
        team = server.make.team("acme", "alice", "helper-bot")
        requests.get(f"{server.url}/api/v4/users/me", headers={"Authorization": f"Bearer {token}"})
        server.controls.swallow_answers(method="POST", path="/api/v4/posts")

It also runs by itself: `manage.py simulate mattermost`. What it imitates was read in the server's
source; what nobody confirmed on a running server is in `assumptions`. Where the real server loses
or reorders, so does this one.

Modules: `state` (what is stored), `simulation` (what is running), `people`, `places`, `posting`
and `sessions` (what can be done), `routes` (how REST asks for it), `websocket`, `sockets` and
`actions` (events), `faults` and `controls` (trouble on command), `traffic` (who asked when),
`server` and `running` (HTTP).
"""

from .running import SimulatedMattermost

__all__ = ["SimulatedMattermost"]
