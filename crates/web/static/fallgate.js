// What pages do besides being shown. Each works without it: a link that opens a dialog leads to a page that asks the same.

/** Opens what a link leads to as a dialog over the page: its first form, and what stands around it. */
const ask = async link => {
  const answer = await fetch(link.href, { headers: { accept: 'text/html' }, redirect: 'error' });
  if (!answer.ok) throw new Error(String(answer.status));
  const page = new DOMParser().parseFromString(await answer.text(), 'text/html');
  const asked = page.querySelector('[data-asks]');
  if (!asked) throw new Error('nothing to ask');
  const dialog = document.createElement('dialog');
  dialog.append(document.adoptNode(asked));
  const heading = dialog.querySelector('h1');
  if (heading) {
    heading.id = 'asked';
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
    link.focus();
  });
  document.body.append(dialog);
  dialog.showModal();
};

document.addEventListener('click', event => {
  const link = event.target.closest('a[data-dialog]');
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.button !== 0) return;
  event.preventDefault();
  // Signed out meanwhile, or no network: the page itself says so better.
  ask(link).catch(() => location.assign(link.href));
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
  const [unit, size] = units.find(([, size, fewest]) => Math.abs(seconds) >= size * fewest) ?? ['second', 1];
  return Math.abs(seconds) < 5 ? 'now' : words.format(Math.trunc(seconds / size), unit);
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
