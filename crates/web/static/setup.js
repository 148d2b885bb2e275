// The setup link has its token behind the #, where no server, log or referrer ever sees it. It goes into the form from there,
// and out of the address; a form that comes back with a mistake finds it again in this tab.
const KEPT = 'fallgate-setup';
const field = document.getElementById('setup_token');
const wrong = field.getAttribute('aria-invalid') === 'true';
if (wrong) sessionStorage.removeItem(KEPT);

const take = () => {
  const link = location.hash.slice(1);
  if (link) {
    history.replaceState(null, '', location.pathname);
    sessionStorage.setItem(KEPT, link);
  }
  const token = sessionStorage.getItem(KEPT);
  if (!token) return;
  field.value = token;
  document.getElementById('token-field').hidden = true;
  document.getElementById('token-there').hidden = false;
};

const focus = () => {
  const empty = [...document.querySelectorAll('input')].find(input => !input.value && input.offsetParent);
  (document.querySelector('[aria-invalid=true]') ?? empty)?.focus();
};

take();
focus();
// Whoever is here already and opens the link stays on the page.
addEventListener('hashchange', () => {
  take();
  focus();
});
