// A tiny web client of the stand-in: it makes the calls of the real one in the same order, and uses its element ids.
'use strict';
(function () {
    const version = '@VERSION@';
    const api = '/api/v4';
    const state = {me: null, teams: [], channels: {}, members: {}, team: null, channel: null};

    function cookie(name) {
        const found = document.cookie.split('; ').find((pair) => pair.startsWith(name + '='));
        return found ? found.slice(name.length + 1) : '';
    }

    async function call(method, path, body) {
        const headers = {'X-Requested-With': 'XMLHttpRequest', 'X-CSRF-Token': cookie('MMCSRF')};
        const answer = await fetch(api + path, {method, headers, credentials: 'same-origin', body: body && JSON.stringify(body)});
        if (!answer.ok) {
            throw new Error(method + ' ' + path + ': ' + answer.status);
        }
        return answer.json();
    }

    function element(tag, attributes, ...children) {
        const made = document.createElement(tag);
        for (const [key, value] of Object.entries(attributes || {})) {
            if (key.startsWith('on')) {
                made.addEventListener(key.slice(2), value);
            } else {
                made.setAttribute(key, value);
            }
        }
        made.append(...children);
        return made;
    }

    function show(...children) {
        const root = document.getElementById('root');
        root.replaceChildren(...children);
    }

    function go(path) {
        if (location.pathname !== path) {
            history.pushState(null, '', path);
        }
        return route();
    }

    function loginPage() {
        const modern = Number(version.split('.')[0]) >= 7;
        const name = element('input', {id: modern ? 'input_loginId' : 'loginId', placeholder: 'Email or Username'});
        const word = element('input', {id: modern ? 'input_password-input' : 'loginPassword', type: 'password'});
        const problem = element('div', {class: 'login__error'});
        const submit = async (event) => {
            event.preventDefault();
            try {
                await call('POST', '/users/login', {login_id: name.value, password: word.value});
                await go('/');
            } catch (error) {
                problem.textContent = 'Enter a valid email or username and/or password.';
            }
        };
        const button = element('button', {id: modern ? 'saveSetting' : 'loginButton', type: 'submit'}, 'Sign in');
        show(element('form', {id: 'login_section', onsubmit: submit}, problem, name, word, button));
    }

    async function selectTeam() {
        const open = (await call('GET', '/teams?page=0&per_page=60')).filter((team) => !state.teams.some((own) => own.id === team.id));
        const list = open.map((team) => element('div', {class: 'signup-team-dir', id: team.name + '_team'}, team.display_name));
        const none = element('div', {class: 'no-teams'}, 'No teams are available to join.');
        show(element('div', {class: 'select-team__container', id: 'teamsYouCanJoinContent'}, ...(list.length ? list : [none])));
    }

    // A team opens only with a channel and the membership for it.
    async function load() {
        state.me = await call('GET', '/users/me');
        state.config = await call('GET', '/config/client?format=old');
        state.teams = await call('GET', '/users/me/teams');
        state.preferences = await call('GET', '/users/me/preferences').catch(() => []);
        await call('GET', '/users/me/teams/unread').catch(() => null);
        for (const team of state.teams) {
            const base = '/users/me/teams/' + team.id + '/channels';
            state.channels[team.id] = await call('GET', base).catch(() => []);
            state.members[team.id] = await call('GET', base + '/members').catch(() => []);
        }
    }

    function usable(team) {
        return (state.channels[team.id] || []).filter((channel) => state.members[team.id].some((member) => member.channel_id === channel.id));
    }

    function postRow(post, place) {
        const text = element('p', {id: place + 'postMessageText_' + post.id}, post.message);
        const reply = element('button', {id: place + 'CENTER_commentIcon_' + post.id, class: 'post-menu__item', onclick: () => openThread(post.root_id || post.id)}, 'Reply');
        return element('div', {id: place + 'post_' + post.id, class: 'post'}, text, reply);
    }

    function box(id, rootId) {
        const area = element('textarea', {id, placeholder: rootId ? 'Reply to this thread...' : 'Write to ' + state.channel.display_name});
        area.addEventListener('keydown', async (event) => {
            if (event.key === 'Enter' && !event.shiftKey) {
                event.preventDefault();
                const message = area.value;
                area.value = '';
                const post = await call('POST', '/posts', {channel_id: state.channel.id, message, root_id: rootId || ''});
                received(post);
            }
        });
        return area;
    }

    function received(post) {
        if (!state.channel || post.channel_id !== state.channel.id) {
            return;
        }
        const list = document.getElementById('postListContent');
        if (list && !document.getElementById('post_' + post.id)) {
            list.append(postRow(post, ''));
        }
        const thread = document.getElementById('rhsThread_' + (post.root_id || post.id));
        if (thread && !document.getElementById('rhspost_' + post.id)) {
            thread.append(postRow(post, 'rhs'));
        }
    }

    async function openThread(rootId) {
        const thread = await call('GET', '/posts/' + rootId + '/thread');
        const posts = thread.order.map((id) => thread.posts[id]).sort((one, other) => one.create_at - other.create_at);
        const list = element('div', {id: 'rhsThread_' + rootId}, ...posts.map((post) => postRow(post, 'rhs')));
        const side = element('div', {id: 'sidebar-right'}, list, box('reply_textbox', rootId));
        const old = document.getElementById('sidebar-right');
        if (old) {
            old.remove();
        }
        document.getElementById('app').append(side);
    }

    // The list of first tasks covers the page of a new user (observed with 10.6.0 and 10.11.6), unless a preference says no.
    function taskList() {
        const [major, minor] = version.split('.').map(Number);
        const said = state.preferences.some((one) => one.category === 'onboarding_task_list' &&
            one.name === 'onboarding_task_list_show' && one.value === 'false');
        if (said || major < 10 || (major === 10 && minor < 6)) {
            return [];
        }
        return [element('div', {class: 'onboarding-task-list', style: 'position: fixed; inset: 0; z-index: 9'}, 'Welcome')];
    }

    // An organisation's own terms cover the page of everybody who has not accepted the newest of them.
    function terms() {
        if (state.config.EnableCustomTermsOfService !== 'true' || state.config.CustomTermsOfServiceId === state.me.terms_of_service_id) {
            return [];
        }
        return [element('div', {id: 'termsOfService', style: 'position: fixed; inset: 0; z-index: 9'}, 'Terms of Service')];
    }

    async function channelPage(team, name) {
        const channels = usable(team);
        const channel = channels.find((one) => one.name === name) || channels.find((one) => one.name === 'town-square');
        state.team = team;
        state.channel = channel;
        const categories = await call('GET', '/users/me/teams/' + team.id + '/channels/categories').catch(() => ({categories: []}));
        const ids = categories.categories.flatMap((category) => category.channel_ids);
        const entries = channels.filter((one) => ids.includes(one.id)).map((one) => element(
            'a', {id: 'sidebarItem_' + one.name, href: '/' + team.name + '/channels/' + one.name}, one.display_name || one.name));
        const sidebar = element('div', {id: 'SidebarContainer'}, ...entries);
        const teams = state.teams.filter((one) => usable(one).length > 0);
        const buttons = teams.map((one) => element('a', {id: one.name + 'TeamButton', href: '/' + one.name + '/channels/town-square'}, one.display_name));
        const switcher = teams.length > 1 ? [element('div', {id: 'teamSidebarWrapper'}, ...buttons)] : [];
        const title = element('strong', {id: 'channelHeaderTitle'}, channel.display_name || channel.name);
        const list = element('div', {id: 'postListContent', class: 'post-list'});
        const middle = element('div', {class: 'app__content', id: 'app-content'}, element('div', {id: 'channel-header'}, title), list, box('post_textbox'));
        show(element('div', {id: 'app'}, ...switcher, sidebar, middle, ...taskList(), ...terms()));
        const posts = await call('GET', '/channels/' + channel.id + '/posts?page=0&per_page=60');
        posts.order.slice().reverse().forEach((id) => list.append(postRow(posts.posts[id], '')));
    }

    function listen() {
        const scheme = location.protocol === 'https:' ? 'wss://' : 'ws://';
        const socket = new WebSocket(scheme + location.host + api + '/websocket');
        socket.addEventListener('message', (message) => {
            const event = JSON.parse(message.data);
            if (event.event === 'posted') {
                received(JSON.parse(event.data.post));
            }
        });
    }

    async function route() {
        if (!cookie('MMUSERID')) {
            if (location.pathname !== '/login') {
                history.replaceState(null, '', '/login');
            }
            return loginPage();
        }
        if (!state.me) {
            try {
                await load();
            } catch (error) {
                document.cookie = 'MMUSERID=; Path=/; Max-Age=0';
                return route();
            }
            listen();
        }
        const [teamName, kind, name] = location.pathname.split('/').filter((part) => part);
        if (teamName === 'select_team') {
            return selectTeam();
        }
        const asked = state.teams.find((team) => team.name === teamName);
        const team = asked || state.teams.find((one) => usable(one).length > 0);
        if (!team || usable(team).length === 0) {
            history.replaceState(null, '', '/select_team');
            return selectTeam();
        }
        const channel = asked && kind === 'channels' ? name : 'town-square';
        history.replaceState(null, '', '/' + team.name + '/channels/' + channel);
        return channelPage(team, channel);
    }

    // Without one of its chunks the client does not start: the page stays white.
    const place = document.currentScript.src.replace(/[^/]*$/, '');
    function chunk(name) {
        return new Promise((loaded, missing) => {
            document.head.append(element('script', {src: place + name, onload: loaded, onerror: missing}));
        });
    }
    Promise.all([@CHUNKS@].map(chunk)).then(() => {
        window.addEventListener('popstate', route);
        return route();
    });
})();
