// What pages do besides being shown. Each works without it: a link that opens a dialog leads to a page that asks the same.

/** Opens what a link leads to as a dialog over the page: its first form, and what stands around it. */
const ask = async link => {
  const heading = link.closest('section')?.querySelector('h2[tabindex]');
  const answer = await fetch(link.href, { headers: { accept: 'text/html' }, redirect: 'error' });
  if (!answer.ok) throw new Error(String(answer.status));
  const page = new DOMParser().parseFromString(await answer.text(), 'text/html');
  const asked = page.querySelector('[data-asks]');
  if (!asked) throw new Error('nothing to ask');
  const dialog = document.createElement('dialog');
  dialog.append(document.adoptNode(asked));
  const asks = dialog.querySelector('h1');
  if (asks) {
    asks.id = 'asked';
    dialog.setAttribute('aria-labelledby', 'asked');
  }
  dialog.addEventListener('click', event => {
    const back = event.target.closest('[data-back]');
    if (!back) return;
    event.preventDefault();
    dialog.close();
  });
  dialog.addEventListener('close', () => {
    dialog.remove();
    // What it was about may be gone from its list meanwhile.
    (link.isConnected && link.checkVisibility() ? link : heading)?.focus();
  });
  document.body.append(dialog);
  dialog.showModal();
};

document.addEventListener('click', event => {
  const link = event.target.closest('a[data-dialog]');
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.button !== 0) return;
  event.preventDefault();
  // On its way already.
  if (link.ariaBusy === 'true') return;
  link.ariaBusy = 'true';
  // Signed out meanwhile, or no network: the page itself says so better.
  ask(link).catch(() => location.assign(link.href)).finally(() => { link.ariaBusy = null; });
});

// A form that a line opens on is typed into at once, and Escape leads back.
document.addEventListener('toggle', event => {
  if (event.target.matches('details.inline[open]')) event.target.querySelector('input')?.select();
}, true);
document.addEventListener('keydown', event => {
  const line = event.key === 'Escape' && event.target.closest('details.inline[open]');
  if (!line) return;
  line.open = false;
  line.querySelector('summary').focus();
});

// Whoever fills in what belongs to a choice has made it.
document.addEventListener('input', event => {
  const choice = event.target.closest('.under')?.previousElementSibling?.querySelector('input[type=radio]');
  if (choice) choice.checked = true;
});

document.addEventListener('click', async event => {
  const button = event.target.closest('button[data-copy]');
  if (!button) return;
  const text = document.getElementById(button.dataset.copy)?.textContent ?? '';
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = 'Copied';
  } catch {
    // Over plain http there is no clipboard: it is marked, for the keyboard to copy.
    getSelection()?.selectAllChildren(document.getElementById(button.dataset.copy));
    button.textContent = 'Marked: press Ctrl+C';
  }
});

// A form is sent once, however often its button is pressed.
document.addEventListener('submit', event => {
  if (event.defaultPrevented) return;
  if (event.target.dataset.sent) event.preventDefault();
  else event.target.dataset.sent = 'yes';
});
addEventListener('pageshow', event => {
  if (event.persisted) document.querySelectorAll('form[data-sent]').forEach(form => delete form.dataset.sent);
});

// Nothing but what a button copies needs a script to be of use.
document.querySelectorAll('[data-scripted]').forEach(element => { element.hidden = false; });

// From the longest; its length in seconds, and how many make it worth its while: 90 days say more than 2 months.
const units = [['year', 31_557_600, 1], ['month', 2_629_800, 4], ['day', 86_400, 1], ['hour', 3_600, 1], ['minute', 60, 1], ['second', 1, 1]];
const words = new Intl.RelativeTimeFormat('en', { numeric: 'always' });

/** Says how far away a moment is, as the server does. */
export const relative = (moment, now = Date.now()) => {
  const seconds = Math.round((new Date(moment).getTime() - now) / 1000);
  // What is to come is told to the nearest unit: an hour a moment ago is not 59 minutes.
  const counts = seconds < 0 ? -seconds : seconds + Math.floor(seconds / 100);
  const [unit, size] = units.find(([, size, fewest]) => counts >= size * fewest) ?? ['second', 1];
  const count = seconds < 0 ? Math.trunc(seconds / size) : Math.round(seconds / size);
  return Math.abs(seconds) < 5 ? 'now' : words.format(count, unit);
};

const tell = () => document.querySelectorAll('time[data-relative]:not([datetime=""])').forEach(element => {
  element.textContent = relative(element.dateTime);
});
setInterval(tell, 15_000);
document.addEventListener('fallgate:shown', tell);

// Shows what is typed into a passphrase's field, and hides it again.
document.addEventListener('click', event => {
  const button = event.target.closest('button[data-reveals]');
  if (!button) return;
  const field = document.getElementById(button.dataset.reveals);
  const shown = field.type === 'text';
  field.type = shown ? 'password' : 'text';
  button.textContent = button.textContent.replace(shown ? 'Hide' : 'Show', shown ? 'Show' : 'Hide');
});
