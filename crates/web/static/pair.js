// Pairing a device. What stands behind the # of an address goes to no server: here it goes into the form, and out of the
// address. And pages that wait for the other side look every second.

const form = document.querySelector('form[data-code]');
const code = location.hash.slice(1);
if (form && code) {
  history.replaceState(null, '', location.pathname);
  form.elements.code.value = code;
  form.requestSubmit();
}
// Another code was opened in this very tab.
if (form) addEventListener('hashchange', () => location.reload());

const pause = seconds => new Promise(resolve => setTimeout(resolve, seconds * 1000));

/** Looks until the status is another, then goes on: by the form in here, or to where it says. */
const watch = async place => {
  const { watch: address, while: status, then } = place.dataset;
  const says = document.querySelector('[data-lost]');
  for (;;) {
    await pause(1);
    try {
      const answer = await fetch(address, { headers: { accept: 'application/json' }, cache: 'no-store' });
      // Signed out, or forgotten: the page itself says so better.
      const now = answer.ok ? (await answer.json()).status : answer.status === 503 ? status : 'gone';
      if (says) says.hidden = true;
      if (now === status) continue;
    } catch {
      if (says) says.hidden = false;
      continue;
    }
    const onward = place.querySelector('form[data-onward]');
    if (onward) onward.requestSubmit();
    else location.replace(then);
    return;
  }
};
const place = document.querySelector('[data-watch]');
if (place) watch(place);
