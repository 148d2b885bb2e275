// Has a page's lists follow what happens: the server sends what is to be shown whenever that changed.

const state = document.querySelector('[data-state]');
const address = state?.dataset.events;
const reload = document.querySelector('[data-reload]');
/** The longest pause between two tries, in milliseconds. */
const LONGEST_PAUSE = 15_000;
/** As many rows as a list may grow to. */
const MOST_ROWS = 400;

let source;
let pause = 0;
let waiting;
let asOf = new Date();

const say = text => { if (state.textContent !== text) state.textContent = text; };
const time = moment => moment.toLocaleTimeString();

const put = (element, text) => { if (element.textContent !== text) element.textContent = text; };

/** Writes what a row says into its cells. Texts only: nothing of it is ever read as markup. */
const fill = (row, told) => {
  row.dataset.id = told.id;
  for (const element of row.querySelectorAll('[data-is]')) {
    const text = String(told[element.dataset.is] ?? '');
    if (element.tagName !== 'TIME') put(element, text);
    else if (element.dateTime !== text) {
      element.dateTime = element.title = text;
      element.hidden = !text;
      element.textContent = '';
    }
  }
  for (const element of row.querySelectorAll('[data-unless]')) element.hidden = Boolean(told[element.dataset.unless]);
  for (const link of row.querySelectorAll('[data-href]')) {
    const href = told[link.dataset.href];
    link.hidden = !href;
    if (href && link.getAttribute('href') !== href) link.href = href;
  }
};

const fresh = (list, told) => {
  const row = list.querySelector('template').content.querySelector('tr').cloneNode(true);
  fill(row, told);
  row.classList.add('fresh');
  return row;
};

/** Takes a row away; whoever is on it is left at the heading of its list. */
const drop = row => {
  const heading = row.contains(document.activeElement) ? row.closest('section')?.querySelector('h2') : null;
  row.remove();
  heading?.focus();
};

/** Rows that stay are the same elements as before, so that nothing flickers and focus stays where it is. */
const show = (name, rows) => {
  const list = document.querySelector(`[data-list="${name}"]`);
  if (!list) return;
  const body = list.querySelector('tbody');
  const held = new Map([...body.rows].map(row => [row.dataset.id, row]));
  const wanted = new Set(rows.map(row => row.id));
  for (const [id, row] of held) if (!wanted.has(id)) drop(row);
  let next = body.firstElementChild;
  for (const told of rows) {
    const row = held.get(told.id);
    if (row) {
      fill(row, told);
      if (row === next) next = row.nextElementSibling;
      else body.insertBefore(row, next);
    } else body.insertBefore(fresh(list, told), next);
  }
  finish(name, list, body);
};

/** Puts new rows on top of those that there are. */
const add = (name, rows) => {
  const list = document.querySelector(`[data-list="${name}"]`);
  if (!list) return;
  const body = list.querySelector('tbody');
  const held = new Set([...body.rows].map(row => row.dataset.id));
  for (const told of rows) if (!held.has(told.id)) body.prepend(fresh(list, told));
  while (body.rows.length > MOST_ROWS) drop(body.lastElementChild);
  finish(name, list, body);
};

const finish = (name, list, body) => {
  list.hidden = body.rows.length === 0;
  const empty = document.querySelector(`[data-empty="${name}"]`);
  if (empty) empty.hidden = !list.hidden;
};

const take = told => {
  for (const [name, rows] of Object.entries(told.lists ?? {})) show(name, rows);
  for (const [name, rows] of Object.entries(told.adds ?? {})) add(name, rows);
  for (const [name, text] of Object.entries(told.says ?? {})) {
    for (const element of document.querySelectorAll(`[data-says="${name}"]`)) {
      put(element, text);
      element.hidden = !text;
    }
  }
  document.dispatchEvent(new Event('fallgate:shown'));
};

/** Where to go on: an address may say from where. */
const from = () => {
  const last = document.querySelector('[data-list][data-adds] tbody tr')?.dataset.id;
  const url = new URL(address, location.href);
  if (last) url.searchParams.set('after', last);
  return url.href;
};

const connect = () => {
  waiting = undefined;
  source = new EventSource(from());
  source.onopen = () => {
    pause = 0;
    say('Following: this list shows what happens as it happens.');
    if (reload) reload.hidden = true;
  };
  source.onmessage = event => {
    asOf = new Date();
    take(JSON.parse(event.data));
  };
  source.onerror = lost;
};

/** Signed out, shut out, or no gate there: an `EventSource` does not tell which, so that is asked. */
const lost = async () => {
  source.close();
  if (reload) reload.hidden = false;
  const known = `What you see is from ${time(asOf)}.`;
  let status = 0;
  try {
    status = (await fetch(from(), { method: 'HEAD', cache: 'no-store', redirect: 'manual' })).status;
  } catch { /* No gate, or no network. */ }
  if (status === 401) return signedOut();
  if (status === 403) say(`You may not see this any more. ${known}`);
  else if (status === 429) say(`You follow on too many pages already: close some of them. ${known}`);
  else if (status !== 200) say(`The gate cannot be reached; trying again. ${known}`);
  pause = status === 200 && !pause ? 250 : Math.min(Math.max(pause * 2, 1_000), LONGEST_PAUSE);
  // What shuts somebody out may be lifted.
  if (status === 403) pause = LONGEST_PAUSE;
  waiting = setTimeout(connect, pause * (0.75 + Math.random() / 2));
};

const signedOut = () => {
  const back = encodeURIComponent(location.pathname + location.search);
  const link = document.createElement('a');
  link.href = `/login?returnTo=${back}`;
  link.textContent = 'Sign in again';
  state.replaceChildren('You are signed out, so this page does not follow any more. ', link);
};

/** At once, where waiting for longer makes no sense. */
const hurry = () => {
  if (waiting === undefined) return;
  clearTimeout(waiting);
  connect();
};

if (address) {
  connect();
  addEventListener('online', hurry);
  // A stream does not notice by itself that there is no network any more.
  addEventListener('offline', () => { if (waiting === undefined) lost(); });
  document.addEventListener('visibilitychange', () => { if (document.visibilityState === 'visible') hurry(); });
  addEventListener('pagehide', () => { source.close(); clearTimeout(waiting); });
  addEventListener('pageshow', event => { if (event.persisted) connect(); });
}
