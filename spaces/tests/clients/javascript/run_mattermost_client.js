/* A person who uses @mattermost/client. Orders and answers as python/wire.py has them.
 *
 *     node run_mattermost_client.js http://127.0.0.1:8065
 */

'use strict';

const readline = require('node:readline');
const {Client4, WebSocketClient} = require('@mattermost/client');
const WebSocket = require('ws');

// What browsers have and this node lacks. The client prints, and standard output is the test's.
globalThis.WebSocket = WebSocket;
globalThis.CloseEvent ??= class extends Event {
    constructor(type, {code, wasClean}) {
        super(type);
        Object.assign(this, {code, wasClean});
    }
};
console.log = console.error;

const tell = (line) => process.stdout.write(JSON.stringify(line) + '\n');

class Person {
    constructor(url) {
        this.url = url;
        this.client = new Client4();
        this.client.setUrl(url);
    }

    log_in({token, login_id, password}) {
        if (token) {
            this.client.setToken(token);
            return this.client.getMe();
        }
        return this.client.login(login_id, password);
    }

    async log_out() {
        const response = await this.client.logout();
        return {status: response.ok ? 'OK' : response.status};
    }

    me() {
        return this.client.getMe();
    }

    user_named({username}) {
        return this.client.getUserByUsername(username);
    }

    create_token({user_id, description}) {
        return this.client.createUserAccessToken(user_id, description);
    }

    create_bot(bot) {
        return this.client.createBot(bot);
    }

    post(post) {
        return this.client.createPost(post);
    }

    read_post({post_id}) {
        return this.client.getPost(post_id);
    }

    edit({post_id, message}) {
        return this.client.patchPost({id: post_id, message});
    }

    delete({post_id}) {
        return this.client.deletePost(post_id);
    }

    pin({post_id}) {
        return this.client.pinPost(post_id);
    }

    unpin({post_id}) {
        return this.client.unpinPost(post_id);
    }

    react({user_id, post_id, emoji_name}) {
        return this.client.addReaction(user_id, post_id, emoji_name);
    }

    unreact({user_id, post_id, emoji_name}) {
        return this.client.removeReaction(user_id, post_id, emoji_name);
    }

    reactions({post_id}) {
        return this.client.getReactionsForPost(post_id);
    }

    thread({post_id}) {
        return this.client.getPostThread(post_id);
    }

    posts({channel_id, page, per_page, before, after}) {
        if (before) {
            return this.client.getPostsBefore(channel_id, before, page, per_page);
        }
        if (after) {
            return this.client.getPostsAfter(channel_id, after, page, per_page);
        }
        return this.client.getPosts(channel_id, page, per_page);
    }

    upload({channel_id, name, content}) {
        const form = new FormData();
        form.append('channel_id', channel_id);
        form.append('files', new Blob([Buffer.from(content, 'base64')]), name);
        return this.client.uploadFile(form);
    }

    // The client leaves downloads to the browser and only says where the file is.
    async download({file_id}) {
        const options = this.client.getOptions({method: 'get'});
        const response = await fetch(this.client.getFileUrl(file_id), options);
        return Buffer.from(await response.arrayBuffer()).toString('base64');
    }

    file_info({file_id}) {
        const url = `${this.client.getFileRoute(file_id)}/info`;
        return this.client.doFetch(url, {method: 'get'});
    }

    create_channel(channel) {
        return this.client.createChannel(channel);
    }

    open_direct_channel({user_ids}) {
        return this.client.createDirectChannel(user_ids);
    }

    open_group_channel({user_ids}) {
        return this.client.createGroupChannel(user_ids);
    }

    rename_channel({channel_id, display_name}) {
        return this.client.patchChannel(channel_id, {display_name});
    }

    archive_channel({channel_id}) {
        return this.client.deleteChannel(channel_id);
    }

    channel_named({team_id, name}) {
        return this.client.getChannelByName(team_id, name);
    }

    my_channels({team_id}) {
        return this.client.getMyChannels(team_id);
    }

    public_channels({team_id}) {
        return this.client.getChannels(team_id);
    }

    my_teams() {
        return this.client.getMyTeams();
    }

    members({channel_id}) {
        return this.client.getChannelMembers(channel_id);
    }

    add_member({channel_id, user_id}) {
        return this.client.addToChannel(user_id, channel_id);
    }

    remove_member({channel_id, user_id}) {
        return this.client.removeFromChannel(user_id, channel_id);
    }

    status({user_id}) {
        return this.client.getStatus(user_id);
    }

    set_status({user_id, status}) {
        return this.client.updateStatus({user_id, status});
    }

    /* With its token in the first message, as apps outside a browser do. */
    listen() {
        this.#listen({}, this.client.getToken());
    }

    /* Known from the start, as in a browser, whose cookie here is a header: only so may it resume. */
    listen_resumably() {
        const headers = {Authorization: `Bearer ${this.client.getToken()}`};
        this.#listen({newWebSocketFn: (url) => new WebSocket(url, {headers})}, '');
    }

    #listen(config, token) {
        this.socket = new WebSocketClient({
            minWebSocketRetryTime: 100,
            reconnectJitterRange: 0,
            ...config,
        });
        this.socket.addMessageListener((event) => tell({event}));
        this.socket.addReconnectListener(() => tell({event: {event: 'client reconnected'}}));
        this.socket.addMissedMessageListener(() => tell({event: {event: 'client missed events'}}));
        this.socket.initialize(`${this.url.replace('http', 'ws')}/api/v4/websocket`, token);
    }

    statuses_over_the_websocket() {
        return new Promise((resolve) => this.socket.getStatuses(resolve));
    }
}

async function obey(person, line) {
    const order = JSON.parse(line);
    try {
        tell({done: await person[order.do](order.with) ?? null});
    } catch (error) {
        if (error.status_code === undefined) {
            throw error;
        }
        tell({refused: error.status_code});
    }
}

async function main() {
    const person = new Person(process.argv[2]);
    for await (const line of readline.createInterface({input: process.stdin})) {
        await obey(person, line);
    }
    process.exit();
}

main();
